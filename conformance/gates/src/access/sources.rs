//! The sources of users, and what happens when they change.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::client::Target;
use harness::program::Program;

use super::{expect_login, login, user};
use crate::case::Bench;

const PATIENCE: Duration = Duration::from_secs(30);

/// The line of a user by `htpasswd` itself.
pub fn htpasswd(folder: &Path, name: &str, password: &str) -> anyhow::Result<String> {
    let program = Program::new("htpasswd", &folder.join("htpasswd.log"));
    Ok(program.args(["-nbBC", "5", name, password]).run()?.text())
}

pub fn all(bench: &Bench) -> anyhow::Result<()> {
    let file = bench.folder.join("htpasswd");
    fs::write(&file, htpasswd(&bench.folder, "by-file", "file's secret")?)?;
    let users = [htpasswd(&bench.folder, "one", "secret one")?, htpasswd(&bench.folder, "two", "secret two")?];
    let options = bench.server()?.env("SKYBERTH_AUTH_USERS", &users.join(" "));
    let options = options.env("SKYBERTH_AUTH_HTPASSWD", &file.display().to_string());
    let server = options.start()?;
    let target = server.target();
    for (name, password) in [("one", "secret one"), ("two", "secret two"), ("by-file", "file's secret")] {
        expect_login(&target, name, password, 200)?;
        expect_login(&target, name, "another", 401)?;
    }
    expect_login(&target, "by-command", "a secret", 401)?;
    let added = user(&options, &["add", "by-command", "--password-stdin"], "a secret\n")?;
    ensure!(added.status.success() && !added.said().contains("a secret"), "{}", added.said());
    expect_login(&target, "by-command", "a secret", 200)?;
    let again = user(&options, &["add", "by-command", "--password-stdin"], "another\n")?;
    ensure!(again.status.code() == Some(2), "it was added twice: {}", again.said());
    expect_login(&target, "by-command", "a secret", 200)?;
    let removed = user(&options, &["remove", "by-command"], "")?;
    ensure!(removed.status.success(), "{}", removed.said());
    expect_login(&target, "by-command", "a secret", 401)
}

pub fn changed(bench: &Bench) -> anyhow::Result<()> {
    let file = bench.folder.join("htpasswd");
    fs::write(&file, htpasswd(&bench.folder, "bob", "old")?)?;
    let server = bench.server()?.env("SKYBERTH_AUTH_HTPASSWD", &file.display().to_string()).start()?;
    let target = server.target();
    expect_login(&target, "bob", "old", 200)?;
    fs::write(&file, htpasswd(&bench.folder, "bob", "new")?)?;
    until(&target, "new", 200)?;
    expect_login(&target, "bob", "old", 401)?;
    fs::write(&file, "bob:nothing of a hash")?;
    let log = &server.options.log;
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(log)?.contains("they stay as they were") {
        ensure!(Instant::now() < deadline, "the log does not say that the file is broken");
        std::thread::sleep(Duration::from_millis(100));
    }
    expect_login(&target, "bob", "new", 200)
}

/// Waits until a login as bob has this status.
fn until(target: &Target, password: &str, status: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while login(target, "bob", password)? != status {
        ensure!(Instant::now() < deadline, "the changed file was never read");
        // Slower than failed logins are forgotten would be too slow: a few attempts are free.
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
