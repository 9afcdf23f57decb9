//! Honest pushes and pulls beside a client that uses up what all share: the writer, the disk's syncs, the log.

use std::fs::OpenOptions;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Connection, Request};
use harness::expect;
use harness::manifest::{IMAGE, Manifest, described};
use harness::noise::noise;
use harness::server::Server;
use harness::site::{Repo, Site, hex};

use crate::case::Bench;

/// Longest time of an honest push or pull, on a machine that is busy with other checks.
const PATIENCE: Duration = Duration::from_mins(1);

/// The default of `registry.max_references`.
pub const MAX_REFERENCES: usize = 10_000;

/// Runs attackers until an honest client has pushed and pulled some images. Each attacker repeats its step, which is
/// given its number and the number of the step.
fn beside<A>(bench: &Bench, server: &Server, attackers: usize, attack: A) -> anyhow::Result<()>
where
    A: Fn(usize, usize) -> anyhow::Result<()> + Sync,
{
    let rounds = bench.scale.pick(5, 10, 400);
    let (stop, steps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let repeat = |attacker: usize| -> anyhow::Result<()> {
        let mut step = 0;
        while !stop.load(Ordering::Relaxed) {
            attack(attacker, step).with_context(|| format!("attacker {attacker}, step {step}"))?;
            step += 1;
            steps.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let site = Site::new(server.target(), "honest");
    std::thread::scope(|scope| {
        let attacking: Vec<_> = (0..attackers).map(|number| scope.spawn(move || repeat(number))).collect();
        let honest = until(|| steps.load(Ordering::Relaxed) > 0)
            .context("the attack does not begin")
            .and_then(|()| (0..rounds).try_for_each(|round| push_and_pull(&site, round)));
        stop.store(true, Ordering::Relaxed);
        for one in attacking {
            one.join().map_err(|_| anyhow::anyhow!("an attacker died"))??;
        }
        honest
    })
}

fn push_and_pull(site: &Site, round: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    let repo = site.repo(&format!("round{round}"));
    let manifest = repo.push_image("latest").with_context(|| format!("push {round}"))?;
    let pulled = repo.get(&repo.manifest("latest"))?;
    ensure!(pulled.status == 200 && pulled.body == manifest.bytes, "pull {round}: {}", pulled.status);
    ensure!(started.elapsed() < PATIENCE, "push and pull {round} took {:?}", started.elapsed());
    Ok(())
}

fn until(done: impl Fn() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !done() {
        ensure!(Instant::now() < end, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// An image with this many references, all but its config absent and different for each label.
pub fn crowded(config: &[u8], references: usize, label: &str) -> Manifest {
    let hashes = noise(label, 32 * (references - 1));
    let layers = hashes.chunks(32).map(|hash| format!(r#"{{"digest":"sha256:{}","size":1}}"#, hex(hash)));
    let layers = layers.collect::<Vec<_>>().join(",");
    let config = described("a/b", config);
    Manifest::raw(IMAGE, format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#))
}

fn attacker_repo(server: &Server) -> anyhow::Result<Repo> {
    let repo = Site::new(server.target(), "attacker").repo("a");
    repo.push_blob(b"config")?;
    Ok(repo)
}

/// Manifests with as many references as are accepted, and one with more.
pub fn crowded_manifests(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.env("SKYBERTH_REGISTRY_REFERENCE_CHECKS", "false").start()?;
    let repo = attacker_repo(&server)?;
    let over = repo.put("over", &crowded(b"config", MAX_REFERENCES + 1, "over"))?;
    expect::error(&over, &[413], &["SIZE_INVALID"])?;
    ensure!(over.text().contains(&MAX_REFERENCES.to_string()), "the limit is not named: {}", over.text());
    beside(bench, &server, 3, |attacker, step| {
        let manifest = crowded(b"config", MAX_REFERENCES, &format!("{attacker} {step}"));
        let pushed = repo.put(&format!("t{attacker}"), &manifest)?;
        ensure!([201, 429, 503].contains(&pushed.status), "{}", pushed.status);
        let deleted = repo.delete(&repo.manifest(&manifest.digest()))?;
        ensure!([202, 404, 429, 503].contains(&deleted.status), "DELETE: {}", deleted.status);
        Ok(())
    })?;
    server.terminate(PATIENCE).map(drop)
}

/// Manifests that are refused, since thousands of their references are absent.
pub fn refused_manifests(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.start()?;
    let repo = attacker_repo(&server)?;
    beside(bench, &server, 6, |attacker, step| {
        let refused = repo.put("refused", &crowded(b"config", MAX_REFERENCES, &format!("{attacker} {step}")))?;
        ensure!([400, 429, 503].contains(&refused.status), "{}", refused.status);
        Ok(())
    })?;
    server.terminate(PATIENCE).map(drop)
}

/// Chunks of one byte, each durable before its answer.
pub fn one_byte_chunks(bench: &Bench) -> anyhow::Result<()> {
    const ATTACKERS: usize = 48;
    let server = bench.server()?.start()?;
    let repo = attacker_repo(&server)?;
    let sessions = (0..ATTACKERS).map(|_| repo.begin()).collect::<anyhow::Result<Vec<_>>>()?;
    let acknowledged: Vec<AtomicUsize> = (0..ATTACKERS).map(|_| AtomicUsize::new(0)).collect();
    beside(bench, &server, ATTACKERS, |attacker, step| {
        let answer = sessions[attacker].send(&sessions[attacker].ranged(step, b"x"))?;
        ensure!(answer.status == 202, "{}", answer.status);
        acknowledged[attacker].store(step + 1, Ordering::Relaxed);
        Ok(())
    })?;
    let _server = server.kill()?.start()?;
    for (session, bytes) in sessions.iter().zip(&acknowledged) {
        session.holds(bytes.load(Ordering::Relaxed))?;
    }
    Ok(())
}

/// A pipe on standard error that nobody reads. Every request logs a line.
pub fn unread_log(bench: &Bench) -> anyhow::Result<()> {
    let mut options = bench.server()?.env("SKYBERTH_LOG_ACCESS", "all");
    options.log = bench.folder.join("pipe");
    let made = Command::new("mkfifo").arg(&options.log).status()?;
    ensure!(made.success(), "mkfifo: {made}");
    // Both ends, so that the server's open does not wait, and its writes do not fail.
    let _ends = OpenOptions::new().read(true).write(true).open(&options.log)?;
    let server = options.start()?;
    let mut connection = Connection::open(&server.target())?;
    for number in 0..2000 {
        let answer = connection.send(&Request::get("/v2/")).with_context(|| format!("request {number}"))?;
        ensure!(answer.status == 200, "request {number}: {}", answer.status);
    }
    let site = Site::new(server.target(), "unread");
    push_and_pull(&site, 0)?;
    let metrics = connection.send(&Request::get("/metrics"))?.text();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("skyberth_log_lines_dropped_total "));
    ensure!(dropped.is_some_and(|count| count != "0"), "no dropped line is counted: {dropped:?}");
    server.terminate(PATIENCE).map(drop)
}
