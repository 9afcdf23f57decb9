//! Personal tokens and robots, by `skyberth token` beside a running node.

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::client::login::base64;

use super::{expect_login, new_token, operate};
use crate::case::Bench;

const ROBOT: &str = "robot+ci";

pub fn robot(bench: &Bench) -> anyhow::Result<()> {
    let options = bench.server()?.env("SKYBERTH_AUTH_ANONYMOUS", "none");
    let server = options.start()?;
    let target = server.target();
    let secret = new_token(&server.options, &["create", ROBOT, "--scope", "team/**:pull,push", "--note", "builds"])?;
    expect_login(&target, ROBOT, &secret, 200)?;
    expect_login(&target, "admin", &secret, 401)?;
    let login = format!("Basic {}", base64(format!("{ROBOT}:{secret}").as_bytes()));
    let push = |path: &str| {
        let request = Request::new("POST", path).header("Authorization", login.clone());
        anyhow::Ok(target.send(&request)?.status)
    };
    ensure!(push("/v2/team/a/blobs/uploads/")? == 202, "it cannot push where it may");
    ensure!(push("/v2/other/blobs/uploads/")? == 403, "it can push where it may not");
    // The issuer's tokens end with it, too.
    let query = "/token?service=skyberth&scope=repository:team/a:pull,push";
    let answer = target.send(&Request::get(query).header("Authorization", login.clone()))?;
    let token = answer.expect(200)?.json()?["token"].as_str().context("no token")?.to_owned();
    let bearer = || {
        let request = Request::new("POST", "/v2/team/a/blobs/uploads/");
        anyhow::Ok(target.send(&request.header("Authorization", format!("Bearer {token}")))?.status)
    };
    ensure!(bearer()? == 202, "its token does not work");
    let listed = operate(&server.options, &["token", "list", "--json"], "")?.said();
    let entry: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap_or_default())?;
    ensure!(entry["owner"] == ROBOT && entry["note"] == "builds", "{listed}");
    ensure!(!listed.contains(&secret), "the list has the secret");
    let id = entry["id"].as_str().context("no id")?;
    ensure!(operate(&server.options, &["token", "revoke", id], "")?.status.success(), "it cannot be revoked");
    expect_login(&target, ROBOT, &secret, 401)?;
    ensure!(bearer()? == 401, "what was made from a revoked token still works");
    let again = new_token(&server.options, &["create", ROBOT])?;
    expect_login(&target, ROBOT, &again, 200)?;
    // A stop writes what the next minute would have.
    let options = server.options.clone();
    server.terminate(std::time::Duration::from_mins(1))?;
    let listed = operate(&options, &["token", "list", ROBOT], "")?.said();
    ensure!(listed.contains("  used 2"), "the last use is not shown: {listed}");
    Ok(())
}
