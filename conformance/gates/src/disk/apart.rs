//! Index, journal and blobs on three file systems: each is filled by itself, and the others go on.

use std::path::Path;

use anyhow::{Context, ensure};
use harness::gate::{note, wait_until};
use harness::site::Site;

use super::claims::refused;
use super::image::{Album, Mercy, Pushed};
use super::recovery::{BACK_WITHIN, Back, back};
use super::server;
use crate::case::Bench;
use crate::place::Mount;

const LAYER: usize = 256 << 10;

/// New ext4 volumes, each with `lost+found`: one for the data directory, one for each part. The inner ones come first, so
/// that they are unmounted first.
fn mounted(bench: &Bench, data: &Path, parts: &[&'static str]) -> anyhow::Result<Vec<(&'static str, Mount)>> {
    let mounts = bench.mounts()?;
    let mut disks = vec![("blobs", Mount::ext4(mounts, data, 96)?)];
    for part in parts {
        let image = bench.folder.join(part);
        disks.push((part, Mount::ext4_of(mounts, &data.join(part), &image, 96)?));
    }
    disks.reverse();
    Ok(disks)
}

pub fn three(bench: &Bench) -> anyhow::Result<()> {
    let data = bench.folder.join("data");
    let disks = mounted(bench, &data, &["index", "journal"])?;
    let options = server(bench, &data)?.env("SKYBERTH_STORAGE_RESERVE", "8MiB");
    let mut server = options.start().context("start on new volumes")?;
    let mut album = Album::new(Site::new(server.target(), "apart").repo("images"));
    for number in 0..16 {
        ensure!(album.push(&format!("v{number}"), LAYER)? == Pushed::Whole, "a push is refused on the empty disks");
    }
    for (part, disk) in &disks {
        let filler = disk.fill()?;
        let pushed = album.push(&format!("{part}-full"), LAYER)?;
        let tagged = album.retag(&format!("{part}-full-again"))?;
        note(&format!("{part} on a full disk: a push {pushed:?}, a tag {tagged:?}"));
        ensure!(*part != "blobs" || matches!(pushed, Pushed::Refused(507, _)), "a full disk takes a push");
        for _ in 0..2 {
            let deleted = || album.delete_oldest().is_ok_and(|status| status == 202);
            ensure!(wait_until(BACK_WITHIN, deleted), "DELETEs stop while the disk of {part} is full");
        }
        let readable = || album.check(Mercy::Unavailable).is_ok_and(|unavailable| unavailable == 0);
        ensure!(wait_until(BACK_WITHIN, readable), "pulls stop while the disk of {part} is full");
        std::fs::remove_file(filler)?;
        let Back { server: again, by_itself } = back(server, &mut album).context(*part)?;
        server = again;
        ensure!(by_itself, "the node had to be started again after the disk of {part} was full");
    }
    Back { server, by_itself: true }.finish(&album)
}

/// A push would fail at its last step, so the start says so.
pub fn blobs_alone(bench: &Bench) -> anyhow::Result<()> {
    let data = bench.folder.join("data");
    let _disks = mounted(bench, &data, &["blobs"])?;
    let said = refused(&server(bench, &data)?)?;
    ensure!(said.contains("must be on one mounted file system"), "unclear: {said}");
    Ok(())
}
