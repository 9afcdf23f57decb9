//! A disk that another process fills to the last byte, so that even journal and index find no space.

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::gate::note;
use harness::server::Server;
use harness::site::Site;

use super::image::{Album, Mercy, Pushed};
use super::server;
use crate::case::Bench;
use crate::place::Mount;

/// A server on a small disk with a few images.
fn prepared(bench: &Bench) -> anyhow::Result<(Mount, Server, Album)> {
    let disk = Mount::tmpfs(bench.mounts()?, &bench.folder.join("disk"), 256)?;
    let server = server(bench, &disk.path.join("data"))?.start()?;
    let mut album = Album::new(Site::new(server.target(), "filled").repo("images"));
    for number in 0..8 {
        ensure!(album.push(&format!("v{number}"), 1 << 20)? == Pushed::Whole, "a push is refused on the empty disk");
    }
    Ok((disk, server, album))
}

pub fn running(bench: &Bench) -> anyhow::Result<()> {
    let (disk, server, mut album) = prepared(bench)?;
    let filler = disk.fill()?;
    let unavailable = album.check(Mercy::Unavailable).context("on the full disk")?;
    note(&format!("reads on the full disk: {unavailable} answers of 503"));
    let mut refused = std::collections::BTreeMap::new();
    for number in 0..bench.scale.pick(20, 100, 1000) {
        // Both kinds of pushes: those that need a file, and those that need only the journal.
        let pushed = match number % 2 {
            0 => album.push(&format!("w{number}"), 64 << 10)?,
            _ => album.retag(&format!("w{number}"))?,
        };
        *refused.entry(format!("{pushed:?}")).or_insert(0) += 1;
        if number % 20 == 0 {
            album.check(Mercy::Unavailable).context("between writes to the full disk")?;
        }
    }
    note(&format!("writes to the full disk: {refused:?}"));
    ensure!(!refused.keys().any(|key| key.contains("500")), "a full disk is answered 500: {refused:?}");
    let deleted = album.delete_oldest()?;
    note(&format!("DELETE on the full disk: {deleted}"));
    ensure!(deleted == 202, "the reserve is there so that DELETE works on a full disk, it answers {deleted}");
    album.check(Mercy::Unavailable).context("after the writes to the full disk")?;

    std::fs::remove_file(filler)?;
    let back = harness::gate::wait_until(Duration::from_secs(10), || {
        album.push("back", 64 << 10).is_ok_and(|pushed| pushed == Pushed::Whole)
    });
    note(&format!("pushes {} without a restart", if back { "work again" } else { "stay refused" }));
    album.check(Mercy::Unavailable).context("after space returned")?;
    let _server = server.kill()?.start().context("start after space returned")?;
    album.check(Mercy::None).context("after space returned and kill -9")?;
    ensure!(album.push("at-last", 1 << 20)? == Pushed::Whole, "pushes stay refused after the restart");
    album.check(Mercy::None).map(drop)
}

pub fn restarted(bench: &Bench) -> anyhow::Result<()> {
    let (disk, server, mut album) = prepared(bench)?;
    let filler = disk.fill()?;
    let _ = album.push("lost", 64 << 10)?;
    let options = server.kill()?;
    let mut server = options.spawn()?;
    let ended = match server.wait_ready(Duration::from_secs(20)) {
        Ok(()) => {
            note("it starts on the full disk");
            album.check(Mercy::Unavailable).context("started on the full disk")?;
            None
        }
        Err(_) => Some(server.wait_exit(Duration::from_secs(1)).context("neither ready nor ended on the full disk")?),
    };
    if let Some(status) = ended {
        let said = std::fs::read_to_string(&options.log)?;
        let last = said.lines().last().unwrap_or_default();
        note(&format!("it does not start on the full disk: {status}, {last}"));
        ensure!(!said.contains("panicked"), "it panicked");
        ensure!(last.to_lowercase().contains("space"), "it does not say that space is missing: {last}");
    }
    std::fs::remove_file(filler)?;
    drop(server);
    let _server = options.start().context("start after space returned")?;
    album.check(Mercy::None).context("after space returned")?;
    ensure!(album.push("at-last", 1 << 20)? == Pushed::Whole, "pushes stay refused");
    album.check(Mercy::None).map(drop)
}
