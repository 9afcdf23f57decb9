//! The account of a file system: uploads at once leave the reserve free, and what frees space always works.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Request, Target, local_path};
use harness::gate::{note, wait_until};
use harness::manifest::{CONFIG, described, descriptor, image};
use harness::partial::Partial;
use harness::server::free_port;
use harness::site::{Site, sha256};

use super::full::collect;
use super::image::{Album, Mercy, Pushed};
use super::server;
use crate::attached::{ATTACHED, LISTEN};
use crate::case::Bench;
use crate::place::Mount;

const MIB: u64 = 1 << 20;
const RESERVE: u64 = 64 * MIB;
/// Bytes free above the reserve when the uploads begin: less than a tenth of what they would take.
const LEFT: u64 = 20 * MIB;

/// Bodies at once, each with its length and its first bytes, which show whether it is accepted.
const BODIES: usize = 220;
const BODIES_EACH: usize = 60;
const LENGTH: usize = MIB as usize;
const FIRST: usize = 4096;
/// Longest time for all first bytes to arrive on a busy machine.
const ARRIVAL: Duration = Duration::from_mins(1);

/// Every upload is accepted while there is room, and then they all go on together.
pub fn uploads_at_once(bench: &Bench) -> anyhow::Result<()> {
    let disk = Mount::ext4(bench.mounts()?, &bench.folder.join("disk"), 384)?;
    let data = disk.path.join("data");
    let server = server(bench, &data)?.start()?;
    let site = Site::new(server.target(), "atonce");
    let mut album = Album::new(site.repo("images"));
    ensure!(album.push("before", 1 << 20)? == Pushed::Whole, "a push is refused on the empty disk");
    let repo = site.repo("sessions");
    let sessions = (0..BODIES).map(|_| repo.begin()).collect::<anyhow::Result<Vec<_>>>()?;
    disk.fill_up_to(RESERVE + LEFT)?;
    let bodies = sessions.iter().map(|session| body(&repo.target, &session.location, "")).collect::<Result<_, _>>()?;
    let taken = go_on_together(&disk, &data.join("uploads"), bodies)?;
    // A refused stream gives its bytes back, so at least the last one had room.
    ensure!(taken > 0, "none was taken, though there was room for some");
    album.check(Mercy::None).context("after uploads filled the disk")?;
    ensure!(album.delete_oldest()? == 202, "DELETE is refused on a disk full to its reserve");
    collect(bench, &data)
}

/// The registry and its attached portal have one account.
pub fn with_a_portal(bench: &Bench) -> anyhow::Result<()> {
    let disk = Mount::ext4(bench.mounts()?, &bench.folder.join("disk"), 384)?;
    let data = disk.path.join("data");
    let portal = Target::local(free_port()?);
    let server = server(bench, &data)?
        .env(ATTACHED, "true")
        .env(LISTEN, &portal.authority())
        .env("SKYBERTH_PORTAL_DISK_RESERVE", "64MiB")
        .start()?;
    let repo = Site::new(server.target(), "both").repo("sessions");
    let sessions = (0..BODIES_EACH).map(|_| repo.begin()).collect::<anyhow::Result<Vec<_>>>()?;
    let tus = (0..BODIES_EACH).map(|_| tus_upload(&portal)).collect::<anyhow::Result<Vec<_>>>()?;
    disk.fill_up_to(RESERVE + LEFT)?;
    let fields = "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream";
    let ours = sessions.iter().map(|session| body(&repo.target, &session.location, ""));
    let theirs = tus.iter().map(|location| body(&portal, location, fields));
    go_on_together(&disk, &data, ours.chain(theirs).collect::<Result<_, _>>()?).map(drop)
}

fn tus_upload(portal: &Target) -> anyhow::Result<String> {
    let create = Request::new("POST", "/skynet/tus")
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", LENGTH.to_string());
    let made = portal.send(&create)?;
    made.expect(201).context("begin a TUS upload")?;
    local_path(portal, made.need("Location")?)
}

/// A PATCH whose first bytes are sent.
fn body(target: &Target, path: &str, fields: &str) -> anyhow::Result<Partial> {
    let fields = if fields.is_empty() { "Content-Type: application/octet-stream" } else { fields };
    Partial::sized(target, "PATCH", path, fields, LENGTH, &[0x5a; FIRST])
}

/// Waits until the first bytes are stored or refused, sends the rest of all bodies, and measures the free space
/// meanwhile. Returns the number of uploads that were taken.
fn go_on_together(disk: &Mount, below: &Path, bodies: Vec<Partial>) -> anyhow::Result<usize> {
    let mut began = 0;
    let (mut changed, all) = (Instant::now(), bodies.len());
    wait_until(ARRIVAL, || {
        let now = data_files(below);
        if now != began {
            (began, changed) = (now, Instant::now());
        }
        began >= all || (began > 0 && changed.elapsed() > Duration::from_secs(5))
    });
    let done = AtomicBool::new(false);
    let (lowest, answers) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut lowest = u64::MAX;
            while !done.load(Ordering::SeqCst) {
                lowest = lowest.min(disk.free()?);
                std::thread::sleep(Duration::from_millis(1));
            }
            anyhow::Ok(lowest.min(disk.free()?))
        });
        let clients: Vec<_> = bodies.into_iter().map(|body| scope.spawn(|| finish(body))).collect();
        let answers: Vec<u16> = clients.into_iter().filter_map(|client| client.join().ok().flatten()).collect();
        done.store(true, Ordering::SeqCst);
        (watch.join(), answers)
    });
    let lowest = lowest.map_err(|_| anyhow::anyhow!("the watch died"))??;
    let taken = answers.iter().filter(|status| matches!(status, 202 | 204)).count();
    note(&format!("{began} of {all} began, {taken} were taken, {} MiB were free at the lowest", lowest / MIB));
    ensure!(answers.iter().all(|status| matches!(status, 202 | 204 | 507)), "other answers: {answers:?}");
    ensure!(lowest >= RESERVE, "uploads took {} bytes of the reserve", RESERVE - lowest);
    Ok(taken)
}

/// The status; `None` if the connection was cut after a refusal.
fn finish(mut body: Partial) -> Option<u16> {
    // A refusal may come at any byte.
    let _ = body.more(&vec![0x5a; LENGTH - FIRST]);
    body.answer().ok().map(|answer| answer.status)
}

/// Files with bytes of uploads, at any depth.
fn data_files(below: &Path) -> usize {
    let entries = std::fs::read_dir(below).into_iter().flatten().flatten();
    let count = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => data_files(&entry.path()),
        Ok(meta) => usize::from(entry.file_name() == "data" && meta.len() > 0),
        Err(_) => 0,
    };
    entries.map(count).sum()
}

/// References of the large manifest.
const REFERENCES: usize = 30_000;

pub fn large_delete(bench: &Bench) -> anyhow::Result<()> {
    let disk = Mount::ext4(bench.mounts()?, &bench.folder.join("disk"), 384)?;
    let data = disk.path.join("data");
    let server = server(bench, &data)?
        .env("SKYBERTH_REGISTRY_REFERENCE_CHECKS", "false")
        .env("SKYBERTH_REGISTRY_MAX_REFERENCES", "40000")
        .start()?;
    let site = Site::new(server.target(), "large");
    let mut album = Album::new(site.repo("images"));
    ensure!(album.push("small", 1 << 20)? == Pushed::Whole, "a push is refused on the empty disk");
    let repo = site.repo("large");
    let layer = |number: usize| descriptor("a/b", &sha256(&number.to_le_bytes()), 1);
    let layers: Vec<_> = (0..REFERENCES).map(layer).collect();
    let large = image(&described(CONFIG, b"{}"), &layers);
    repo.store("large", &large)?;
    disk.fill_up_to(RESERVE + LEFT)?;
    let refused = fill_by_pushing(&mut album)?;
    note(&format!("{} MiB are free when a push is answered {refused:?}", disk.free()? / MIB));
    ensure!(disk.free()? >= RESERVE, "pushes took of the reserve");
    repo.delete(&repo.manifest(&large.digest()))?.expect(202).context("DELETE on the full disk")?;
    album.check(Mercy::None).context("pulls after the large DELETE")?;
    collect(bench, &data)?;
    let _server = server.kill()?.start()?;
    album.check(Mercy::None).context("after kill -9")?;
    let gone = repo.get(&repo.manifest(&large.digest()))?;
    ensure!(gone.status == 404, "the deleted manifest answers {}", gone.status);
    Ok(())
}

fn fill_by_pushing(album: &mut Album) -> anyhow::Result<Pushed> {
    for number in 0..200 {
        let pushed = album.push(&format!("v{number}"), 1 << 20)?;
        if let Pushed::Refused(status, _) = pushed {
            ensure!(status == 507, "a push to a full disk is answered {pushed:?}");
            return Ok(pushed);
        }
    }
    anyhow::bail!("200 pushes and the disk is not full")
}
