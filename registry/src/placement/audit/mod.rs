//! Audits: endpoints are asked again and again for the copies that they acknowledged, so that the records stay true.
//!
//! - *A sample*: when an endpoint comes up, some of its copies are asked for. If one is missing, all are.
//! - *A pass* asks for each copy, once in [`Settings::audit_interval`](super::Settings::audit_interval).
//! - *A reading* reads each copy whole, once in `full_read_interval`, at `audit_rate` bytes a second.
//! - *Doubts*: content whose copies failed a read is read whole from each endpoint at once.
//!
//! A copy that is not there, or is wrong, becomes `missing` in the catalog. The content then lacks a copy, and placement
//! makes one again. Missing copies are asked for, too: one that is read whole again counts again.
//!
//! Nothing of this is durable but what was found missing. After a crash all begins again with samples.

mod copies;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::copies::{Audit, Depth, Outcome};
use self::walk::Walk;
use super::Remote;
use crate::content::{Error, LocalContent};

pub(super) use copies::{Challenge, challenge};

/// Copies in a sample.
const SAMPLE: usize = 100;
/// Failures in a row after which a copy that is not clearly there counts as missing. skyd says 404 for "not found in
/// time".
const FAILURES: u32 = 3;
/// Longest time from the start to the first pass and the first reading.
const FIRST_AFTER: Duration = Duration::from_mins(5);
/// Longest time to the next pass after one during which an endpoint was silent, or the catalog could not be read.
const AGAIN_AFTER: Duration = Duration::from_mins(5);
/// An audit rests as long as its requests took, at most this long.
const LONGEST_REST: Duration = Duration::from_millis(200);

/// Audits until `stop`.
pub(super) async fn run(here: &Arc<LocalContent>, remote: &Arc<Remote>, stop: &CancellationToken) {
    let all = async { tokio::join!(doubts(here, remote), presence(here, remote), readings(here, remote)) };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = all => {}
    }
}

/// Audits content in doubt until that is settled.
async fn doubts(here: &Arc<LocalContent>, remote: &Arc<Remote>) {
    let suspects = &remote.origin.suspects;
    loop {
        let Some((digest, failures, due)) = suspects.next() else {
            suspects.added.notified().await;
            continue;
        };
        if due > Instant::now() {
            tokio::select! {
                () = sleep_until(due) => {}
                () = suspects.added.notified() => {}
            }
            continue;
        }
        let audit = Audit::new(here, remote, Depth::Whole);
        let mut audit = if failures + 1 >= FAILURES { audit.at_last() } else { audit };
        let failures = match audit.of(&digest).await {
            Ok(Outcome::Clear) if !audit.is_silent() => {
                suspects.settle(&digest);
                continue;
            }
            Ok(Outcome::Clear) => failures,
            Ok(Outcome::Unclear) => failures + 1,
            Err(error) => {
                tracing::debug!(%digest, %error, "content in doubt cannot be audited now");
                failures
            }
        };
        suspects.again_in(&digest, failures, remote.settings.doubts_apart);
    }
}

/// Samples of endpoints that came up, and passes over all copies.
async fn presence(here: &Arc<LocalContent>, remote: &Arc<Remote>) {
    let interval = remote.settings.audit_interval;
    let mut due = Instant::now() + interval.min(FIRST_AFTER);
    loop {
        let configured = |endpoint: &String| remote.endpoints().iter().any(|(name, _)| name == endpoint);
        for endpoint in remote.audits.to_sample().into_iter().filter(configured) {
            if !sample(here, remote, &endpoint).await.unwrap_or(true) {
                due = Instant::now();
            }
        }
        if due <= Instant::now() {
            let (began, at) = (Instant::now(), remote.clock.now_ms());
            let whole = pass(here, remote).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "copies cannot be audited now");
                false
            });
            if whole {
                remote.audits.passed(at);
            }
            due = if whole { began + interval } else { Instant::now() + interval.min(AGAIN_AFTER) };
        }
        tokio::select! {
            () = sleep_until(due) => {}
            () = remote.audits.came_up.notified() => {}
        }
    }
}

/// Asks an endpoint for some of its copies. False if one is missing: then all are to be asked for.
async fn sample(here: &Arc<LocalContent>, remote: &Arc<Remote>, endpoint: &str) -> Result<bool, Error> {
    let mut walk = Walk::from_anywhere();
    let (mut asked, mut sound) = (0, true);
    while asked < SAMPLE
        && let Some(digest) = walk.next(here).await?
    {
        let mut audit = Audit::new(here, remote, Depth::Presence).only_at(endpoint);
        if audit.concerns(&digest)? {
            asked += 1;
            sound &= audit.of(&digest).await? == Outcome::Clear && !audit.has_lost();
            if audit.is_silent() {
                return Ok(true);
            }
        }
    }
    if sound {
        remote.audits.sampled(endpoint);
    }
    Ok(sound)
}

/// Asks for all copies. False if an endpoint was silent.
async fn pass(here: &Arc<LocalContent>, remote: &Arc<Remote>) -> Result<bool, Error> {
    let up: Vec<String> = remote.endpoints().into_iter().map(|(name, _)| name).collect();
    let mut walk = Walk::from_the_start();
    let mut audit = Audit::new(here, remote, Depth::Presence);
    while let Some(digest) = walk.next(here).await? {
        let began = Instant::now();
        if audit.of(&digest).await? == Outcome::Unclear {
            remote.origin.suspects.add(&digest);
        }
        sleep(began.elapsed().min(LONGEST_REST)).await;
    }
    for endpoint in up {
        if !audit.was_silent(&endpoint) {
            remote.audits.sampled(&endpoint);
        }
    }
    Ok(!audit.is_silent())
}

/// Reads all copies whole, again and again.
async fn readings(here: &Arc<LocalContent>, remote: &Arc<Remote>) {
    let (interval, rate) = (remote.settings.full_read_interval, remote.settings.audit_rate);
    if interval.is_zero() || rate == 0 {
        return;
    }
    let mut due = Instant::now() + interval.min(FIRST_AFTER);
    loop {
        sleep_until(due).await;
        let began = Instant::now();
        match reading(here, remote, rate).await {
            Ok(()) => due = began + interval,
            Err(error) => {
                tracing::debug!(%error, "copies cannot be read now");
                due = Instant::now() + interval.min(AGAIN_AFTER);
            }
        }
    }
}

/// It begins anywhere, so that a node that is restarted often reads all of it, too.
async fn reading(here: &Arc<LocalContent>, remote: &Arc<Remote>, rate: u64) -> Result<(), Error> {
    let mut walk = Walk::from_anywhere();
    let mut audit = Audit::new(here, remote, Depth::Whole);
    while let Some(digest) = walk.next(here).await? {
        let (began, read) = (Instant::now(), audit.bytes_read());
        if audit.of(&digest).await? == Outcome::Unclear {
            remote.origin.suspects.add(&digest);
        }
        let took = Duration::from_secs_f64((audit.bytes_read() - read) as f64 / rate as f64);
        sleep(took.saturating_sub(began.elapsed()).max(began.elapsed().min(LONGEST_REST))).await;
    }
    Ok(())
}
