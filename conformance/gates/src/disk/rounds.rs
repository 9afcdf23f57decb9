//! Rounds of random work on a small disk that another program fills and frees, with kills in between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::gate::note;
use harness::operate::operate_as;
use harness::random::Random;
use harness::server::{Server, ServerOptions};
use harness::site::Site;

use super::image::{Album, Mercy, Pushed};
use super::recovery::{BACK_WITHIN, Back, back_within, ended, or_ended};
use super::server;
use crate::case::Bench;
use crate::place::Mount;

const MIB: u64 = 1 << 20;
const RESERVE: u64 = 8 * MIB;
/// Images kept beyond a round, and removed ones that are asked for again.
const MOST_IMAGES: usize = 10;
const MOST_GONE: usize = 20;

/// What the other program does in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Nothing,
    /// It leaves a little more than the reserve.
    LeavesSome(u64),
    /// It takes every byte, as soon as one is free.
    TakesAll,
}

struct Rounds<'a> {
    bench: &'a Bench<'a>,
    disk: Mount,
    server: Server,
    album: Album,
    random: Random,
    seen: BTreeMap<String, u32>,
    slowest: Duration,
}

pub fn random(bench: &Bench) -> anyhow::Result<()> {
    let disk = Mount::ext4(bench.mounts()?, &bench.folder.join("disk"), 128)?;
    let options = server(bench, &disk.path.join("data"))?.env("SKYBERTH_STORAGE_RESERVE", &RESERVE.to_string());
    // A killed push leaves its session, which keeps the repository from being collected.
    let server = options.env("SKYBERTH_GC_UPLOAD_EXPIRY", "1s").start()?;
    let album = Album::new(Site::new(server.target(), "rounds").repo("images"));
    let random = Random::new(bench.seed);
    let mut rounds = Rounds { bench, disk, server, album, random, seen: BTreeMap::new(), slowest: Duration::ZERO };
    ensure!(rounds.album.push("first", 64 << 10)? == Pushed::Whole, "a push is refused on the empty disk");
    for round in 0..bench.scale.pick(3, 10, 1000) {
        rounds = rounds.round(round).with_context(|| format!("round {round} of seed {}", bench.seed))?;
    }
    note(&format!("{:?}; ready {:?} after space was back at the latest", rounds.seen, rounds.slowest));
    Back { server: rounds.server, by_itself: true }.finish(&rounds.album)
}

impl Rounds<'_> {
    fn round(mut self, round: usize) -> anyhow::Result<Self> {
        let other = match self.random.below(3) {
            0 => Other::Nothing,
            1 => Other::LeavesSome(RESERVE + (1 + self.random.below(4)) as u64 * MIB),
            _ => Other::TakesAll,
        };
        self.count(format!("{other:?}").split('(').next().unwrap_or_default());
        let ballast = self.disk.path.join("ballast");
        let filler = match other {
            Other::Nothing => None,
            Other::LeavesSome(free) => self.disk.fill_up_to(free).map(|()| None)?,
            Other::TakesAll => Some(self.disk.keep_full()?),
        };
        let kill = self.random.chance(15);
        for step in 0..2 + self.random.below(5) {
            let free = self.disk.free()?;
            let is_upload = self.step(&format!("r{round}-{step}"))?;
            let left = self.disk.free()?;
            // Steps that free space may go below, and so may the other program.
            let judged = is_upload && free >= RESERVE && other != Other::TakesAll;
            ensure!(!judged || left >= RESERVE, "an upload took {} bytes of the reserve", RESERVE - left);
            if ended(&mut self.server)? {
                self.count("ended");
                break;
            }
        }
        if kill {
            self = self.killed(&format!("r{round}-killed"), filler.is_some())?;
        }
        if let Some(filler) = filler {
            filler.stop()?;
        }
        if ballast.exists() {
            std::fs::remove_file(ballast)?;
        }
        self.recover()
    }

    /// One operation. True if it was an upload.
    fn step(&mut self, name: &str) -> anyhow::Result<bool> {
        let (choice, length) = self.choice();
        let outcome = work(&mut self.album, &self.server.options, choice, name, length);
        let what = or_ended(&mut self.server, outcome)?.unwrap_or_else(|| "no answer, for it ended".to_owned());
        self.count(&what);
        Ok(choice < 4)
    }

    fn choice(&mut self) -> (usize, usize) {
        (self.random.below(8), 1 << (10 + self.random.below(11)))
    }

    fn count(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }

    /// `kill -9` in the middle of an operation, and a start, also on the full disk. If the start needs space, it must say
    /// so.
    fn killed(mut self, name: &str, is_full: bool) -> anyhow::Result<Self> {
        let ((choice, length), pause) = (self.choice(), Duration::from_millis(self.random.below(60) as u64));
        let (album, options) = (&mut self.album, self.server.options.clone());
        let options = std::thread::scope(|scope| {
            let working = scope.spawn(|| work(album, &options, choice, name, length));
            std::thread::sleep(pause);
            let killed = self.server.kill();
            // Acknowledged content must stay, even if the last request got no answer.
            ensure!(working.join().is_ok(), "a client panicked");
            killed
        })?;
        let mut server = options.spawn()?;
        let ready = server.wait_ready(BACK_WITHIN);
        let what = format!("killed, full: {is_full}, starts: {}", ready.is_ok());
        *self.seen.entry(what).or_default() += 1;
        if ready.is_err() {
            ensure!(is_full, "it does not start though there is space");
            server.wait_exit(Duration::from_secs(1)).context("neither ready nor ended on the full disk")?;
            let said = std::fs::read_to_string(&options.log)?;
            let last = said.lines().last().unwrap_or_default();
            ensure!(last.contains("space"), "it does not say that space is missing: {last}");
        }
        self.server = server;
        Ok(self)
    }

    /// There is space again: the node is ready soon, with everything that was acknowledged.
    fn recover(mut self) -> anyhow::Result<Self> {
        let began = Instant::now();
        if self.server.wait_exit(Duration::ZERO).is_ok() {
            // As systemd, docker and Kubernetes do.
            self.server = self.server.kill()?.start().context("start when there is space")?;
        }
        let within = self.bench.scale.pick(BACK_WITHIN, BACK_WITHIN, Duration::from_secs(10));
        let Back { server, by_itself } = back_within(self.server, &mut self.album, within)?;
        self.slowest = self.slowest.max(began.elapsed());
        *self.seen.entry(format!("back by itself: {by_itself}")).or_default() += 1;
        self.server = server;
        while self.album.images() > MOST_IMAGES {
            ensure!(self.album.delete_oldest()? == 202, "DELETEs stay refused");
        }
        self.album.ask_no_more_for_all_but(MOST_GONE);
        let options: &ServerOptions = &self.server.options;
        operate_as(options, "gc")?.sound().context("a collection when there is space")?;
        Ok(self)
    }
}

/// An operation by its number. The first four are uploads.
fn work(
    album: &mut Album,
    options: &ServerOptions,
    choice: usize,
    name: &str,
    length: usize,
) -> anyhow::Result<String> {
    match choice {
        0..=2 => album.push(name, length).map(|pushed| format!("push {pushed:?}")),
        3 => album.retag(name).map(|pushed| format!("tag {pushed:?}")),
        4 | 5 if album.images() < 2 => Ok("nothing to delete".to_owned()),
        4 | 5 => deleted(album).map(|refused| format!("DELETE, refused before: {}", refused > 0)),
        6 => operate_as(options, "gc").map(|ended| format!("gc {:?}", ended.code)),
        _ => album.check(Mercy::Unavailable).map(|unavailable| format!("all read: {}", unavailable == 0)),
    }
}

/// 500 images are deleted, one after another, while another program takes each byte that comes free.
pub fn deletes(bench: &Bench) -> anyhow::Result<()> {
    let disk = Mount::ext4(bench.mounts()?, &bench.folder.join("disk"), 128)?;
    let data: PathBuf = disk.path.join("data");
    let options = server(bench, &data)?.env("SKYBERTH_STORAGE_RESERVE", &RESERVE.to_string());
    let mut server = options.start()?;
    let mut album = Album::new(Site::new(server.target(), "deletes").repo("images"));
    let images = bench.scale.pick(50, 150, 500);
    for number in 0..images {
        ensure!(album.push(&format!("v{number}"), 1 << 10)? == Pushed::Whole, "a push is refused on the empty disk");
    }
    let filler = disk.keep_full()?;
    let mut refused = 0;
    for number in 1..images {
        refused += deleted(&mut album).with_context(|| format!("DELETE {number} of {images}"))?;
        ensure!(server.wait_exit(Duration::ZERO).is_err(), "the process ended on the full disk");
        if number % (images / 5) == 0 {
            album.ask_no_more_for_all_but(MOST_GONE);
            album.check(Mercy::Unavailable).context("pulls between DELETEs")?;
            operate_as(&server.options, "gc")?.sound().context("a collection between DELETEs")?;
        }
    }
    note(&format!("{images} images: {refused} times 503, {} times full again", filler.stop()?));
    back_within(server, &mut album, BACK_WITHIN)?.finish(&album)
}

/// Deletes an image, as a client that repeats what is answered 503. Returns how often it was.
fn deleted(album: &mut Album) -> anyhow::Result<u32> {
    let (began, mut refused) = (Instant::now(), 0);
    // Without an answer it may be deleted or not.
    while album.delete_oldest().inspect_err(|_| album.forget_oldest())? != 202 {
        refused += 1;
        ensure!(began.elapsed() < BACK_WITHIN, "it is refused for {BACK_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(refused)
}
