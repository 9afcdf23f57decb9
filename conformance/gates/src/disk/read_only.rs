//! Disks that cannot be written, from the start or from some moment on.

use anyhow::{Context, ensure};
use harness::site::Site;

use super::claims::refused;
use super::dying::DyingDisk;
use super::failing;
use super::image::{Album, Mercy, Pushed};
use super::server;
use crate::case::Bench;
use crate::place::Mount;

pub fn fresh(bench: &Bench) -> anyhow::Result<()> {
    let disk = Mount::tmpfs(bench.mounts()?, &bench.folder.join("disk"), 64)?;
    disk.remount("ro")?;
    let said = refused(&server(bench, &disk.path.join("data"))?)?;
    is_clear(&said)
}

pub fn with_data(bench: &Bench) -> anyhow::Result<()> {
    let disk = Mount::tmpfs(bench.mounts()?, &bench.folder.join("disk"), 192)?;
    let options = server(bench, &disk.path.join("data"))?;
    let server = options.start()?;
    let mut album = Album::new(Site::new(server.target(), "readonly").repo("images"));
    ensure!(album.push("before", 1 << 20)? == Pushed::Whole, "a push is refused");
    server.kill()?;
    disk.remount("ro")?;
    is_clear(&refused(&options)?)?;
    disk.remount("rw")?;
    let _server = options.start().context("start when the disk is writable again")?;
    album.check(Mercy::None).map(drop)
}

fn is_clear(said: &str) -> anyhow::Result<()> {
    let last = said.lines().last().unwrap_or_default();
    harness::gate::note(last);
    ensure!(said.contains("disk/data") && said.contains("Read-only file system"), "unclear: {said}");
    Ok(())
}

pub fn while_running(bench: &Bench) -> anyhow::Result<()> {
    let mut disk = DyingDisk::new(bench.mounts()?, &bench.folder.join("disk"), 192)?;
    let server = server(bench, &disk.path().join("data"))?.start()?;
    let site = Site::new(server.target(), "turned");
    let mut album = Album::new(site.repo("images"));
    for number in 0..4 {
        ensure!(album.push(&format!("v{number}"), 1 << 20)? == Pushed::Whole, "a push is refused");
    }
    disk.turn_read_only()?;
    let blob = album.push("a-blob", 1 << 20)?;
    ensure!(blob != Pushed::Whole, "a push to a read-only disk is acknowledged");
    let tag = album.retag("a-tag")?;
    ensure!(tag != Pushed::Whole, "a tag on a read-only disk is acknowledged");
    ensure!(album.delete_oldest()? != 202, "a DELETE on a read-only disk is acknowledged");
    album.check(Mercy::None).context("reads from the read-only disk")?;
    failing::says_read_only(&server)?;
    let options = server.kill()?;
    disk.replace()?;
    let _server = options.start().context("start when the disk is writable again")?;
    album.check(Mercy::None).context("after a restart on the mended disk")?;
    ensure!(album.push("at-last", 1 << 20)? == Pushed::Whole, "pushes stay refused");
    Ok(())
}
