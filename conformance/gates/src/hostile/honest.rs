//! Honest clients beside an attacker: 20 pushes and pulls a second from another address, with the attacker held to half a
//! core. Their times are compared with those beside the same attacker aimed at a sink.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use harness::client::{Connection, Request, Target};
use harness::expect::Faults;
use harness::gate::note;
use harness::manifest::{IMAGE, described};
use harness::noise::noise;
use harness::site::{Site, sha256};

use super::attacks::Attack;
use super::sink::Sink;
use crate::case::Bench;
use crate::control_group::Group;

/// Milliseconds of processor time that an attacker gets of every 100.
const HALF_A_CORE: u64 = 50;
/// The time between two honest operations.
const EVERY: Duration = Duration::from_millis(50);
/// Honest operations at once, at most.
const WORKERS: usize = 16;
/// The time that an attack has to begin.
const LEAD: Duration = Duration::from_secs(1);
/// How many times as long honest operations may take beside an attack.
const FACTOR: u32 = 10;
/// Times are measured again, since other programs may keep the machine busy for a moment.
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_mins(1);

/// The process of an attacker.
#[derive(Debug)]
pub struct Attacker {
    child: Child,
}

impl Attacker {
    /// Starts an attack in a group. The path is that of large content.
    pub fn start(attack: Attack, group: &Group, port: u16, path: &str) -> anyhow::Result<Self> {
        let name = clap::ValueEnum::to_possible_value(&attack).context("an attack has a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["attack", name.get_name(), "--port", &port.to_string(), "--path", path]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let attacker = Attacker { child };
        group.add(attacker.child.id())?;
        Ok(attacker)
    }

    /// Fails if the process has ended.
    pub fn goes_on(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the attacker ended: {ended:?}");
        Ok(())
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What honest clients saw.
#[derive(Debug, Default)]
struct Seen {
    pushes: Vec<Duration>,
    pulls: Vec<Duration>,
    faults: Faults,
}

/// A registry with an image that honest clients pull.
struct Honest {
    target: Target,
    manifest: Vec<u8>,
    next: AtomicUsize,
}

impl Honest {
    fn new(target: Target) -> anyhow::Result<Self> {
        let manifest = Site::new(target.clone(), "honest").repo_named("honest/pulled").push_image("latest")?.bytes;
        Ok(Honest { target, manifest, next: AtomicUsize::new(0) })
    }

    /// Pushes and pulls at a fixed rate.
    fn work(&self, time: Duration) -> anyhow::Result<Seen> {
        let (seen, turn, began) = (Mutex::new(Seen::default()), AtomicUsize::new(0), Instant::now());
        let worker = || -> anyhow::Result<()> {
            loop {
                let due = EVERY * u32::try_from(turn.fetch_add(1, Ordering::Relaxed))?;
                if due >= time {
                    return Ok(());
                }
                std::thread::sleep((began + due).saturating_duration_since(Instant::now()));
                let (pull, push) = (timed(|| self.pull()), timed(|| self.push()));
                let mut seen = seen.lock().map_err(|_| anyhow!("a client died"))?;
                seen.pulls.push(pull.0);
                seen.pushes.push(push.0);
                seen.faults.check("a pull", pull.1);
                seen.faults.check("a push", push.1);
            }
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
            all.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a client died"))?)
        })?;
        seen.into_inner().map_err(|_| anyhow!("a client died"))
    }

    fn pull(&self) -> anyhow::Result<()> {
        let mut connection = Connection::open(&self.target)?;
        let manifest = connection.send(&Request::get("/v2/honest/pulled/manifests/latest"))?;
        ensure!(manifest.status == 200 && manifest.body == self.manifest, "{}", manifest.status);
        Ok(())
    }

    fn push(&self) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (repository, config) = (format!("/v2/honest/r{}", number % 20), noise(&format!("honest {number}"), 4096));
        let mut connection = Connection::open(&self.target)?;
        let upload = format!("{repository}/blobs/uploads/?digest={}", sha256(&config));
        let blob =
            Request::new("POST", upload).header("Content-Type", "application/octet-stream").body(config.as_slice());
        let pushed = connection.send(&blob)?;
        ensure!(pushed.status == 201, "the blob: {}", pushed.status);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#, described("a/b", &config));
        let put = Request::new("PUT", format!("{repository}/manifests/v{number}")).header("Content-Type", IMAGE);
        let pushed = connection.send(&put.body(manifest.as_bytes()))?;
        ensure!(pushed.status == 201, "the manifest: {}", pushed.status);
        Ok(())
    }
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> (Duration, anyhow::Result<()>) {
    let began = Instant::now();
    let result = work();
    (began.elapsed(), result)
}

/// The time within which 99 of 100 operations ended.
fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// Honest clients see no refusal and little delay, since one address leaves enough of everything to others.
fn beside(bench: &Bench, attack: Attack) -> anyhow::Result<()> {
    let time = Duration::from_secs(bench.scale.pick(3, 4, 60));
    // Among few operations, the slowest is that of a busy machine.
    let least = Duration::from_millis(bench.scale.pick(500, 500, 50));
    let server = bench.server()?.start()?;
    let honest = Honest::new(server.target())?;
    let large = Site::new(server.target(), "attacked").repo_named("attacked").push_blob(&noise("large", 16 << 20))?;
    let path = format!("/v2/attacked/blobs/{large}");
    let measure = |port: u16| -> anyhow::Result<Seen> {
        let group = Group::computing(HALF_A_CORE)?;
        let mut attacker = Attacker::start(attack, &group, port, &path)?;
        std::thread::sleep(LEAD);
        let seen = honest.work(time);
        attacker.goes_on()?;
        seen
    };
    let sink = Sink::open()?;
    let mut rounds = 0;
    loop {
        let quiet = measure(sink.port)?;
        let attacked = measure(server.target().port)?;
        quiet.faults.finish().context("beside an attacker aimed at a sink")?;
        attacked.faults.finish()?;
        let mut late = Faults::default();
        late.check("pulls", in_time("pulls", quiet.pulls, attacked.pulls, least));
        late.check("pushes", in_time("pushes", quiet.pushes, attacked.pushes, least));
        rounds += 1;
        match late.finish() {
            Err(error) if rounds == ROUNDS => return Err(error),
            Err(error) => note(&format!("measured again: {error:#}")),
            Ok(()) => return server.terminate(PATIENCE).map(drop),
        }
    }
}

/// Fails if operations took much longer beside the attack.
fn in_time(what: &str, mut quiet: Vec<Duration>, mut attacked: Vec<Duration>, least: Duration) -> anyhow::Result<()> {
    let (before, beside) = (p99(&mut quiet), p99(&mut attacked));
    note(&format!("{what}: 99 of 100 within {beside:.1?}, and {before:.1?} beside an attacker aimed at a sink"));
    let most = FACTOR * before.max(least);
    ensure!(beside < most, "{beside:.1?}, more than {most:.1?}");
    Ok(())
}

macro_rules! cases {
    ($($name:ident: $attack:ident),* $(,)?) => {
        $(pub fn $name(bench: &Bench) -> anyhow::Result<()> {
            beside(bench, Attack::$attack)
        })*
    };
}

cases! {
    crowded: Crowded, leaving: Leaving, bodies: Bodies, sessions: Sessions, connections: Connections, unread: Unread,
    resets: Resets, chunks: Chunks, pages: Pages, tags: Tags,
}
