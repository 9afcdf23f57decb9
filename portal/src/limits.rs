//! Rate limits per client: a token bucket for each address, in a table of bounded size.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serving::client_network;

/// Addresses with a bucket of their own. Further ones share one bucket until others are full again.
const BUCKETS: usize = 10_000;

/// Seconds of income that a bucket can store.
const BURST_SECONDS: f64 = 10.0;

/// The table is searched for full buckets at most this often.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// A rate limit per address.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// Units per second; 0 for no limit.
    rate: f64,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    /// The bucket of all addresses for which the table has no room.
    shared: Bucket,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Units taken and not yet refilled.
    taken: f64,
    /// The time of that value.
    at: Option<Instant>,
}

impl RateLimit {
    /// Allows `rate` units per second and address in the long run, and ten seconds' worth at once. 0 allows everything.
    pub(crate) fn new(rate: u32) -> Self {
        let table = Table { buckets: HashMap::new(), shared: Bucket::default(), swept: None };
        RateLimit { rate: f64::from(rate), table: Mutex::new(table) }
    }

    /// Takes `count` units for an address, or returns the time to wait before a retry. A count above a bucket's
    /// capacity waits for a full bucket, and is paid for afterwards.
    pub(crate) fn take(&self, client: IpAddr, count: usize, now: Instant) -> Result<(), Duration> {
        if self.rate == 0.0 {
            return Ok(());
        }
        // Any call leaves the table consistent.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.bucket(client_network(client), self.rate, now).take(count as f64, self.rate, now)
    }
}

impl Table {
    fn bucket(&mut self, client: IpAddr, rate: f64, now: Instant) -> &mut Bucket {
        let known = self.buckets.contains_key(&client);
        if !known && self.buckets.len() >= BUCKETS {
            self.sweep(rate, now);
        }
        if known || self.buckets.len() < BUCKETS { self.buckets.entry(client).or_default() } else { &mut self.shared }
    }

    /// Drops full buckets, which are equal to new ones.
    fn sweep(&mut self, rate: f64, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_PERIOD) {
            return;
        }
        self.swept = Some(now);
        self.buckets.retain(|_, bucket| {
            bucket.refill(rate, now);
            bucket.taken > 0.0
        });
    }
}

impl Bucket {
    fn refill(&mut self, rate: f64, now: Instant) {
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.taken = (self.taken - elapsed.as_secs_f64() * rate).max(0.0);
        self.at = Some(now);
    }

    fn take(&mut self, count: f64, rate: f64, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        let burst = rate * BURST_SECONDS;
        let missing = self.taken + count.min(burst) - burst;
        if missing > 0.0 {
            return Err(Duration::from_secs_f64(missing / rate));
        }
        self.taken += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let (limit, start) = (RateLimit::new(2), Instant::now());
        let take = |count, after| limit.take(ip("192.0.2.1"), count, start + Duration::from_millis(after));
        assert_eq!(take(20, 0), Ok(()));
        assert_eq!(take(1, 0), Err(Duration::from_millis(500)));
        assert_eq!(take(1, 500), Ok(()));
        assert_eq!(take(1, 600), Err(Duration::from_millis(400)));
        assert_eq!(limit.take(ip("192.0.2.2"), 1, start), Ok(()), "another client is not held back");
        assert_eq!(RateLimit::new(0).take(ip("192.0.2.1"), 1_000_000, start), Ok(()));
    }

    #[test]
    fn more_than_a_bucket_holds_is_paid_for_later() {
        let (limit, start) = (RateLimit::new(1), Instant::now());
        let take = |count, after| limit.take(ip("192.0.2.1"), count, start + Duration::from_secs(after));
        assert_eq!(take(30, 0), Ok(()));
        assert_eq!(take(1, 20), Err(Duration::from_secs(1)));
        assert_eq!(take(1, 21), Ok(()));
    }

    #[test]
    fn a_network_of_one_customer_is_one_client() {
        let (limit, start) = (RateLimit::new(1), Instant::now());
        assert_eq!(limit.take(ip("2001:db8::1"), 10, start), Ok(()));
        assert!(limit.take(ip("2001:db8::ffff:0:0:2"), 1, start).is_err());
        assert_eq!(limit.take(ip("2001:db8:0:1::1"), 1, start), Ok(()));
    }

    #[test]
    fn the_table_is_bounded() {
        let (limit, start) = (RateLimit::new(1), Instant::now());
        let many = |from: u32, now| (from..from + BUCKETS as u32).map(move |n| (IpAddr::from(n.to_be_bytes()), now));
        for (client, now) in many(0, start).chain(many(1 << 20, start)) {
            let _ = limit.take(client, 10, now);
            assert!(limit.table.lock().unwrap().buckets.len() <= BUCKETS);
        }
        assert!(limit.take(ip("203.0.113.9"), 1, start).is_err(), "those without a bucket share one, which is empty");
        let later = start + Duration::from_mins(1);
        assert_eq!(limit.take(ip("203.0.113.9"), 1, later), Ok(()));
        assert_eq!(limit.table.lock().unwrap().buckets.len(), 1, "full buckets were forgotten");
    }

    proptest! {
        #[test]
        fn in_the_long_run_no_more_than_the_rate_passes(steps in prop::collection::vec((0_u64..500, 1_usize..30), 1..100)) {
            let (limit, start) = (RateLimit::new(3), Instant::now());
            let (mut elapsed, mut passed, mut largest) = (0, 0, 0);
            for (wait, count) in steps {
                elapsed += wait;
                largest = largest.max(count);
                if limit.take(ip("192.0.2.1"), count, start + Duration::from_millis(elapsed)).is_ok() {
                    passed += count;
                }
            }
            let allowed = 3.0 * (BURST_SECONDS + elapsed as f64 / 1000.0);
            prop_assert!(passed as f64 <= allowed + largest as f64 + 1e-6);
        }
    }
}
