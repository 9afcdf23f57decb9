//! Disks whose write-back and fsync fail with EIO: unsynced data must never be acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use harness::client::Request;
use harness::gate::note;
use harness::program::Program;
use harness::server::Server;
use harness::site::Site;

use super::dying::DyingDisk;
use super::image::{Album, Mercy, Pushed};
use super::server;
use crate::case::Bench;

/// Journal records tried on the failing disk. Some must fail.
const RECORDS: usize = 300;
/// Clients that push while the disk dies, and the most pushes of each.
const CLIENTS: usize = 4;
const MOST_PUSHES: usize = 5_000;

fn prepared(bench: &Bench) -> anyhow::Result<(DyingDisk, Server, Album)> {
    let disk = DyingDisk::new(bench.mounts()?, &bench.folder.join("disk"), 192)?;
    let server = server(bench, &disk.path().join("data"))?.start()?;
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
    let ready = server.target().send(&Request::get("/readyz"))?;
    let said = ["degraded", "read-only"].iter().any(|state| ready.text().contains(state));
    ensure!(said, "/readyz keeps the failure to itself: {} {}", ready.status, ready.text());
    let begun = album.repo.send(&Request::new("POST", album.repo.uploads()))?;
    ensure!(begun.status == 503, "an upload is begun on a disk that fails: {}", begun.status);
    begun.need("Retry-After")?;
    mend(disk, server, &mut album)
}

/// With the index on a sound disk, the journal fails first: reads must go on, writes must not.
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

/// The disk dies while clients push. Everything answered 201 must be on it.
pub fn under_load(bench: &Bench) -> anyhow::Result<()> {
    let mut whole = 0;
    for round in 0..bench.scale.pick(1, 4, 40) {
        let mut disk = DyingDisk::new(bench.mounts()?, &bench.folder.join(format!("disk{round}")), 192)?;
        let server = server(bench, &disk.path().join("data"))?.start()?;
        let site = Site::new(server.target(), "load");
        let mut albums: Vec<Album> = (0..CLIENTS).map(|client| Album::new(site.repo(&format!("c{client}")))).collect();
        std::thread::scope(|scope| {
            let clients: Vec<_> = albums.iter_mut().map(|album| scope.spawn(|| push_until_refused(album))).collect();
            // Each round fails at another moment.
            std::thread::sleep(Duration::from_millis(400 + 150 * round));
            disk.die()?;
            clients.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a client died"))))
        })?;
        whole += albums.iter().map(Album::len).sum::<usize>();
        for album in &albums {
            album.check(Mercy::Unavailable).context("reads from the dead disk")?;
        }
        let options = server.kill()?;
        disk.replace()?;
        let _server = options.start().context("start on the sound copy")?;
        albums.iter().try_for_each(|album| album.check(Mercy::None).map(drop)).context("on the sound copy")?;
    }
    note(&format!("{whole} pushes were acknowledged"));
    ensure!(whole > 0, "the disk died before anything was pushed");
    Ok(())
}

fn push_until_refused(album: &mut Album) -> anyhow::Result<()> {
    for number in 0..MOST_PUSHES {
        let pushed = match number % 3 {
            0 => album.push(&format!("v{number}"), 20_000)?,
            _ => album.retag(&format!("v{number}"))?,
        };
        if pushed != Pushed::Whole {
            return Ok(());
        }
    }
    bail!("{MOST_PUSHES} pushes and the disk has not failed")
}

fn tag(album: &mut Album) -> anyhow::Result<()> {
    for number in 0..RECORDS {
        ensure!(album.retag(&format!("t{number}"))? == Pushed::Whole, "a tag is refused on the sound disk");
    }
    Ok(())
}

/// Removes a tag, which needs only a record in the journal.
fn untag(album: &mut Album) -> anyhow::Result<()> {
    let mut seen = BTreeMap::new();
    for number in 0..RECORDS {
        *seen.entry(album.untag(&format!("t{number}"))?).or_insert(0) += 1;
    }
    note(&format!("tags taken away: {seen:?}"));
    ensure!(seen.keys().any(|status| *status != 202), "{RECORDS} records were written: the disk did not fail");
    Ok(())
}

/// Expects the node to be read-only, and `/readyz` to say so.
pub fn says_read_only(server: &Server) -> anyhow::Result<()> {
    let said = server.target().send(&Request::get("/readyz"))?;
    ensure!(said.text().contains("read-only"), "/readyz answers {} {}", said.status, said.text());
    Ok(())
}

/// Restarts on a sound copy of what had reached the disk.
fn mend(mut disk: DyingDisk, server: Server, album: &mut Album) -> anyhow::Result<()> {
    let options = server.kill()?;
    disk.replace()?;
    let _server = options.start().context("start on the sound copy")?;
    album.check(Mercy::None).context("after a restart on the sound copy")?;
    ensure!(album.push("at-last", 1 << 20)? == Pushed::Whole, "pushes stay refused on the sound copy");
    album.check(Mercy::None).map(drop)
}
