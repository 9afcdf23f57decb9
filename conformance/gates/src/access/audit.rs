//! The audit journal of a node: what is in it, and that denials push nothing out.

use anyhow::{Context, ensure};
use harness::client::Request;
use serde_json::Value;

use super::{basic, expect_login, new_token, operate, user};
use crate::case::Bench;

const PASSWORD: &str = "mnq7-of-auditor";
/// A manifest that references nothing.
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

pub fn kept(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.env("SKYBERTH_AUTH_ANONYMOUS", "none").start()?;
    let (target, options) = (server.target(), server.options.clone());
    let options = &options;
    user(options, &["add", "bob", "--password-stdin"], PASSWORD)?;
    let send = |method: &str, path: &str, body: &str| {
        let request = Request::new(method, path).header("Authorization", basic("bob", PASSWORD));
        target.send(&request.body(body.as_bytes().to_vec()))
    };
    send("PUT", "/v2/a/manifests/v1", MANIFEST)?.expect(201)?;
    send("DELETE", "/v2/a/manifests/v1", "")?.expect(202)?;
    send("GET", "/token?service=skyberth", "")?.expect(200)?;
    ensure!(operate(options, &["repo", "private", "a"], "")?.status.success(), "repo private failed");
    new_token(options, &["create", "robot+ci", "--scope", "b:pull"])?;
    // A password that was right is not slowed down by guesses.
    expect_login(&target, "bob", PASSWORD, 200)?;
    // Guesses of names and passwords, more than are written at once.
    for number in 0..300 {
        let request = Request::get("/v2/").header("Authorization", basic("bob", &format!("guess {number}")));
        let status = target.send(&request)?.status;
        ensure!([401, 429].contains(&status), "a guess got {status}");
    }
    expect_login(&target, "bob", PASSWORD, 200)?;
    server.terminate(std::time::Duration::from_mins(1))?;
    let entries = |words: &[&str]| -> anyhow::Result<Vec<Value>> {
        let said = operate(options, &[&["audit", "--json"], words].concat(), "")?.said();
        said.lines().map(|line| serde_json::from_str(line).context("no JSON")).collect()
    };
    let of = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {} {}", text("outcome"), text("by"), text("action"), text("repository"), text("target"))
    };
    let changes: Vec<String> = entries(&[])?.iter().map(of).filter(|text| text.starts_with("done")).collect();
    let token = changes.iter().find(|text| text.contains("create token")).context("no token was created")?.clone();
    let wanted = [
        "done operator add user - bob",
        "done local:bob push a v1",
        "done local:bob delete a v1",
        "done operator make private a -",
        &token,
    ];
    ensure!(changes == wanted, "{changes:#?}");
    let by_bob = entries(&["--user", "bob", "--since", "1h"])?;
    ensure!(by_bob.iter().any(|entry| entry["outcome"] == "logged-in"), "no login is kept: {by_bob:?}");
    let pushed = by_bob.iter().find(|entry| entry["action"] == "push").context("no push")?;
    ensure!(pushed["client"].is_string() && pushed["request"].is_string(), "{pushed}");
    ensure!(pushed["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{pushed}");
    ensure!(entries(&["--repo", "b"])?.is_empty(), "another repository has entries");
    let denied = entries(&[])?.into_iter().filter(|entry| entry["outcome"] == "denied").count();
    ensure!(denied > 0, "no denial is kept");
    Ok(())
}
