//! Disks on which write-back and fsync fail with EIO: nothing that was not synced is ever acknowledged.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

use super::Bench;
use super::image::{Album, Mercy, Pushed};
use crate::client::Request;
use crate::edge::fixture::Site;
use crate::gates::note;
use crate::gates::place::ThinDisk;
use crate::server::Server;

/// Writes tried on the failing disk; some must fail.
const WRITES: usize = 600;

fn prepared(bench: &Bench) -> anyhow::Result<(ThinDisk, Server, Album)> {
    let disk = bench.mounts()?.thin_ext4(&bench.folder.join("disk"), 128)?;
    let server = bench.server(&disk.path().join("data"))?.start()?;
    let mut album = Album::new(Site::new(server.target(), "failing").repo("images"));
    for number in 0..4 {
        ensure!(album.push(&format!("v{number}"), 1 << 20)? == Pushed::Whole, "a push is refused on the sound disk");
    }
    Ok((disk, server, album))
}

pub fn blobs(bench: &Bench) -> anyhow::Result<()> {
    let (disk, server, mut album) = prepared(bench)?;
    disk.starve()?;
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

pub fn journal(bench: &Bench) -> anyhow::Result<()> {
    let (disk, server, mut album) = prepared(bench)?;
    disk.starve()?;
    let mut seen = BTreeMap::new();
    for number in 0..WRITES {
        let pushed = album.retag(&format!("t{number}"))?;
        let failed = pushed != Pushed::Whole;
        *seen.entry(format!("{pushed:?}")).or_insert(0) += 1;
        if failed && number % 4 == 3 {
            break;
        }
    }
    note(&format!("tags: {seen:?}"));
    ensure!(seen.keys().any(|key| key != "Whole"), "{WRITES} records were written: the disk did not fail");
    says_read_only(&server)?;
    ensure!(album.delete_oldest()? != 202, "a read-only node acknowledges a DELETE");
    let begun = album.repo.send(&Request::new("POST", album.repo.uploads()))?;
    ensure!(begun.status == 503, "a read-only node begins an upload: {}", begun.status);
    album.check(Mercy::None).context("reads from the read-only node")?;
    mend(disk, server, &mut album)
}

/// The node is read-only, and `/readyz` says so.
pub fn says_read_only(server: &Server) -> anyhow::Result<()> {
    let said = server.target().send(&Request::get("/readyz"))?;
    ensure!(said.text().contains("read-only"), "/readyz answers {} {}", said.status, said.text());
    Ok(())
}

/// As if the power went, and the disk was sound again after it: what the failing disk did not take is gone.
fn mend(mut disk: ThinDisk, server: Server, album: &mut Album) -> anyhow::Result<()> {
    let options = server.kill()?;
    disk.detach();
    disk.feed()?;
    disk.repair_and_attach()?;
    let _server = options.start().context("start on the mended disk")?;
    album.check(Mercy::None).context("after a restart on the mended disk")?;
    ensure!(album.push("at last", 1 << 20)? == Pushed::Whole, "pushes stay refused on the mended disk");
    album.check(Mercy::None).map(drop)
}
