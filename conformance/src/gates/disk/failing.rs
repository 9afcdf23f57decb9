//! Disks on which write-back and fsync fail with EIO: nothing that was not synced is ever acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::Bench;
use super::dying::DyingDisk;
use super::image::{Album, Mercy, Pushed};
use crate::client::Request;
use crate::edge::fixture::Site;
use crate::gates::note;
use crate::program::Program;
use crate::server::Server;

/// Records of the journal tried on the failing disk; some must fail.
const RECORDS: usize = 300;

fn prepared(bench: &Bench) -> anyhow::Result<(DyingDisk, Server, Album)> {
    let disk = DyingDisk::new(bench.mounts()?, &bench.folder.join("disk"), 192)?;
    let server = bench.server(&disk.path().join("data"))?.start()?;
    let mut album = Album::new(Site::new(server.target(), "failing").repo("images"));
    for number in 0..4 {
        ensure!(album.push(&format!("v{number}"), 1 << 20)? == Pushed::Whole, "a push is refused on the sound disk");
    }
    Ok((disk, server, album))
}

pub fn blobs(bench: &Bench) -> anyhow::Result<()> {
    let (disk, server, mut album) = prepared(bench)?;
    disk.die()?;
    let mut seen = BTreeMap::new();
    for number in 0..bench.scale.pick(5, 20, 100) {
        let pushed = album.push(&format!("w{number}"), 1 << 20)?;
        *seen.entry(format!("{pushed:?}")).or_insert(0) += 1;
        album.check(Mercy::None).context("reads from the failing disk")?;
    }
    note(&format!("pushes: {seen:?}"));
    ensure!(seen.keys().any(|key| key != "Whole"), "every push succeeded: the disk did not fail");
    mend(disk, server, &mut album)
}

/// With the index on a sound disk, the journal is the first that fails: reads go on, writes do not.
pub fn journal(bench: &Bench) -> anyhow::Result<()> {
    let (disk, server, mut album) = prepared(bench)?;
    tag(&mut album)?;
    let options = server.terminate(Duration::from_secs(30))?;
    let (inside, outside) = (options.data.join("index"), bench.folder.join("index"));
    Program::new("mv", &bench.folder.join("mv.log")).arg(&inside).arg(&outside).run()?;
    std::os::unix::fs::symlink(&outside, &inside)?;
    let server = options.start().context("start with the index behind a link")?;
    disk.die()?;
    untag(&mut album)?;
    says_read_only(&server)?;
    ensure!(album.delete_oldest()? == 503, "a read-only node takes a DELETE");
    let begun = album.repo.send(&Request::new("POST", album.repo.uploads()))?;
    ensure!(begun.status == 503, "a read-only node begins an upload: {}", begun.status);
    album.check(Mercy::None).context("reads from the read-only node")?;
    mend(disk, server, &mut album)
}

/// Here the index may be the first: then the node cannot answer what it cannot look up.
pub fn journal_and_index(bench: &Bench) -> anyhow::Result<()> {
    let (disk, server, mut album) = prepared(bench)?;
    tag(&mut album)?;
    disk.die()?;
    untag(&mut album)?;
    let said = server.target().send(&Request::get("/readyz"))?.text();
    note(&format!("/readyz: {}", said.trim_end()));
    ensure!(!said.contains(r#""ready""#), "/readyz says {said}");
    let unavailable = album.check(Mercy::Unavailable).context("reads from the failing disk")?;
    note(&format!("reads from the failing disk: {unavailable} answers of 503"));
    mend(disk, server, &mut album)
}

fn tag(album: &mut Album) -> anyhow::Result<()> {
    for number in 0..RECORDS {
        ensure!(album.retag(&format!("t{number}"))? == Pushed::Whole, "a tag is refused on the sound disk");
    }
    Ok(())
}

/// To take a tag away needs nothing of the disk but a record in the journal.
fn untag(album: &mut Album) -> anyhow::Result<()> {
    let mut seen = BTreeMap::new();
    for number in 0..RECORDS {
        *seen.entry(album.untag(&format!("t{number}"))?).or_insert(0) += 1;
    }
    note(&format!("tags taken away: {seen:?}"));
    ensure!(seen.keys().any(|status| *status != 202), "{RECORDS} records were written: the disk did not fail");
    Ok(())
}

/// The node is read-only, and `/readyz` says so.
pub fn says_read_only(server: &Server) -> anyhow::Result<()> {
    let said = server.target().send(&Request::get("/readyz"))?;
    ensure!(said.text().contains("read-only"), "/readyz answers {} {}", said.status, said.text());
    Ok(())
}

/// A restart on a sound copy of what had reached the disk.
fn mend(mut disk: DyingDisk, server: Server, album: &mut Album) -> anyhow::Result<()> {
    let options = server.kill()?;
    disk.replace()?;
    let _server = options.start().context("start on the sound copy")?;
    album.check(Mercy::None).context("after a restart on the sound copy")?;
    ensure!(album.push("at-last", 1 << 20)? == Pushed::Whole, "pushes stay refused on the sound copy");
    album.check(Mercy::None).map(drop)
}
