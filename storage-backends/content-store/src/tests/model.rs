//! Any sequence of operations on an upload against a plain `Vec`.

use proptest::prelude::*;

use super::{Fixture, noise};
use crate::Mark;
use crate::digest::{Algorithm, Digest};
use crate::disk::faults::{Step, plan};

#[derive(Clone, Debug)]
enum Operation {
    Append(Vec<u8>),
    AppendToFullDisk,
    SyncPoint,
    Mark,
    RollBack(prop::sample::Index),
    /// The process ends and another one opens the session.
    Reopen,
    /// Reopens after the data file has lost its end.
    CutAndReopen(prop::sample::Index),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Operation::Append),
        1 => Just(Operation::AppendToFullDisk),
        3 => Just(Operation::SyncPoint),
        3 => Just(Operation::Mark),
        3 => any::<prop::sample::Index>().prop_map(Operation::RollBack),
        2 => Just(Operation::Reopen),
        1 => any::<prop::sample::Index>().prop_map(Operation::CutAndReopen),
    ]
}

/// The expected state of the upload.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    /// So many bytes survive the end of the process.
    synced: usize,
    marks: Vec<(usize, Mark)>,
}

fn run(fixture: &Fixture, algorithm: Algorithm, operations: Vec<Operation>) {
    let mut model = Model::default();
    let mut upload = fixture.create(algorithm);
    for operation in operations {
        match operation {
            Operation::Append(bytes) => {
                upload.append(&bytes).unwrap();
                model.bytes.extend(bytes);
            }
            Operation::AppendToFullDisk => {
                plan(Step::Write, 0, libc::ENOSPC);
                assert!(upload.append(&noise(100)).unwrap_err().is_disk_full());
            }
            Operation::SyncPoint => {
                upload.sync_point().unwrap();
                model.synced = model.bytes.len();
            }
            Operation::Mark => model.marks.push((model.bytes.len(), upload.mark())),
            Operation::RollBack(index) if !model.marks.is_empty() => {
                let (length, mark) = index.get(&model.marks).clone();
                assert_eq!(upload.roll_back(mark).is_ok(), length <= model.bytes.len());
                model.bytes.truncate(length);
                model.synced = model.synced.min(model.bytes.len());
            }
            Operation::RollBack(_) => {}
            Operation::Reopen => {
                drop(upload);
                model.bytes.truncate(model.synced);
                upload = fixture.reopen().unwrap();
            }
            Operation::CutAndReopen(index) => {
                drop(upload);
                let length = index.index(model.bytes.len() + 1);
                let file = std::fs::OpenOptions::new().write(true).open(fixture.data_path()).unwrap();
                file.set_len(length as u64).unwrap();
                model.synced = model.synced.min(length);
                model.bytes.truncate(model.synced);
                upload = fixture.reopen().unwrap();
            }
        }
        assert_eq!(upload.offset(), model.bytes.len() as u64);
    }
    let digest = Digest::of(algorithm, &model.bytes);
    upload.finish(&digest).unwrap().publish().unwrap();
    assert_eq!(fixture.store.read_verified(&digest, model.bytes.len() as u64).unwrap(), model.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_upload_is_a_vec_that_forgets_what_was_not_synced(
        algorithm in prop::sample::select(&Algorithm::ALL[..]),
        operations in prop::collection::vec(operation(), 0..40),
    ) {
        run(&Fixture::new(), algorithm, operations);
    }
}
