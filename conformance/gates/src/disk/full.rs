//! A disk filled by the server's own clients: refusals are clear, reads go on, and deletes and collection free space.

use std::path::Path;

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::gate::note;
use harness::noise::noise;
use harness::operate::operate;
use harness::site::{Repo, Session, Site, sha256};

use super::image::{Album, Mercy, Pushed};
use super::resumed::offset;
use super::server;
use crate::case::Bench;
use crate::place::Mount;

const LAYER: usize = 4 << 20;
const SMALL: usize = 256 << 10;
/// Most pushes until the disk is full. Reaching this means that it never is.
const MOST_PUSHES: usize = 200;

pub fn default_reserve(bench: &Bench) -> anyhow::Result<()> {
    fill_and_free(bench, 192, 64)
}

pub fn small_reserve(bench: &Bench) -> anyhow::Result<()> {
    fill_and_free(bench, 128, 1)
}

/// Fills and frees the disk. Both sizes are in MiB.
fn fill_and_free(bench: &Bench, size: usize, reserve: u64) -> anyhow::Result<()> {
    let disk = Mount::tmpfs(bench.mounts()?, &bench.folder.join("disk"), size as u64)?;
    let data = disk.path.join("data");
    let server = server(bench, &data)?.env("SKYBERTH_STORAGE_RESERVE", &format!("{reserve}MiB")).start()?;
    let site = Site::new(server.target(), "full");
    let mut album = Album::new(site.repo("images"));
    let other = site.repo("sessions");
    // Begun while there is space, so that the refusal comes during the upload, not at its start.
    let (mut patched, put) = (other.begin()?, other.begin()?);
    let bytes = noise("of the session", size << 20);
    patched.chunk(0, &bytes[..LAYER])?;

    let refused = fill(&mut album)?;
    note(&format!("{} images of 4 MiB, then {refused:?}", album.len()));
    ensure!(album.len() >= 5, "the disk took {} images only", album.len());
    album.check(Mercy::None).context("on the full disk")?;

    let kept = patch_until_full(&mut patched, &bytes)?;
    let answer = put.close_with(&sha256(&bytes), &bytes)?;
    ensure!(answer.status == 507, "a PUT with its body answers {} on the full disk", answer.status);
    refused_at_the_door(&other, &disk, reserve << 20)?;
    album.check(Mercy::None).context("on the full disk, after refused uploads")?;

    for _ in 0..album.len() / 2 {
        ensure!(album.delete_oldest()? == 202, "DELETE is refused on the full disk");
    }
    collect(bench, &data)?;
    let status = patched.status()?;
    status.expect(204).context("the session after collection")?;
    ensure!(offset(&status)? == kept, "the session moved from {kept} to {}", offset(&status)?);
    finish(&mut patched, &bytes[..kept + LAYER / 2], kept).context("the refused session, after collection")?;
    ensure!(album.push("again", LAYER)? == Pushed::Whole, "a push is refused after collection");
    album.check(Mercy::None).context("after collection")?;

    drop(put);
    let _server = server.kill()?.start()?;
    album.check(Mercy::None).context("after kill -9")?;
    let blob = other.get(&other.blob(&sha256(&bytes[..kept + LAYER / 2])))?;
    ensure!(blob.status == 200 && blob.body == bytes[..kept + LAYER / 2], "the finished session: {}", blob.status);
    ensure!(album.push("at-last", LAYER)? == Pushed::Whole, "a push is refused after the restart");
    album.check(Mercy::None).map(drop)
}

/// Below the reserve, no upload may begin.
fn refused_at_the_door(repo: &Repo, disk: &Mount, reserve: u64) -> anyhow::Result<()> {
    let free = disk.free()?;
    let begun = repo.send(&Request::new("POST", repo.uploads()))?;
    note(&format!("{free} bytes are free of {reserve} to keep free: POST answers {}", begun.status));
    if free < reserve {
        ensure!(begun.status == 507 && begun.header("Retry-After").is_some(), "POST answers {}", begun.status);
    }
    Ok(())
}

fn fill(album: &mut Album) -> anyhow::Result<Pushed> {
    for number in 0..MOST_PUSHES {
        match album.push(&format!("v{number}"), LAYER)? {
            Pushed::Whole => {}
            refused @ Pushed::Refused(status, _) => {
                ensure!(status != 500, "a full disk is answered {refused:?}");
                return Ok(refused);
            }
        }
    }
    anyhow::bail!("{MOST_PUSHES} pushes and the disk is not full")
}

/// Appends until 507. Returns the session's offset by GET.
fn patch_until_full(session: &mut Session, bytes: &[u8]) -> anyhow::Result<usize> {
    let mut acknowledged = LAYER;
    let mut size = LAYER;
    while acknowledged + size < bytes.len() {
        let chunk = &bytes[acknowledged..acknowledged + size];
        let answer = session.send(&session.ranged(acknowledged, chunk))?;
        if answer.status == 202 {
            acknowledged += chunk.len();
            continue;
        }
        ensure!(answer.status == 507, "PATCH answers {} on the full disk", answer.status);
        let status = session.status()?;
        status.expect(204).context("status of the refused session")?;
        let kept = offset(&status)?;
        note(&format!("session: {acknowledged} bytes acknowledged, {kept} kept at the 507"));
        ensure!((acknowledged..=acknowledged + chunk.len()).contains(&kept), "{kept} of {acknowledged} kept");
        acknowledged = kept;
        // Then the rest is filled in small steps.
        if size < LAYER {
            return Ok(kept);
        }
        size = SMALL;
    }
    anyhow::bail!("more than the disk has went into the full disk")
}

fn finish(session: &mut Session, bytes: &[u8], kept: usize) -> anyhow::Result<()> {
    session.chunk(kept, &bytes[kept..])?;
    session.close(&sha256(bytes))?.expect(201).map(drop)
}

/// Runs `skyberth gc` on the running node.
pub fn collect(bench: &Bench, data: &Path) -> anyhow::Result<()> {
    operate(bench.binary, "gc", data, &[])?.sound()?.said.lines().for_each(note);
    Ok(())
}
