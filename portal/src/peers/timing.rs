//! How long peers are waited for.

use std::time::Duration;

const RETRIES: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// Times. Tests have shorter ones.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// To connect.
    pub(super) connect: Duration,
    /// Without a byte.
    pub(super) idle: Duration,
    /// For one answer in all: a sector in this time is 35 KiB a second.
    pub(super) answer: Duration,
    /// For all peers to say whether they have an entry.
    pub(super) entry: Duration,
    /// The same once one of them has given it.
    pub(super) more_entries: Duration,
    /// Until the next peer is asked for a sector too.
    pub(super) stagger: Duration,
    /// Before each further attempt to pass an entry on.
    pub(super) retries: &'static [Duration],
    /// After all of them have failed, until the next round of attempts.
    pub(super) away: Duration,
    /// From the start to the first exchange with peers.
    pub(super) first_exchange: Duration,
    /// From the end of an exchange to the next one.
    pub(super) between_exchanges: Duration,
    /// Before each entry of an exchange and each peer: 20 a second, a million in 14 hours.
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
