//! An index whose file system is full or fails: abandoned and rebuilt, or the process ends. It never hangs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::gate::{note, wait_until};
use harness::manifest::{CONFIG, Manifest, described, image};
use harness::program::Program;
use harness::site::{Site, sha256};
use serde_json::json;

use super::calls::{ALL, Calls, ERRORS, SYNCS, WRITES};
use super::image::{Album, Mercy, Pushed};
use super::recovery::{ANSWERS_WITHIN, BACK_WITHIN, STOPS_WITHIN, back, ended, or_ended, timed};
use super::server;
use crate::case::Bench;
use crate::place::Mount;

/// Moves a part of a stopped node's data directory to another place, with a link to it.
fn move_out(data: &Path, part: &str, to: &Path) -> anyhow::Result<()> {
    Program::new("mv", Path::new("/dev/null")).arg(data.join(part)).arg(to).run()?;
    std::os::unix::fs::symlink(to, data.join(part))?;
    Ok(())
}

/// Large manifests fill the file system of the index. Then another program takes what is left.
pub fn full(bench: &Bench) -> anyhow::Result<()> {
    let data = bench.folder.join("data");
    let options = server(bench, &data)?.env("SKYBERTH_REGISTRY_REFERENCE_CHECKS", "false");
    let options = options.env("SKYBERTH_STORAGE_RESERVE", "2MiB");
    let options = options.start()?.terminate(STOPS_WITHIN)?;
    let disk = Mount::tmpfs(bench.mounts()?, &bench.folder.join("small"), 32)?;
    move_out(&data, "index", &disk.path.join("index"))?;
    let mut server = options.start()?;
    let mut album = Album::new(Site::new(server.target(), "index").repo("images"));
    for number in 0..8 {
        ensure!(album.push(&format!("v{number}"), 64 << 10)? == Pushed::Whole, "a push is refused on the empty disk");
    }
    let mut stored = Vec::new();
    for number in 0..12 {
        let manifest = large(number);
        let answer = album.repo.put(&format!("large{number}"), &manifest)?;
        if answer.status != 201 {
            ensure!([503, 507].contains(&answer.status), "a large manifest: {} {}", answer.status, answer.text());
            break;
        }
        stored.push(manifest.digest());
    }
    let filler = disk.fill()?;
    let outcome = on_the_full_disk(&mut album, &stored);
    // Rebuilds may fail there, too. Then the process ends.
    or_ended(&mut server, outcome)?;
    std::fs::remove_file(filler)?;
    back(server, &mut album)?.finish(&album)
}

/// Deletes give back space in the index, so they succeed, and what is stored can be read.
fn on_the_full_disk(album: &mut Album, stored: &[String]) -> anyhow::Result<()> {
    let mut answers = BTreeMap::new();
    for digest in stored {
        delete(album, digest, &mut answers)?;
        // sled writes behind: what it cannot write shows with the next one.
        std::thread::sleep(Duration::from_secs(1));
    }
    note(&format!("DELETEs of {} large manifests with the index on a full disk: {answers:?}", stored.len()));
    ensure!(answers.contains_key(&202), "no DELETE succeeds though the index has room of its own");
    for _ in 0..3 {
        let deleted = || album.delete_oldest().is_ok_and(|status| status == 202);
        ensure!(wait_until(BACK_WITHIN, deleted), "DELETEs stop on the full disk");
    }
    album.check(Mercy::Unavailable).context("on the full disk").map(drop)
}

/// Deletes a manifest, as a client that repeats what is answered 503.
fn delete(album: &Album, digest: &str, answers: &mut BTreeMap<u16, u32>) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let (answer, took) = timed(|| album.repo.delete(&album.repo.manifest(digest)))?;
        ensure!(took < ANSWERS_WITHIN, "a DELETE took {took:?}");
        *answers.entry(answer.status).or_insert(0) += 1;
        match answer.status {
            202 | 404 => return Ok(()),
            503 => ensure!(began.elapsed() < BACK_WITHIN, "a DELETE is refused for {BACK_WITHIN:?}"),
            status => anyhow::bail!("a DELETE: {status} {}", answer.text()),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A manifest that needs 5,000 blobs.
fn large(number: usize) -> Manifest {
    let layer = |layer| {
        let digest = sha256(format!("{number}/{layer}").as_bytes());
        json!({ "mediaType": "x/layer", "digest": digest, "size": 2 })
    };
    image(&described(CONFIG, b"{}"), &(0..5_000).map(layer).collect::<Vec<_>>())
}

/// Calls of one kind fail for some seconds.
pub fn for_a_while(bench: &Bench) -> anyhow::Result<()> {
    let kinds = [("writes", WRITES), ("syncs", SYNCS), ("all calls", ALL)];
    let all = ERRORS.iter().flat_map(|error| kinds.iter().map(move |kind| (error, kind)));
    for (number, ((error, errno), (kind, kinds))) in all.step_by(bench.scale.pick(12, 7, 1)).enumerate() {
        let what = format!("{error} of {kind}");
        let folder = bench.folder.join(format!("{number}"));
        std::fs::create_dir(&folder)?;
        let stage = Stage::new(bench, &folder)?;
        stage.fail(*errno, *kinds, &what, |began| began.elapsed() > Duration::from_secs(3)).context(what)?;
    }
    Ok(())
}

/// Until two rebuilds have failed, and the process has ended and said why.
pub fn for_long(bench: &Bench) -> anyhow::Result<()> {
    let stage = Stage::new(bench, &bench.folder)?;
    let log = stage.server.options.log.clone();
    let told = stage.fail(libc::EIO, WRITES, "EIO of writes, for long", |began| began.elapsed() > BACK_WITHIN)?;
    ensure!(told, "/readyz does not say how far the rebuild is");
    ensure!(std::fs::read_to_string(log)?.contains("the index is lost"), "it tries for ever");
    Ok(())
}

/// A server with some images, whose calls can fail.
struct Stage {
    calls: Calls,
    server: harness::server::Server,
    album: Album,
}

impl Stage {
    fn new(bench: &Bench, folder: &Path) -> anyhow::Result<Self> {
        let calls = Calls::new(folder)?;
        let server = calls.preloaded(server(bench, &folder.join("data"))?).start()?;
        let mut album = Album::new(Site::new(server.target(), "injected").repo("images"));
        for number in 0..4 {
            ensure!(album.push(&format!("v{number}"), 64 << 10)? == Pushed::Whole, "a push is refused before");
        }
        Ok(Stage { calls, server, album })
    }

    /// Calls on the index fail until `enough`, or until the process has ended. True if `/readyz` told of a rebuild.
    fn fail(mut self, errno: i32, kinds: u32, what: &str, enough: impl Fn(Instant) -> bool) -> anyhow::Result<bool> {
        let (server, album) = (&mut self.server, &mut self.album);
        self.calls.fail(&server.options.data.join("index"), errno, kinds, 1..=u32::MAX)?;
        let (mut seen, began) = (BTreeMap::new(), Instant::now());
        let (mut number, mut told, mut slowest) = (0, false, Duration::ZERO);
        while !enough(began) && !ended(server)? {
            number += 1;
            let pushed = timed(|| album.retag(&format!("w{number}")));
            let Some((pushed, took)) = or_ended(server, pushed)? else { break };
            ensure!(took < ANSWERS_WITHIN, "an answer took {took:?}");
            slowest = slowest.max(took);
            *seen.entry(format!("{pushed:?}")).or_insert(0) += 1;
            let state = server.target().send(&Request::get("/readyz"));
            told |= state.is_ok_and(|answer| answer.status == 503 && answer.text().contains("\"at_most\""));
            std::thread::sleep(Duration::from_millis(50));
        }
        note(&format!("{what}: {seen:?}, the slowest after {slowest:?}"));
        let checked = album.check(Mercy::Unavailable);
        or_ended(server, checked)?;
        self.calls.succeed()?;
        back(self.server, &mut self.album)?.finish(&self.album)?;
        Ok(told)
    }
}
