//! The sources of users, and what happens when they change.

use std::fs;
use std::path::Path;

use anyhow::ensure;
use harness::program::Program;

use super::{expect_login, until_logged, user};
use crate::case::Bench;

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
    until_logged(&server.options, "users and rights were read again")?;
    expect_login(&target, "bob", "new", 200)?;
    expect_login(&target, "bob", "old", 401)?;
    fs::write(&file, "bob:nothing of a hash")?;
    until_logged(&server.options, "they stay as they were")?;
    expect_login(&target, "bob", "new", 200)
}
