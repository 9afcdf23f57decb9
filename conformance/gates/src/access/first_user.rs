//! The first user of a public node.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use harness::client::Request;
use harness::server::ServerOptions;

use super::{expect_login, password_in, until_logged, user};
use crate::case::Bench;

const PATIENCE: Duration = Duration::from_mins(1);

/// A node behind a trusted proxy, so that it is public.
fn public(bench: &Bench) -> anyhow::Result<ServerOptions> {
    Ok(bench.server()?.env("SKYBERTH_SERVER_TRUSTED_PROXIES", "127.0.0.1"))
}

pub fn made(bench: &Bench) -> anyhow::Result<()> {
    let options = public(bench)?;
    let server = options.start()?;
    until_logged(&options, "without login:  nothing")?;
    let said = fs::read_to_string(&options.log)?;
    let password = password_in(&said, "first user:     admin, with the password ")?;
    ensure!(said.contains(&format!("docker login --username admin --password {password} ")), "no line to copy: {said}");
    let target = server.target();
    for (method, path) in [("GET", "/v2/"), ("GET", "/v2/_catalog"), ("POST", "/v2/a/blobs/uploads/"), ("GET", "/")] {
        let status = target.send(&Request::new(method, path))?.status;
        ensure!(status == 401, "{method} {path} without a login: {status}");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        let status = target.send(&Request::get(path))?.status;
        ensure!(status == 200, "{path} without a login: {status}");
    }
    expect_login(&target, "admin", &password, 200)?;
    expect_login(&target, "admin", "guess", 401)?;
    server.kill()?;
    let server = options.start()?;
    let said = fs::read_to_string(&options.log)?;
    ensure!(said.matches(&password).count() == 2, "the password is shown again");
    ensure!(said.matches("first user:").count() == 1, "there is a second first user");
    expect_login(&server.target(), "admin", &password, 200)?;
    let reset = user(&options, &["password", "admin"], "")?;
    ensure!(reset.status.success(), "{}", reset.said());
    let new = password_in(&reset.text(), "admin has the password ")?;
    expect_login(&server.target(), "admin", &password, 401)?;
    expect_login(&server.target(), "admin", &new, 200)
}

/// It must never fall back to be open.
pub fn unreadable(bench: &Bench) -> anyhow::Result<()> {
    fs::write(bench.folder.join("broken"), "bob:plain text\n")?;
    for file in ["absent", "broken"] {
        let path = bench.folder.join(file).display().to_string();
        let mut server = bench.server()?.env("SKYBERTH_AUTH_HTPASSWD", &path).spawn()?;
        let status = server.wait_exit(PATIENCE)?;
        ensure!(status.code() == Some(2), "with users in {file} it ended with {status}");
    }
    let mut server = bench.server()?.env("SKYBERTH_AUTH_USERS", "bob:plain-text").spawn()?;
    let status = server.wait_exit(PATIENCE)?;
    ensure!(status.code() == Some(2), "with a broken variable it ended with {status}");
    let said = fs::read_to_string(&server.options.log)?;
    ensure!(said.contains("line 1") && said.contains("entry 1") && !said.contains("plain"), "{said}");
    Ok(())
}
