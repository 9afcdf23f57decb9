//! Tests of the store of entries.

mod concurrency;
mod failures;
mod kill;
mod model;

use content_store::faults;
use ed25519_dalek::SigningKey;
use skynet_formats::datakey::DataKey;
use skynet_formats::entry::{Entry, EntryType, Refusal, SignedEntry};

use super::{Client, EntryStore, EntryStoreError, Put};

/// More entries than any test makes.
const LIMIT: u64 = 10_000;

/// Signed with the key of that number, at the datakey of that name.
pub(crate) fn entry(key: u8, name: &str, revision: u64, data: &[u8]) -> SignedEntry {
    let entry = Entry::new(EntryType::Plain, DataKey::of_name(name), data.to_vec(), revision).unwrap();
    entry.sign(&SigningKey::from_bytes(&[key; 32]))
}

/// A store in a directory that goes with it.
pub(super) struct Fixture {
    pub(super) directory: tempfile::TempDir,
    pub(super) store: EntryStore,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EntryStore::open(&directory.path().join("entries"), LIMIT).unwrap();
        Fixture { directory, store }
    }

    /// As if the process had ended.
    pub(super) fn reopen(&mut self) {
        self.store = EntryStore::open(&self.directory.path().join("entries"), LIMIT).unwrap();
    }

    /// The names in one of the store's directories.
    fn names(&self, directory: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.directory.path().join("entries").join(directory)).unwrap();
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn the_higher_revision_stands_also_after_a_restart() {
    let mut fixture = Fixture::new();
    let [old, new] = [4, 5].map(|revision| entry(1, "a", revision, b"x"));
    assert_eq!(fixture.store.get(&old.id()).unwrap(), None);
    assert_eq!(fixture.store.put(&old).unwrap(), Put::Stored { replaced: None });
    assert_eq!(fixture.store.put(&new).unwrap(), Put::Stored { replaced: Some(old.clone()) });
    fixture.reopen();
    let refused = Put::Refused { refusal: Refusal::LowerRevision, standing: new.clone() };
    assert_eq!(fixture.store.put(&old).unwrap(), refused);
    assert_eq!(fixture.store.get(&old.id()).unwrap(), Some(new));
}

#[test]
fn ids_are_listed_by_their_first_byte() {
    let fixture = Fixture::new();
    let mut expected: Vec<_> = (0..50).map(|n| entry(1, &n.to_string(), 0, b"")).collect();
    for entry in &expected {
        fixture.store.put(entry).unwrap();
    }
    let (directory, _) = fixture.store.place(&expected[0].id());
    std::fs::write(directory.join("notes.txt"), "somebody's").unwrap();
    let mut listed: Vec<_> = (0..=u8::MAX).flat_map(|first| fixture.store.ids(first).unwrap()).collect();
    listed.sort_by_key(|id| *id.as_bytes());
    expected.sort_by_key(|entry| *entry.id().as_bytes());
    assert_eq!(listed, expected.iter().map(SignedEntry::id).collect::<Vec<_>>());
}

#[test]
fn at_one_revision_the_work_decides() {
    let fixture = Fixture::new();
    let one = entry(1, "a", 7, b"one");
    let other = entry(1, "a", 7, b"other");
    let (worse, better) = match fixture.store.put(&one).and_then(|_| fixture.store.put(&other)).unwrap() {
        Put::Stored { .. } => (one, other),
        Put::Refused { .. } => (other, one),
    };
    assert_eq!(fixture.store.get(&one_id(&worse, &better)).unwrap(), Some(better.clone()));
    let refused = |refusal| Put::Refused { refusal, standing: better.clone() };
    assert_eq!(fixture.store.put(&worse).unwrap(), refused(Refusal::InsufficientWork));
    assert_eq!(fixture.store.put(&better).unwrap(), refused(Refusal::SameContent));
}

fn one_id(a: &SignedEntry, b: &SignedEntry) -> skynet_formats::entry::EntryId {
    assert_eq!(a.id(), b.id());
    a.id()
}

#[test]
fn keys_and_datakeys_have_entries_of_their_own() {
    let fixture = Fixture::new();
    let entries = [(1, "a"), (1, "b"), (2, "a"), (2, "b")].map(|(key, name)| entry(key, name, u64::from(key), b""));
    for entry in &entries {
        assert_eq!(fixture.store.put(entry).unwrap(), Put::Stored { replaced: None });
    }
    for entry in &entries {
        assert_eq!(fixture.store.get(&entry.id()).unwrap().as_ref(), Some(entry));
    }
}

#[test]
fn no_more_entries_stand_than_are_allowed_but_those_that_do_can_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("entries");
    let store = EntryStore::open(&root, 2).unwrap();
    assert!(store.is_empty());
    for name in ["a", "b"] {
        store.put(&entry(1, name, 0, b"")).unwrap();
    }
    let refused = |store: &EntryStore| store.put(&entry(1, "c", 0, b"")).unwrap_err();
    assert!(matches!(refused(&store), EntryStoreError::TooManyEntries { limit: 2 }));
    assert!(matches!(store.put(&entry(1, "b", 1, b"")).unwrap(), Put::Stored { replaced: Some(_) }));
    let store = EntryStore::open(&root, 2).unwrap();
    assert_eq!(store.len(), 2, "counted again at a start");
    assert!(matches!(refused(&store), EntryStoreError::TooManyEntries { limit: 2 }));
    assert!(EntryStore::open(&root, 3).unwrap().put(&entry(1, "c", 0, b"")).is_ok());
}

#[test]
fn an_entry_that_could_not_be_written_takes_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let store = EntryStore::open(&directory.path().join("entries"), 1).unwrap();
    faults::plan(faults::Step::Write, 0, libc::ENOSPC);
    assert!(store.put(&entry(1, "a", 0, b"")).unwrap_err().is_disk_full());
    assert!(store.put(&entry(1, "b", 0, b"")).is_ok());
}

/// Entries took the last bytes of the disk, which uploads had left free.
#[test]
fn entries_leave_the_reserve_of_the_disk_free() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("entries");
    EntryStore::open(&root, 2).unwrap().put(&entry(1, "a", 0, b"")).unwrap();
    let full = EntryStore::open(&root, 2).unwrap().leaving(u64::MAX);
    for (name, revision) in [("a", 1), ("b", 0)] {
        assert!(full.put(&entry(1, name, revision, b"")).unwrap_err().is_disk_full());
    }
    assert_eq!(full.len(), 1, "a refused entry is counted");
}

/// One address filled the table, and it stayed full for everybody.
#[test]
fn one_client_cannot_fill_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let store = EntryStore::open(&directory.path().join("entries"), 4).unwrap();
    let put = |name: &str, client: &Client| store.put_by(&entry(1, name, 0, b""), Some(client));
    let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|address| Client::Network(address.into()));
    for name in ["a", "b"] {
        put(name, &one).unwrap();
    }
    assert!(matches!(put("c", &one), Err(EntryStoreError::ShareUsedUp { limit: 4 })));
    assert!(matches!(put("a", &one), Ok(Put::Refused { .. })), "what is there can be put again");
    for (name, client) in [("c", &other), ("d", &Client::Key(0))] {
        put(name, client).unwrap();
    }
    assert!(matches!(put("e", &other), Err(EntryStoreError::TooManyEntries { limit: 4 })));
}
