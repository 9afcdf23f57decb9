//! Acknowledgement `network`: an answer waits until its content is placed, or reports in time that this is unknown.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::gate::note;
use harness::manifest::{CONFIG, LAYER, Manifest, described, image};
use harness::noise::noise;
use harness::proxy::Fault;
use harness::proxy::exchange::Exchange;
use harness::site::{Repo, Site};
use harness::status::Backlog;

use super::stack::Stack;
use super::{MIB, patience};
use crate::case::Bench;

/// How long an answer waits for its content to be placed.
const WAIT: Duration = Duration::from_secs(20);
/// The interval in which the answer must come if placement takes too long. containerd gives up after the latter.
const WITHIN: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(30)];

fn started(bench: &Bench) -> anyhow::Result<(Stack, harness::server::Server, Repo)> {
    let stack = Stack::new(bench, 2)?.with(&[("SKYBERTH_STORAGE_ACKNOWLEDGE", "network")]);
    let server = stack.start()?;
    let repo = Site::new(server.target(), "acknowledge").repo("a");
    Ok((stack, server, repo))
}

struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Manifest,
}

fn of(label: &str, length: usize) -> Image {
    let (layer, config) = (noise(label, length), format!(r#"{{"author":"{label}"}}"#).into_bytes());
    let manifest = image(&described(CONFIG, &config), &[described(LAYER, &layer)]);
    Image { layer, config, manifest }
}

/// After each answer, no content may be waiting for placement.
pub fn network(bench: &Bench) -> anyhow::Result<()> {
    let (stack, server, repo) = started(bench)?;
    // So slow that an answer without the wait is detected.
    stack.set_all(&Fault::Trickle(4 * MIB as u64));
    let image = of("network", 9 * MIB);
    for (what, bytes) in [("the layer", &image.layer), ("the config", &image.config)] {
        let started = Instant::now();
        repo.push_blob(bytes)?;
        placed(&repo, what, started)?;
    }
    let started = Instant::now();
    repo.store("latest", &image.manifest)?;
    placed(&repo, "the manifest", started)?;
    stack.set_all(&Fault::None);
    let server = stack.make_cold(server).context("as soon as it was acknowledged")?;
    let answer = repo.get(&repo.manifest("latest"))?;
    ensure!(answer.status == 200 && answer.body == image.manifest.bytes, "the manifest answers {}", answer.status);
    let answer = repo.get(&repo.blob(&harness::site::sha256(&image.layer)))?;
    ensure!(answer.status == 200 && answer.body == image.layer, "the layer answers {}", answer.status);
    drop(server);
    Ok(())
}

fn placed(repo: &Repo, what: &str, started: Instant) -> anyhow::Result<()> {
    let took = started.elapsed();
    let backlog = Backlog::of(&repo.target)?;
    note(&format!("{what} is acknowledged after {:.2} s, {} contents not placed", took.as_secs_f64(), backlog.count));
    ensure!(backlog.count == 0 || took >= WAIT, "{what} is acknowledged and not placed: {backlog:?}");
    Ok(())
}

pub fn without_portals(bench: &Bench) -> anyhow::Result<()> {
    let (stack, _server, repo) = started(bench)?;
    stack.set_all(&Fault::Stalled);
    let mark = stack.mark();
    let image = of("doubt", MIB);
    std::thread::scope(|scope| {
        let config = scope.spawn(|| timed(|| repo.push_blob(&image.config).map(drop)));
        let layer = timed(|| repo.push_blob(&image.layer).map(drop)).and_then(|took| in_time("the layer's PUT", took));
        let config = config.join().map_err(|_| anyhow::anyhow!("a client's thread died"))?;
        layer.and(config.and_then(|took| in_time("the config's PUT", took)))
    })?;
    let started = Instant::now();
    let answer = repo.put("latest", &image.manifest)?;
    in_time("the manifest's PUT", started.elapsed())?;
    answer.expect(503).context("a manifest that is not placed")?;
    answer.need("Retry-After")?;
    let asked = stack.since(&mark);
    ensure!(!asked.is_empty(), "no portal was asked anything");
    ensure!(!asked.iter().any(Exchange::is_success), "a portal that stalls answered");
    let visible = repo.get(&repo.manifest("latest"))?;
    ensure!(visible.status == 200 && visible.body == image.manifest.bytes, "in doubt, it answers {}", visible.status);
    stack.set_all(&Fault::None);
    let until = Instant::now() + patience(bench);
    loop {
        let answer = repo.put("latest", &image.manifest)?;
        if answer.status == 201 {
            let backlog = Backlog::of(&repo.target)?;
            ensure!(backlog.count == 0, "the manifest is acknowledged and not placed: {backlog:?}");
            return Ok(());
        }
        answer.expect(503).context("the repeated PUT")?;
        ensure!(Instant::now() < until, "the repeated PUT is still refused");
    }
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

fn in_time(what: &str, took: Duration) -> anyhow::Result<()> {
    note(&format!("{what} is answered after {:.1} s", took.as_secs_f64()));
    let [least, most] = WITHIN;
    ensure!(took >= least, "{what} is answered after {:.1} s without a portal", took.as_secs_f64());
    ensure!(took <= most, "{what} is answered after {:.1} s", took.as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_wait_is_as_wrong_as_one_that_waits_too_long() {
        let [least, most] = WITHIN;
        assert!(in_time("it", Duration::from_millis(50)).is_err());
        assert!(in_time("it", (least + most) / 2).is_ok());
        assert!(in_time("it", most + Duration::from_secs(1)).is_err());
    }
}
