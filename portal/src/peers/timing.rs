//! Timeouts and pauses for peers.

use std::time::Duration;

const RETRIES: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// All times; tests use shorter ones.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// Timeout of a connection.
    pub(super) connect: Duration,
    /// Longest time without a byte.
    pub(super) idle: Duration,
    /// Timeout of one whole answer: a sector in this time is 35 KiB per second.
    pub(super) answer: Duration,
    /// Timeout for all peers to say whether they have an entry.
    pub(super) entry: Duration,
    /// Timeout for the other peers once one of them has given the entry.
    pub(super) more_entries: Duration,
    /// Time until the next peer is asked for a sector too.
    pub(super) stagger: Duration,
    /// Pause before each retry of passing an entry on.
    pub(super) retries: &'static [Duration],
    /// Pause after all retries have failed, until the next round.
    pub(super) away: Duration,
    /// Time from the start to the first exchange with peers.
    pub(super) first_exchange: Duration,
    /// Time from the end of an exchange to the next one.
    pub(super) between_exchanges: Duration,
    /// Pause before each entry of an exchange and each peer: 20 a second, a million in 14 hours.
    pub(super) exchange_step: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            answer: Duration::from_mins(2),
            entry: Duration::from_secs(5),
            more_entries: Duration::from_millis(500),
            stagger: Duration::from_secs(1),
            retries: RETRIES,
            away: Duration::from_mins(1),
            first_exchange: Duration::from_secs(30),
            between_exchanges: Duration::from_mins(10),
            exchange_step: Duration::from_millis(50),
        }
    }
}
