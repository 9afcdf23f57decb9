//! Directories that the server must not use.

use std::time::Duration;

use anyhow::ensure;
use harness::server::ServerOptions;
use harness::site::Site;

use super::image::{Album, Mercy, Pushed};
use super::server;
use crate::case::Bench;

/// Longest time for a refused start on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Starts a server that must end by itself with an error. Returns its output.
pub fn refused(options: &ServerOptions) -> anyhow::Result<String> {
    let _ = std::fs::remove_file(&options.log);
    let status = options.spawn()?.wait_exit(LIMIT)?;
    ensure!(!status.success(), "a refused start ended with {status}");
    let said = std::fs::read_to_string(&options.log)?;
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    Ok(said)
}

pub fn foreign(bench: &Bench) -> anyhow::Result<()> {
    let data = bench.folder.join("documents");
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("thesis.tex"), "not ours")?;
    let said = refused(&server(bench, &data)?)?;
    ensure!(said.contains("documents") && said.contains("not a Skyberth data directory"), "unclear: {said}");
    let names: Vec<_> = std::fs::read_dir(&data)?.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    ensure!(names == ["thesis.tex"], "it left something there: {names:?}");
    ensure!(std::fs::read(data.join("thesis.tex"))? == b"not ours", "it changed the file");
    Ok(())
}

pub fn in_use(bench: &Bench) -> anyhow::Result<()> {
    let data = bench.folder.join("data");
    let first = server(bench, &data)?.start()?;
    let mut album = Album::new(Site::new(first.target(), "inuse").repo("a"));
    ensure!(album.push("before", 10_000)? == Pushed::Whole, "a push was refused");
    let mut second = server(bench, &data)?;
    second.log = bench.folder.join("second.log");
    let said = refused(&second)?;
    ensure!(said.contains("data") && said.contains("in use by another"), "unclear: {said}");
    ensure!(album.push("after", 10_000)? == Pushed::Whole, "the first server was disturbed");
    album.check(Mercy::None)?;
    let _again = first.kill()?.start()?;
    album.check(Mercy::None).map(drop)
}
