//! The choice between two entries of one id.

use thiserror::Error;

use super::{Entry, EntryType, HOST_KEY_HASH_LENGTH};
use crate::blake2b::hash;

/// Reasons why an entry does not replace the current one. The words are skyd's, because clients know them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The current entry has a higher revision.
    #[error("provided revision number is invalid")]
    LowerRevision,
    /// The current entry has the same revision and as much work, so the same content. skyd hides this refusal and
    /// answers success. A repeated request thus gets the same answer twice.
    #[error("provided revision number is already registered")]
    SameContent,
    /// The current entry has the same revision and a smaller hash.
    #[error("entry doesn't have enough pow to replace existing entry")]
    InsufficientWork,
}

/// `Ok` if `new` replaces `old`, both of the same id. The higher revision wins, and at the same revision the smaller
/// hash of the content. Every node that applies this rule ends with the same entry, in any order of arrival.
///
/// A Sia host has one more rule: of two entries with the same work it keeps the one that names the host itself. There
/// are no hosts here, so no entry is ever meant for this one, and the current entry stays.
pub fn supersedes(old: &Entry, new: &Entry) -> Result<(), Refusal> {
    debug_assert_eq!(old.datakey, new.datakey, "entries of two ids have nothing to do with each other");
    if new.revision != old.revision {
        return if new.revision > old.revision { Ok(()) } else { Err(Refusal::LowerRevision) };
    }
    match work(new).cmp(&work(old)) {
        std::cmp::Ordering::Less => Ok(()),
        std::cmp::Ordering::Equal => Err(Refusal::SameContent),
        std::cmp::Ordering::Greater => Err(Refusal::InsufficientWork),
    }
}

/// A measure of the work: less means more work. Neither the type nor the host's key counts, so that a content has the
/// same work for every host.
fn work(entry: &Entry) -> [u8; 32] {
    let data = match entry.kind {
        EntryType::Plain => &entry.data[..],
        EntryType::HostKey => &entry.data[HOST_KEY_HASH_LENGTH..],
    };
    hash(|state| entry.feed(state, data))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, entry, unhex};
    use super::*;
    use crate::datakey::DataKey;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    /// siad's own test has these two and their hashes.
    #[test]
    fn the_smaller_hash_wins_at_one_revision() {
        let zero = DataKey::from_bytes([0; 32]);
        let worse = Entry::new(EntryType::Plain, zero, unhex("9c0e0775d2176f1f9984"), 0).unwrap();
        let better = Entry::new(EntryType::Plain, zero, unhex("d609d8de783665bfb437"), 0).unwrap();
        let expected = "659f49276a066a4b2434c9ffb953efee63d255e69c5541fb1785b54ebc10fbad";
        assert_eq!(HEXLOWER.encode(&work(&worse)), expected);
        let expected = "0c46015835772a5aa99ca8999fa8b876bb2293cd16ca2fbff8c858a64813eb51";
        assert_eq!(HEXLOWER.encode(&work(&better)), expected);
        assert_eq!(supersedes(&worse, &better), Ok(()));
        assert_eq!(supersedes(&better, &worse), Err(Refusal::InsufficientWork));
        assert_eq!(supersedes(&better, &better), Err(Refusal::SameContent));
        // With a host's key before it, the content has the work that it had without.
        let host_key = [&[7; HOST_KEY_HASH_LENGTH][..], better.data()].concat();
        let for_a_host = Entry::new(EntryType::HostKey, zero, host_key, 0).unwrap();
        assert_eq!(work(&for_a_host), work(&better));
        assert_eq!(supersedes(&worse, &for_a_host), Ok(()));
        assert_eq!(supersedes(&better, &for_a_host), Err(Refusal::SameContent));
        assert_eq!(supersedes(&for_a_host, &better), Err(Refusal::SameContent));
    }

    #[test]
    fn the_revision_comes_before_the_work() {
        let zero = DataKey::from_bytes([0; 32]);
        let of = |revision| Entry::new(EntryType::Plain, zero, b"x".to_vec(), revision).unwrap();
        for (older, newer) in [(0, 1), (7, 8), (u64::MAX - 1, u64::MAX), (0, u64::MAX), (i64::MAX as u64, 1 << 63)] {
            assert_eq!(supersedes(&of(older), &of(newer)), Ok(()));
            assert_eq!(supersedes(&of(newer), &of(older)), Err(Refusal::LowerRevision));
        }
    }

    #[test]
    fn refusals_speak_as_skyd_does() {
        assert_eq!(Refusal::LowerRevision.to_string(), "provided revision number is invalid");
        assert_eq!(Refusal::SameContent.to_string(), "provided revision number is already registered");
        assert_eq!(Refusal::InsufficientWork.to_string(), "entry doesn't have enough pow to replace existing entry");
    }

    fn close_entry() -> impl Strategy<Value = Entry> {
        // Few revisions and few contents, so that ties are common.
        entry(0..3_u64, data(4))
    }

    proptest! {
        #[test]
        fn it_is_a_strict_order(a in close_entry(), b in close_entry(), c in close_entry()) {
            let wins = |new: &Entry, old: &Entry| supersedes(old, new).is_ok();
            prop_assert!(!wins(&a, &a));
            prop_assert!(!(wins(&a, &b) && wins(&b, &a)));
            prop_assert!(!(wins(&a, &b) && wins(&b, &c)) || wins(&a, &c));
            // Neither wins only if both say the same: then the third sees no difference between the two.
            if !wins(&a, &b) && !wins(&b, &a) {
                prop_assert_eq!(supersedes(&a, &b), Err(Refusal::SameContent));
                prop_assert_eq!((a.revision, work(&a)), (b.revision, work(&b)));
                prop_assert_eq!(wins(&a, &c), wins(&b, &c));
                prop_assert_eq!(wins(&c, &a), wins(&c, &b));
            }
        }

        #[test]
        fn whatever_the_order_of_arrival_one_content_stands(
            entries in prop::collection::vec(close_entry(), 1..8),
            shuffled in any::<prop::sample::Index>(),
        ) {
            let stands = |entries: &mut dyn Iterator<Item = &Entry>| {
                let last = entries.reduce(|old, new| if supersedes(old, new).is_ok() { new } else { old });
                last.map(|entry| (entry.revision, work(entry)))
            };
            let turned = shuffled.index(entries.len());
            let mut other = entries[turned..].iter().chain(&entries[..turned]).rev();
            prop_assert_eq!(stands(&mut entries.iter()), stands(&mut other));
        }
    }
}
