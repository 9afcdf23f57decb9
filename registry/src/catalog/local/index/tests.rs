//! Reads of a view are as if its changes were in the index. A rollback restores the earlier view.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::*;
use sled::IVec;

use super::source::Source;
use super::{Index, View};

type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Remember,
    RollBack,
    Apply,
}

/// Short keys over three letters, so that some keys are prefixes of others.
fn a_key() -> impl Strategy<Value = Vec<u8>> {
    vec(b'a'..=b'c', 1..4)
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (a_key(), vec(any::<u8>(), 0..2)).prop_map(|(key, payload)| Step::Put(key, payload)),
        4 => a_key().prop_map(Step::Remove),
        2 => Just(Step::Remember),
        2 => Just(Step::RollBack),
        1 => Just(Step::Apply),
    ]
}

fn scanned(source: &impl Source, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    source
        .scan(prefix, after, &mut |key, payload| {
            found.push((key.to_vec(), payload.to_vec()));
            Ok(if found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
    found
}

fn assert_reads_as(view: &View<'_>, plain: &Plain) {
    for prefix in [&b"a"[..], b"b", b"ab", b"abc", b"cc", b"d"] {
        for after in [None, Some(&b"a"[..]), Some(b"ab"), Some(b"b"), Some(b"bbb")] {
            let after = after.filter(|after| after.starts_with(prefix));
            for limit in [1, 2, usize::MAX] {
                let expected: Vec<_> = plain
                    .iter()
                    .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after))
                    .map(|(key, payload)| (key.clone(), payload.clone()))
                    .take(limit)
                    .collect();
                assert_eq!(scanned(view, prefix, after, limit), expected, "{prefix:?} {after:?} {limit}");
            }
        }
    }
    for (key, payload) in plain {
        assert_eq!(view.get(key).unwrap().as_deref(), Some(payload.as_slice()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_view_reads_as_a_plain_map(steps in vec(a_step(), 1..60)) {
        let place = tempfile::tempdir().unwrap();
        let index = Index::open(place.path(), 1, 1 << 20, "journal").unwrap();
        let (mut view, mut plain) = (View::new(&index), Plain::new());
        let mut remembered = Vec::new();
        for step in steps {
            match step {
                Step::Put(key, payload) => {
                    view.put(key.clone(), IVec::from(&payload[..])).unwrap();
                    plain.insert(key, payload);
                }
                Step::Remove(key) => {
                    view.remove(key.clone()).unwrap();
                    plain.remove(&key);
                }
                Step::Remember => remembered.push((view.rollback_point(), plain.clone())),
                Step::RollBack => {
                    if let Some((point, then)) = remembered.pop() {
                        view.roll_back(point);
                        plain = then;
                    }
                }
                Step::Apply => {
                    index.apply(view.into_changes(), Some(1)).unwrap();
                    index.verify().unwrap();
                    prop_assert_eq!(index.meta().entries, plain.len() as u64);
                    view = View::new(&index);
                    remembered.clear();
                }
            }
            assert_reads_as(&view, &plain);
        }
    }
}
