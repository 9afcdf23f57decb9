//! The least rate of transfers, applied while a pool is short of permits.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::pool::Pool;

const MINUTE: Duration = Duration::from_mins(1);
/// Minutes over which a rate is measured.
const MINUTES: usize = 5;
/// Bytes that a transfer must move in that time: 64 KiB a minute.
const LEAST: u64 = MINUTES as u64 * (64 << 10);

/// How much a transfer moved while it could: the last whole minutes in which the server waited for the client.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Bytes of each of them, in a ring.
    minutes: [u64; MINUTES],
    next: usize,
    /// The current minute: its bytes, and how much of it has passed.
    bytes: u64,
    waited: Duration,
}

impl Default for Pace {
    /// A new transfer has its first five minutes.
    fn default() -> Self {
        Pace { minutes: [LEAST; MINUTES], next: 0, bytes: 0, waited: Duration::ZERO }
    }
}

impl Pace {
    /// Counts bytes that moved.
    pub fn moved(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts time that the server waited for the client. True if this ends a minute, and the rate is below the least.
    pub fn waited(&mut self, time: Duration) -> bool {
        // After a pause of the whole process, one minute at most counts.
        self.waited += time.min(MINUTE);
        if self.waited < MINUTE {
            return false;
        }
        self.waited -= MINUTE;
        self.minutes[self.next] = std::mem::take(&mut self.bytes);
        self.next = (self.next + 1) % MINUTES;
        self.minutes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)) < LEAST
    }

    /// The rest of the current minute.
    pub fn left(&self) -> Duration {
        MINUTE.saturating_sub(self.waited)
    }
}

/// Watches a stream of a client's bytes that holds a permit of a pool.
#[derive(Debug)]
pub(crate) struct Watch {
    pool: Arc<Pool>,
    pace: Pace,
    /// When the wait for the client began.
    since: Option<Instant>,
    minute: std::pin::Pin<Box<Sleep>>,
}

impl Watch {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Watch { pool, pace: Pace::default(), since: None, minute: Box::pin(sleep_until(Instant::now() + MINUTE)) }
    }

    /// The client sent this many bytes.
    pub(crate) fn moved(&mut self, bytes: u64) {
        self.pace.moved(bytes);
        if let Some(since) = self.since.take() {
            // The end of this minute is judged with that of the next one, since bytes have just come.
            let _ = self.pace.waited(since.elapsed());
        }
    }

    /// The client sends nothing now. Ready if it is too slow while others want its permit.
    pub(crate) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            if self.since.is_none() {
                self.since = Some(now);
                self.minute.as_mut().reset(now + self.pace.left());
            }
            std::task::ready!(self.minute.as_mut().poll(cx));
            let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            if self.pace.waited(waited) && self.pool.is_short() {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_five_minutes_of_waiting_count() {
        let mut pace = Pace::default();
        let mut minute = |bytes| {
            pace.moved(bytes);
            pace.waited(MINUTE)
        };
        for _ in 0..4 {
            assert!(!minute(0), "a new transfer has time");
        }
        assert!(minute(0));
        assert!(!minute(LEAST), "what came last counts");
        for _ in 0..4 {
            assert!(!minute(0));
        }
        assert!(minute(LEAST - 1));
    }

    #[test]
    fn time_in_pieces_is_the_same_time_and_a_pause_of_hours_is_a_minute() {
        let mut pace = Pace::default();
        for _ in 0..19 {
            assert!(!pace.waited(MINUTE / 4));
        }
        assert_eq!(pace.left(), MINUTE / 4);
        assert!(pace.waited(MINUTE / 4));
        let mut stopped = Pace::default();
        assert!(!stopped.waited(100 * MINUTE));
    }
}
