//! No secret that was used is found afterwards in logs, metrics, answers or files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::ensure;
use harness::client::Request;
use harness::client::login::base64;

use super::sources::htpasswd;
use super::{basic, new_token, user};
use crate::case::Bench;

/// Passwords that are in nothing else.
const SECRETS: [&str; 3] = ["mnq7-by-variable", "mnq7-by-command", "mnq7-a-guess"];

pub fn nowhere(bench: &Bench) -> anyhow::Result<()> {
    let entry = htpasswd(&bench.folder, "one", SECRETS[0])?;
    let options = bench.server()?.env("SKYBERTH_AUTH_USERS", &entry).env("SKYBERTH_LOG_ACCESS", "all");
    let options = options.env("SKYBERTH_LOG_LEVEL", "trace");
    let server = options.start()?;
    let target = server.target();
    user(&options, &["add", "two", "--password-stdin"], SECRETS[1])?;
    let personal = new_token(&options, &["create", "two"])?;
    let mut said = String::new();
    for (name, password) in [
        ("one", SECRETS[0]),
        ("two", SECRETS[1]),
        ("two", personal.as_str()),
        ("one", SECRETS[2]),
        (SECRETS[2], SECRETS[2]),
    ] {
        for (method, path) in [("GET", "/v2/"), ("POST", "/v2/a/blobs/uploads/"), ("GET", "/v2/x/manifests/y")] {
            let request = Request::new(method, path).header("Authorization", basic(name, password));
            let answer = target.send(&request)?;
            let _ = write!(said, "{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
        }
    }
    // In the wrong place.
    for header in [format!("Bearer {}", SECRETS[2]), SECRETS[2].to_owned()] {
        said += &String::from_utf8_lossy(&target.send(&Request::get("/v2/").header("Authorization", header))?.body);
    }
    said += &String::from_utf8_lossy(&target.send(&Request::get("/metrics"))?.body);
    server.terminate(std::time::Duration::from_mins(1))?;
    let mut texts = vec![("answers", said.into_bytes())];
    texts.push(("the log", fs::read(&options.log)?));
    let mut files = Vec::new();
    read_below(&options.data, &mut files)?;
    texts.push(("the data directory", files));
    let hash = entry.split_once(':').map_or("", |(_, hash)| hash).to_owned();
    let coded = SECRETS
        .iter()
        .flat_map(|secret| ["one", "two", secret].map(|name| base64(format!("{name}:{secret}").as_bytes())));
    let secrets: Vec<String> = SECRETS.iter().map(ToString::to_string).chain(coded).chain([hash, personal]).collect();
    for (place, text) in &texts {
        for secret in &secrets {
            let found = text.windows(secret.len()).any(|window| window == secret.as_bytes());
            ensure!(!found, "{secret} is in {place}");
        }
    }
    Ok(())
}

fn read_below(folder: &Path, into: &mut Vec<u8>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_below(&path, into)?;
        } else if path.is_file() {
            into.extend(fs::read(&path)?);
        }
    }
    Ok(())
}
