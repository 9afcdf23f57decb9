//! What a node does after its disk was full or failed: it comes back by itself, or has ended with a last line and starts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::client::Request;
use harness::gate::note;
use harness::server::Server;

use super::image::{Album, Mercy, Pushed};

/// Exit status of a node that lost its index.
const INDEX_LOST: i32 = 7;

// A busy machine takes several times what the documents say. A node that hangs takes for ever.
/// How long a node may take until it is ready again once its disk is well.
pub const BACK_WITHIN: Duration = Duration::from_mins(1);
/// How long an answer may take beside a part that fails.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// How long a stop may take.
pub const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// How long a process may take to be gone after its sockets have closed.
const GONE_WITHIN: Duration = Duration::from_secs(10);

pub fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Duration)> {
    let began = Instant::now();
    work().map(|result| (result, began.elapsed()))
}

/// True if the process has ended, which it may do only with the status and the last line for it.
pub fn ended(server: &mut Server) -> anyhow::Result<bool> {
    ended_within(server, Duration::ZERO)
}

fn ended_within(server: &mut Server, limit: Duration) -> anyhow::Result<bool> {
    let Ok(status) = server.wait_exit(limit) else { return Ok(false) };
    let log = std::fs::read_to_string(&server.options.log)?;
    let last = log.lines().last().unwrap_or_default();
    note(last);
    ensure!(status.code() == Some(INDEX_LOST), "the node ended with {status}: {last}");
    // Another thread may write a line before the process is gone.
    let says_why = log.lines().rev().take(3).any(|line| line.contains("the index is lost"));
    ensure!(says_why, "the last line does not say why: {last}");
    Ok(true)
}

/// The outcome of requests; `None` if the process ended meanwhile, as it may. Its sockets close before it is gone.
pub fn or_ended<T>(server: &mut Server, outcome: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(_) if ended_within(server, GONE_WITHIN)? => Ok(None),
        Err(error) => Err(error),
    }
}

/// A node that came back.
#[derive(Debug)]
pub struct Back {
    pub server: Server,
    /// False if it had to be started again.
    pub by_itself: bool,
}

/// The disk is well again: the node comes back by itself, or after a start if it has ended.
pub fn back(server: Server, album: &mut Album) -> anyhow::Result<Back> {
    back_within(server, album, BACK_WITHIN)
}

pub fn back_within(mut server: Server, album: &mut Album, within: Duration) -> anyhow::Result<Back> {
    let (began, mut by_itself) = (Instant::now(), true);
    loop {
        let state = server.target().send(&Request::get("/readyz")).map(|answer| answer.text()).unwrap_or_default();
        // sled writes behind, so the index may fail, and the process end, only now.
        let works = if state.contains("\"ready\"") { works(album) } else { Ok(false) };
        let works = or_ended(&mut server, works)?;
        if works == Some(true) {
            break;
        }
        if works.is_none() || ended(&mut server)? {
            by_itself = false;
            server = server.kill()?.start().context("start after the index was lost")?;
        }
        if began.elapsed() > within {
            bail!("not ready {within:?} after the disk is well: {state}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    album.check(Mercy::None).context("after the disk is well")?;
    Ok(Back { server, by_itself })
}

/// True if everything can be read, and a push is taken.
fn works(album: &mut Album) -> anyhow::Result<bool> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let tag = format!("back-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    Ok(album.check(Mercy::Unavailable)? == 0 && album.push(&tag, 64 << 10)? == Pushed::Whole)
}

impl Back {
    /// It stops, and has everything after a restart.
    pub fn finish(self, album: &Album) -> anyhow::Result<()> {
        let options = self.server.terminate(STOPS_WITHIN)?;
        let _server = options.start()?;
        album.check(Mercy::None).context("after a restart").map(drop)
    }
}
