//! Any sequence of operations against a map in memory.

use std::collections::HashMap;

use content_store::faults::{Step, clear, plan};
use proptest::prelude::*;
use skynet_formats::entry::{EntryId, SignedEntry, supersedes};

use super::{Fixture, entry};
use crate::entries::Put;

#[derive(Clone, Debug)]
enum Operation {
    Put(SignedEntry),
    PutToFullDisk(SignedEntry),
    Get(EntryId),
    /// The process ends and another one opens the store.
    Reopen,
    /// The process ends while an entry is written beside the one that stands.
    CrashBeforeRename(SignedEntry, prop::sample::Index),
    Damage(EntryId, prop::sample::Index),
}

/// Few ids, revisions and contents, so that they meet.
fn any_entry() -> impl Strategy<Value = SignedEntry> {
    (0..2_u8, 0..2_u8, prop_oneof![0..4_u64, Just(u64::MAX)], prop::collection::vec(0..3_u8, 0..2))
        .prop_map(|(key, name, revision, data)| entry(key, &name.to_string(), revision, &data))
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => any_entry().prop_map(Operation::Put),
        1 => any_entry().prop_map(Operation::PutToFullDisk),
        4 => any_entry().prop_map(|entry| Operation::Get(entry.id())),
        1 => Just(Operation::Reopen),
        1 => (any_entry(), any::<prop::sample::Index>()).prop_map(|(entry, at)| Operation::CrashBeforeRename(entry, at)),
        1 => (any_entry(), any::<prop::sample::Index>()).prop_map(|(entry, at)| Operation::Damage(entry.id(), at)),
    ]
}

fn put(model: &mut HashMap<EntryId, SignedEntry>, entry: SignedEntry) -> Put {
    match model.get(&entry.id()) {
        None => {
            model.insert(entry.id(), entry);
            Put::Stored { replaced: None }
        }
        Some(standing) => match supersedes(standing.entry(), entry.entry()) {
            Ok(()) => Put::Stored { replaced: model.insert(entry.id(), entry) },
            Err(refusal) => Put::Refused { refusal, standing: standing.clone() },
        },
    }
}

fn run(operations: Vec<Operation>) {
    let mut fixture = Fixture::new();
    let mut model = HashMap::new();
    for operation in operations {
        match operation {
            Operation::Put(entry) => {
                assert_eq!(fixture.store.put(&entry).unwrap(), put(&mut model, entry));
            }
            Operation::PutToFullDisk(entry) => {
                plan(Step::Write, 0, libc::ENOSPC);
                // A refused entry needs no room.
                match fixture.store.put(&entry) {
                    Err(error) => assert!(error.is_disk_full()),
                    Ok(answer) => assert_eq!(answer, put(&mut model, entry)),
                }
                clear();
            }
            Operation::Get(id) => assert_eq!(fixture.store.get(&id).unwrap().as_ref(), model.get(&id)),
            Operation::Reopen => fixture.reopen(),
            Operation::CrashBeforeRename(entry, at) => {
                let record = crate::entries::record::encode(&entry);
                let written = &record[..at.index(record.len() + 1)];
                std::fs::write(fixture.store.temporary_directory().join(entry.id().to_string()), written).unwrap();
                fixture.reopen();
            }
            Operation::Damage(id, at) => {
                let (_, path) = fixture.store.place(&id);
                if let Ok(mut record) = std::fs::read(&path) {
                    let bit = at.index(record.len() * 8);
                    record[bit / 8] ^= 1 << (bit % 8);
                    std::fs::write(&path, record).unwrap();
                    model.remove(&id);
                }
            }
        }
    }
    fixture.reopen();
    for (id, entry) in model {
        assert_eq!(fixture.store.get(&id).unwrap(), Some(entry));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_that_loses_only_what_was_damaged(operations in prop::collection::vec(operation(), 0..30)) {
        run(operations);
    }
}
