//! Outages: no portal at all, and so much content waiting for one that no more is accepted.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::client::{Request, Response};
use harness::gate::{note, wait_until};
use harness::manifest::{CONFIG, LAYER, described, image};
use harness::noise::noise;
use harness::proxy::Fault;
use harness::server::Server;
use harness::site::{Repo, Site, sha256};
use harness::status::{self, Backlog};

use super::stack::Stack;
use super::{MIB, patience};
use crate::case::Bench;

/// containerd gives up after this time.
const CLIENTS_WAIT: Duration = Duration::from_secs(30);
/// Most connections to each missing portal before a cold pull is refused: three attempts, and one or two checks whether
/// it is back. So a client tries its next mirror soon.
const ATTEMPTS: usize = 5;

/// Leaves the given blobs on the portals only, and another one also locally.
fn push_cold_and_warm(
    bench: &Bench,
    stack: &Stack,
    server: Server,
    repo: &Repo,
    cold: &[Vec<u8>],
) -> anyhow::Result<(Server, Vec<u8>)> {
    for bytes in cold {
        repo.push_blob(bytes)?;
    }
    stack.settle(&repo.target, patience(bench))?;
    let server = stack.make_cold(server)?;
    let warm = noise("warm", 5 * MIB);
    repo.push_blob(&warm)?;
    stack.settle(&repo.target, patience(bench))?;
    Ok((server, warm))
}

pub fn all_gone(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::new(bench, 2)?;
    let server = stack.start()?;
    let repo = Site::new(server.target(), "gone").repo("a");
    let cold: Vec<Vec<u8>> = [1000, 9 * MIB].map(|length| noise("cold", length)).into();
    let (_server, warm) = push_cold_and_warm(bench, &stack, server, &repo, &cold)?;

    stack.set_all(&Fault::Gone);
    for _ in 0..3 {
        for bytes in &cold {
            let (started, before) = (Instant::now(), stack.refused());
            let answer = repo.send(&Request::get(repo.blob(&sha256(bytes))))?;
            unavailable(&answer, started.elapsed()).with_context(|| format!("{} cold bytes", bytes.len()))?;
            let asked = stack.refused() - before;
            note(&format!("503 after {:.1} s and {asked} connections", started.elapsed().as_secs_f64()));
            let most = ATTEMPTS * stack.portals.len();
            ensure!(asked <= most, "{asked} connections to portals that are gone, {most} at most");
        }
    }
    has(&repo, &warm).context("warm, without portals")?;
    let pushed = push_image(&repo, "without portals")?;
    has(&repo, &pushed).context("pushed without portals")?;
    let backlog = Backlog::of(&repo.target)?;
    ensure!(backlog.bytes >= pushed.len() as u64, "{backlog:?} after a push without portals");

    stack.set_all(&Fault::None);
    let started = Instant::now();
    status::wait_placed(&repo.target, patience(bench)).context("after the portals came back")?;
    note(&format!("placement went on {:.1} s after the portals came back", started.elapsed().as_secs_f64()));
    cold.iter().try_for_each(|bytes| has(&repo, bytes)).context("cold, after the portals came back")
}

pub fn all_stalled(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::new(bench, 2)?;
    let server = stack.start()?;
    let repo = Site::new(server.target(), "stalled").repo("a");
    let cold = noise("cold", 9 * MIB);
    let (_server, warm) = push_cold_and_warm(bench, &stack, server, &repo, std::slice::from_ref(&cold))?;
    stack.set_all(&Fault::Stalled);
    for part in ["bytes=0-99", "bytes=5000000-5000099"] {
        let started = Instant::now();
        let answer = repo.send(&Request::get(repo.blob(&sha256(&cold))).header("Range", part))?;
        unavailable(&answer, started.elapsed()).context(part)?;
        note(&format!("{} after {:.1} s", answer.status, started.elapsed().as_secs_f64()));
    }
    has(&repo, &warm).context("warm, while portals stall")?;
    stack.set_all(&Fault::None);
    let again = wait_until(patience(bench), || has(&repo, &cold).is_ok());
    ensure!(again, "cold content cannot be pulled after the portals came back");
    Ok(())
}

/// Expects a 503 in time, with `Retry-After`.
fn unavailable(answer: &Response, took: Duration) -> anyhow::Result<()> {
    answer.expect(503)?;
    let again = answer.need("Retry-After")?;
    ensure!(again.parse::<u32>().is_ok_and(|seconds| seconds > 0), "Retry-After: {again}");
    ensure!(answer.error_code().is_some(), "503 without an error in the body: {}", answer.text());
    ensure!(took < CLIENTS_WAIT, "503 after {:.1} s", took.as_secs_f64());
    Ok(())
}

fn has(repo: &Repo, bytes: &[u8]) -> anyhow::Result<()> {
    let answer = repo.get(&repo.blob(&sha256(bytes)))?;
    answer.expect(200)?;
    ensure!(answer.body == bytes, "{} bytes came back changed", bytes.len());
    Ok(())
}

/// Pushes an image, and returns its layer.
fn push_image(repo: &Repo, tag: &str) -> anyhow::Result<Vec<u8>> {
    let (layer, config) = (noise(tag, 6 * MIB), format!(r#"{{"author":"{tag}"}}"#).into_bytes());
    repo.push_blob(&layer)?;
    repo.push_blob(&config)?;
    repo.store("latest", &image(&described(CONFIG, &config), &[described(LAYER, &layer)]))?;
    Ok(layer)
}

const STAGING: usize = 48 * MIB;
const PIECE: usize = 6 * MIB;

pub fn staging_full(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::new(bench, 2)?.with(&[("SKYBERTH_STORAGE_STAGING_LIMIT", "48MiB")]);
    let server = stack.start()?;
    let repo = Site::new(server.target(), "staging").repo("a");
    let before = push_image(&repo, "before")?;
    status::wait_placed(&repo.target, patience(bench))?;
    stack.set_all(&Fault::Gone);
    let (taken, refused) = push_until_refused(&repo)?;
    note(&format!("{} blobs of {} MiB taken, then {}", taken.len(), PIECE / MIB, refused.status));
    refused.need("Retry-After")?;
    ensure!(refused.error_code().is_some(), "503 without an error in the body");
    let most = STAGING / PIECE + 1;
    ensure!((3..=most).contains(&taken.len()), "{} blobs taken, {most} fill the limit", taken.len());
    taken.iter().chain([&before]).try_for_each(|bytes| has(&repo, bytes)).context("on a full staging")?;

    let _server = server.kill()?.start()?;
    taken.iter().try_for_each(|bytes| has(&repo, bytes)).context("on a full staging, after kill -9")?;
    let (more, _) = push_until_refused(&repo).context("on a full staging, after kill -9")?;
    ensure!(more.is_empty(), "{} more blobs are taken on a full staging after kill -9", more.len());

    stack.set_all(&Fault::None);
    let again = wait_until(patience(bench), || {
        repo.send(&Request::new("POST", repo.uploads())).is_ok_and(|answer| answer.status == 202)
    });
    ensure!(again, "uploads stay refused after the portals came back");
    // A new upload may reach the limit again.
    status::wait_placed(&repo.target, patience(bench))?;
    let after = push_image(&repo, "after")?;
    status::wait_placed(&repo.target, patience(bench))?;
    taken.iter().chain([&before, &after]).try_for_each(|bytes| has(&repo, bytes)).context("at the end")
}

/// Pushes until a refusal. Returns what was acknowledged, and the refusal: a 503 to any request of an upload.
fn push_until_refused(repo: &Repo) -> anyhow::Result<(Vec<Vec<u8>>, Response)> {
    let mut taken = Vec::new();
    for number in 0..40 {
        let bytes = noise(&format!("staged {number}"), PIECE);
        let begun = repo.send(&Request::new("POST", repo.uploads()))?;
        if begun.status == 503 {
            return Ok((taken, begun));
        }
        begun.expect(202)?;
        let session = harness::site::Session::of(&repo.target, &begun)?;
        let closed = session.close_with(&sha256(&bytes), &bytes)?;
        match closed.status {
            201 => taken.push(bytes),
            503 => return Ok((taken, closed)),
            status => bail!("an upload that is too much is answered {status} {}", closed.text()),
        }
    }
    bail!("{} blobs taken and none refused", taken.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: body.as_bytes().to_vec(), own: true }
    }

    #[test]
    fn unavailable_says_when_to_come_back_and_says_it_in_time() {
        let body = r#"{"errors":[{"code":"UNKNOWN"}]}"#;
        let soon = Duration::from_secs(1);
        let again = [("Retry-After", "5")];
        assert!(unavailable(&answer(503, &again, body), soon).is_ok());
        assert!(unavailable(&answer(503, &again, body), CLIENTS_WAIT).is_err());
        assert!(unavailable(&answer(503, &[], body), soon).is_err());
        assert!(unavailable(&answer(503, &again, ""), soon).is_err());
        assert!(unavailable(&answer(502, &again, body), soon).is_err());
    }
}
