//! The journal's promises, tested with small segments.

mod append;
mod compaction;
mod damage;
mod format;
mod garbage;
mod killed;
mod model;
mod repairing;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::catalog::fact::{Fact, Record};

use super::{AppendKind, Cut, Disk, Journal, JournalId, OpenError, Opened, Options, SystemDisk};

/// A disk that fails on demand. It does not sync, since these tests crash no machine, and syncs would take minutes.
#[derive(Debug, Default)]
struct TestDisk {
    is_full: AtomicBool,
    fails_to_sync: AtomicBool,
    fails_to_write: AtomicBool,
}

impl TestDisk {
    fn set(flag: &AtomicBool, value: bool) {
        flag.store(value, Ordering::SeqCst);
    }
}

impl Disk for TestDisk {
    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.set_len(length)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.fails_to_write.load(Ordering::SeqCst) {
            SystemDisk.write(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("injected"));
        }
        SystemDisk.write(file, bytes, offset)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        if self.fails_to_sync.load(Ordering::SeqCst) { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

fn id() -> JournalId {
    JournalId::from_bytes(*b"a journal's id..")
}

/// Options for segments of three records with a reserve of one.
fn options(disk: Arc<dyn Disk>) -> Options {
    Options {
        keep_free: 0,
        known_end: None,
        segment_bytes: 1024,
        reserve_bytes: 256,
        compact_at_least: 2048,
        compact_at_most: 4096,
        disk,
        new_id: || Ok(id()),
    }
}

fn small() -> Options {
    options(Arc::new(TestDisk::default()))
}

fn open(directory: &Path) -> Result<(Journal, Opened), OpenError> {
    Journal::open(directory, None, small())
}

fn digest(n: usize) -> crate::oci::Digest {
    format!("sha256:{n:064x}").parse().unwrap()
}

/// Points tag `t<tag>` at manifest `n`.
fn set(tag: usize, n: usize) -> Fact {
    let (repository, tag) = ("library/a".parse().unwrap(), format!("t{tag}").parse().unwrap());
    Fact::TagSet { repository, tag, digest: digest(n) }
}

fn delete(tag: usize) -> Fact {
    Fact::TagDeleted { repository: "library/a".parse().unwrap(), tag: format!("t{tag}").parse().unwrap() }
}

/// Appends batches of these sizes, all with different tags.
fn fill(journal: &mut Journal, batches: &[usize]) {
    for size in batches {
        let from = journal.last_sequence() as usize;
        let facts: Vec<Fact> = (from..from + size).map(|n| set(n, n)).collect();
        let range = journal.append(&facts, 1000 + from as u64, AppendKind::Ordinary).unwrap();
        assert_eq!((*range.start(), *range.end()), (from as u64 + 1, (from + size) as u64));
    }
}

fn records(journal: &Journal) -> Vec<Record> {
    journal.replay_state().unwrap().map(Result::unwrap).collect()
}

fn sequences(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.sequence).collect()
}

fn compact(journal: &mut Journal) {
    let finished = journal.begin_compaction().unwrap().expect("there is something to compact").run().unwrap();
    journal.finish_compaction(finished).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn segment(first: u64) -> String {
    format!("segment-{first:020}")
}

fn snapshot(sequence: u64) -> String {
    format!("snapshot-{sequence:020}")
}
