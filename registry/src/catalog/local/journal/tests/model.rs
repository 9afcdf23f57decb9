//! Random histories compared with a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::Compaction;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Fact>),
    BeginCompaction,
    FinishCompaction,
    Reopen,
}

fn fact() -> impl Strategy<Value = Fact> {
    let repository = || "library/a".parse().unwrap();
    let locator = |n: usize| crate::catalog::fact::Locator {
        kind: "skynet".into(),
        profile: String::new(),
        address: format!("sia-{}", n % 2),
        endpoints: vec![],
        codec: "plain".into(),
        stored_size: n as u64,
    };
    (0..8_usize, 0..6_usize, 0..1000_usize).prop_map(move |(kind, name, n)| match kind {
        0 | 1 => set(name, n),
        2 => delete(name),
        3 => Fact::BlobLinked { repository: repository(), digest: digest(name), size: n as u64 },
        4 => Fact::BlobUnlinked { repository: repository(), digest: digest(name) },
        5 => Fact::Placed {
            digest: digest(name),
            locator: locator(n),
            read_back: n % 3 == 0,
            read_among: Vec::new(),
            missing: Vec::new(),
            after_unpin: None,
        },
        6 => Fact::UnpinPending { digest: digest(name), locator: locator(n) },
        _ => Fact::Unplaced { digest: digest(name), locator: locator(n) },
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(fact(), 1..6).prop_map(Step::Append),
        1 => Just(Step::BeginCompaction),
        2 => Just(Step::FinishCompaction),
        1 => Just(Step::Reopen),
    ]
}

/// The facts in force, each with its sequence.
fn standing(records: impl IntoIterator<Item = (u64, Fact)>) -> BTreeMap<Vec<u8>, (u64, Fact)> {
    let mut state = BTreeMap::new();
    for (sequence, fact) in records {
        if fact.is_removal() {
            state.remove(&fact.key());
        } else {
            state.insert(fact.key(), (sequence, fact));
        }
    }
    state
}

fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    let mut history: Vec<(u64, Fact)> = Vec::new();
    let mut begun: Option<Compaction> = None;
    for step in steps {
        match step {
            Step::Append(facts) => {
                let range = journal.append(&facts, 1, AppendKind::Ordinary).unwrap();
                history.extend(range.zip(facts));
            }
            Step::BeginCompaction => {
                if begun.is_none() {
                    begun = journal.begin_compaction().unwrap();
                }
            }
            Step::FinishCompaction => {
                if let Some(compaction) = begun.take() {
                    journal.finish_compaction(compaction.run().unwrap()).unwrap();
                }
            }
            Step::Reopen => {
                begun = None;
                drop(journal);
                let (again, opened) = open(directory.path()).unwrap();
                assert_eq!((opened.last_sequence, opened.cut), (history.len() as u64, None));
                journal = again;
            }
        }
        let found = records(&journal).into_iter().map(|record| (record.sequence, record.fact));
        assert_eq!(standing(found), standing(history.clone()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_equals_a_map_by_key(steps in proptest::collection::vec(step(), 1..40)) {
        run(steps);
    }
}
