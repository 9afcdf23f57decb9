//! The limit of staged bytes: what portals do not have yet, uploads and manifests together, never exceeds it.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use harness::gate::note;
use harness::manifest::{CONFIG, described, image};
use harness::noise::noise;
use harness::proxy::Fault;
use harness::site::{Repo, Site};
use serde_json::json;

use super::stack::Stack;
use super::{KIB, MIB};
use crate::case::Bench;

const LIMIT: usize = MIB;
/// Uploads at once, each of half the limit.
const UPLOADS: usize = 12;
/// Bytes that records and directories may take besides the content.
const BESIDE: usize = 512 * KIB;

pub fn limit_holds(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::new(bench, 2)?.with(&[("SKYBERTH_STORAGE_STAGING_LIMIT", "1MiB")]);
    let server = stack.start()?;
    let repo = Site::new(server.target(), "limit").repo("a");
    repo.push_blob(b"{}")?;
    stack.set_all(&Fault::Gone);
    let sessions = (0..UPLOADS).map(|_| repo.begin()).collect::<anyhow::Result<Vec<_>>>()?;
    let piece = noise("half", LIMIT / 2);
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let patch = |session: &harness::site::Session| session.send(&session.ranged(0, &piece)).map(|a| a.status);
        let clients: Vec<_> = sessions.iter().map(|session| scope.spawn(move || patch(session))).collect();
        clients.into_iter().filter_map(|client| client.join().ok()?.ok()).collect()
    });
    note(&format!("{UPLOADS} uploads of half the limit at once: {answers:?}"));
    ensure!(answers.iter().all(|status| matches!(status, 202 | 503)), "other answers: {answers:?}");
    ensure!(answers.iter().filter(|status| **status == 202).count() <= 2, "more was taken than the limit: {answers:?}");
    holds(&stack.options.data).context("by uploads")?;
    for session in &sessions {
        repo.delete(&session.location)?.expect(204)?;
    }
    let taken = push_manifests(&repo)?;
    note(&format!("then {taken} manifests of 100 KiB"));
    ensure!(taken > 0, "cancelled uploads keep their share");
    holds(&stack.options.data).context("by manifests")?;
    Ok(())
}

fn push_manifests(repo: &Repo) -> anyhow::Result<usize> {
    let one = image(&described(CONFIG, b"{}"), &[]);
    for number in 0..40 {
        let padding = format!("{number:0>10}").repeat(10 * KIB);
        let manifest = one.with("annotations", json!({ "padding": padding }));
        let answer = repo.put(&manifest.digest(), &manifest)?;
        match answer.status {
            201 => {}
            503 => {
                answer.need("Retry-After")?;
                return Ok(number);
            }
            status => bail!("a manifest beyond the limit is answered {status} {}", answer.text()),
        }
    }
    bail!("40 manifests of 100 KiB are more than the limit, and none was refused")
}

fn holds(data: &Path) -> anyhow::Result<()> {
    let staged = bytes(&data.join("uploads"))? + bytes(&data.join("blobs"))?;
    note(&format!("{staged} bytes are on the node"));
    ensure!(staged <= LIMIT + BESIDE, "{staged} bytes are staged with a limit of {LIMIT}");
    Ok(())
}

fn bytes(directory: &Path) -> anyhow::Result<usize> {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { bytes(&entry.path())? } else { meta.len() as usize };
    }
    Ok(sum)
}
