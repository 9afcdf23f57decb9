//! Each system call on a part of the data directory fails once, or from then on. Nothing acknowledged is lost, nothing
//! hangs, and the node comes back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::gate::note;
use harness::random::Random;
use harness::scale::Scale;
use harness::server::{Server, ServerOptions};
use harness::site::Site;

use super::calls::{ALL, Calls, ERRORS};
use super::image::{Album, Mercy, Pushed};
use super::recovery::{ANSWERS_WITHIN, Back, STOPS_WITHIN, back, ended, or_ended, timed};
use super::server;
use crate::case::Bench;

const LAYER: usize = 32 << 10;

/// At a small scale, one of the first calls fails.
const SOME_CALL: usize = 16;

pub fn journal(bench: &Bench) -> anyhow::Result<()> {
    sweep(bench, "journal")
}

pub fn blobs(bench: &Bench) -> anyhow::Result<()> {
    sweep(bench, "blobs")
}

pub fn uploads(bench: &Bench) -> anyhow::Result<()> {
    sweep(bench, "uploads")
}

pub fn index(bench: &Bench) -> anyhow::Result<()> {
    sweep(bench, "index")
}

/// Work in which one call fails after the other, until there are no further ones.
fn sweep(bench: &Bench, part: &str) -> anyhow::Result<()> {
    let calls = Calls::new(&bench.folder)?;
    let mut server = calls.preloaded(server(bench, &bench.folder.join("data"))?).start()?;
    let mut album = Album::new(Site::new(server.target(), "injected").repo("images"));
    for number in 0..2 {
        ensure!(album.push(&format!("v{number}"), LAYER)? == Pushed::Whole, "a push is refused before");
    }
    let (mut seen, mut reached): (BTreeMap<String, u32>, u32) = (BTreeMap::new(), 0);
    for (turn, (error, errno)) in ERRORS.iter().enumerate().take(bench.scale.pick(1, 4, 4)) {
        // Each seed tries others.
        let some = 1 + Random::new(bench.seed + turn as u64).below(SOME_CALL) as u32;
        for first in bench.scale.pick(some..=some, some..=some, 1..=u32::MAX) {
            // Each error and the next one differ in how long it lasts, so each call sees both.
            let last = if (first as usize + turn).is_multiple_of(2) { u32::MAX } else { first };
            let what = format!("{error} of call {first} on {part}, and of later ones: {}", last > first);
            calls.fail(&server.options.data.join(part), *errno, ALL, first..=last)?;
            let answers = work(&mut server, &mut album, &format!("{error}-{first}"));
            for answer in answers.with_context(|| what.clone())? {
                *seen.entry(answer).or_default() += 1;
            }
            if part == "index" {
                // sled writes behind.
                std::thread::sleep(Duration::from_millis(700));
            }
            let made = calls.made()?;
            calls.succeed()?;
            let Back { server: again, by_itself } = back(server, &mut album).context(what)?;
            server = again;
            ensure!(by_itself || part == "index", "the node had to be started again");
            *seen.entry(format!("back by itself: {by_itself}")).or_default() += 1;
            while album.images() > 4 {
                ensure!(album.delete_oldest()? == 202, "DELETEs stay refused");
            }
            album.ask_no_more_for_all_but(4);
            if made < first {
                break;
            }
            reached += 1;
        }
    }
    note(&format!("{part}: {reached} calls failed: {seen:?}"));
    // A small scale may name calls that are not made.
    ensure!(reached > 0 || bench.scale != Scale::Full, "no call was made there");
    Back { server, by_itself: true }.finish(&album)
}

/// A push, a new tag, its removal and a DELETE. Each answer must be right, or a clear refusal. Returns them.
fn work(server: &mut Server, album: &mut Album, name: &str) -> anyhow::Result<Vec<String>> {
    let mut answers = Vec::new();
    let steps: [fn(&mut Album, &str) -> anyhow::Result<String>; 3] = [
        |album, name| album.push(name, LAYER).map(|pushed| format!("{pushed:?}")),
        |album, name| {
            let tag = format!("{name}-again");
            match album.retag(&tag)? {
                Pushed::Whole => album.untag(&tag).map(|status| format!("untag {status}")),
                refused @ Pushed::Refused(..) => Ok(format!("{refused:?}")),
            }
        },
        |album, _| {
            let deleted = album.delete_oldest();
            if !matches!(deleted, Ok(202)) {
                album.forget_oldest();
            }
            deleted.map(|status| format!("DELETE {status}"))
        },
    ];
    for step in steps {
        if ended(server)? {
            break;
        }
        // One image at least, for the next tag.
        if album.images() < 2 {
            continue;
        }
        let outcome = timed(|| step(album, name));
        let Some((answer, took)) = or_ended(server, outcome)? else { break };
        ensure!(took < ANSWERS_WITHIN, "{answer} took {took:?}");
        answers.push(answer);
    }
    let checked = album.check(Mercy::Unavailable);
    or_ended(server, checked)?;
    Ok(answers)
}

/// In each state that failing calls lead to, SIGTERM ends the process in time.
pub fn stops(bench: &Bench) -> anyhow::Result<()> {
    for part in ["journal", "blobs", "uploads", "index"] {
        for (error, errno) in &ERRORS[..bench.scale.pick(1, 1, 4)] {
            let folder = bench.folder.join(format!("{part}-{error}"));
            std::fs::create_dir(&folder)?;
            stop(bench, &folder, part, *errno).with_context(|| format!("{error} on {part}"))?;
        }
    }
    Ok(())
}

fn stop(bench: &Bench, folder: &Path, part: &str, errno: i32) -> anyhow::Result<()> {
    let calls = Calls::new(folder)?;
    let mut server = calls.preloaded(server(bench, &folder.join("data"))?).start()?;
    let mut album = Album::new(Site::new(server.target(), "stops").repo("images"));
    for number in 0..3 {
        ensure!(album.push(&format!("v{number}"), LAYER)? == Pushed::Whole, "a push is refused before");
    }
    calls.fail(&server.options.data.join(part), errno, ALL, 1..=u32::MAX)?;
    work(&mut server, &mut album, "failing")?;
    if !ended(&mut server)? {
        stop_now(&mut server)?;
    }
    // Nor does a start hang there.
    let options: ServerOptions = server.options.clone();
    let mut again = options.spawn()?;
    if again.wait_ready(STOPS_WITHIN).is_ok() {
        stop_now(&mut again)?;
    } else {
        let status = again.wait_exit(STOPS_WITHIN).context("a start neither succeeds nor ends")?;
        let log = std::fs::read_to_string(&options.log)?;
        note(&format!("a start while {part} fails: {status}, {}", log.lines().last().unwrap_or_default()));
    }
    calls.succeed()?;
    let _server = options.start().context("start when no call fails")?;
    album.check(Mercy::None).map(drop)
}

/// SIGTERM. The status may say that the stop was late, but the process is gone.
fn stop_now(server: &mut Server) -> anyhow::Result<()> {
    server.sigterm()?;
    let status = server.wait_exit(STOPS_WITHIN).context("SIGTERM does not end the process")?;
    note(&format!("a stop: {status}"));
    Ok(())
}
