//! Slows down guessing of passwords, for each address.
//!
//! An address may fail ten times, and then once every six seconds. No user is ever locked: other addresses may log in as
//! the same user, and a password that was right before counts no more at its address. Clients that cannot be told apart,
//! behind a trusted proxy that names none, are not slowed down: one of them could keep out all others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serving::Holder;

/// Failures that an address may have at once.
const FAILURES: u32 = 10;
/// Time after which one failure is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(6);
/// Most addresses with failures. One more forgets those of all.
const ADDRESSES: usize = 16 * 1024;

/// The failed logins of each address.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<Holder, Instant>>);

impl Throttle {
    /// How long this client must wait for its next attempt; `None` if it may try now.
    pub(super) fn wait(&self, holder: Holder, now: Instant) -> Option<Duration> {
        let free_at = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&holder)?;
        let debt = free_at.saturating_duration_since(now);
        let wait = (debt + FORGOTTEN_AFTER).saturating_sub(FORGOTTEN_AFTER * FAILURES);
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a failed login.
    pub(super) fn failed(&self, holder: Holder, now: Instant) {
        if holder == Holder::SHARED {
            return;
        }
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= ADDRESSES && !table.contains_key(&holder) {
            table.retain(|_, free_at| *free_at > now);
            if table.len() >= ADDRESSES {
                table.clear();
            }
        }
        // The time at which all failures are forgotten.
        let free_at = table.entry(holder).or_insert(now);
        *free_at = (*free_at).max(now) + FORGOTTEN_AFTER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> Holder {
        Holder::at([192, 0, 2, last].into())
    }

    #[test]
    fn an_address_is_slowed_down_and_others_are_not() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..FAILURES {
            assert_eq!(throttle.wait(at(1), start), None);
            throttle.failed(at(1), start);
        }
        assert_eq!(throttle.wait(at(1), start), Some(FORGOTTEN_AFTER));
        assert_eq!(throttle.wait(at(2), start), None);
        let later = start + FORGOTTEN_AFTER;
        assert_eq!(throttle.wait(at(1), later), None);
        throttle.failed(at(1), later);
        assert_eq!(throttle.wait(at(1), later), Some(FORGOTTEN_AFTER));
        assert_eq!(throttle.wait(at(1), later + FORGOTTEN_AFTER * FAILURES), None);
    }

    /// Behind a proxy that names no client, one attacker would have kept out the owner.
    #[test]
    fn clients_that_cannot_be_told_apart_do_not_slow_each_other_down() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            throttle.failed(Holder::SHARED, now);
        }
        assert_eq!(throttle.wait(Holder::SHARED, now), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..=ADDRESSES as u32 {
            throttle.failed(Holder::at(std::net::Ipv4Addr::from_bits(number).into()), now);
        }
        assert!(throttle.0.lock().unwrap().len() <= ADDRESSES);
    }
}
