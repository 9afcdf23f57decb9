//! Many writers and readers of the same entries at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{Fixture, entry};
use crate::entries::Put;

const WRITERS: u64 = 8;
const ROUNDS: u64 = 20;

#[test]
fn of_two_writers_at_one_revision_one_is_told_that_it_lost() {
    let fixture = Fixture::new();
    for round in 0..ROUNDS {
        let barrier = Barrier::new(2);
        let [one, other] = ["one", "other"].map(|data| entry(1, "a", round, data.as_bytes()));
        let put = |entry| {
            barrier.wait();
            fixture.store.put(entry).unwrap()
        };
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| put(&one));
            (put(&other), first.join().unwrap())
        });
        let standing = fixture.store.get(&one.id()).unwrap().unwrap();
        let stored = |put: &Put| matches!(put, Put::Stored { .. });
        // Both were stored only if the better one came second and knows what it replaced.
        match (stored(&first), stored(&second)) {
            (true, true) => {
                let loser = if standing == one { &other } else { &one };
                let replaced = |put: &Put| matches!(put, Put::Stored { replaced: Some(replaced) } if replaced == loser);
                assert!(replaced(&first) || replaced(&second));
            }
            (false, false) => panic!("both refused"),
            (true, false) => assert_eq!(standing, other),
            (false, true) => assert_eq!(standing, one),
        }
    }
}

#[test]
fn readers_see_whole_entries_and_no_way_back() {
    let fixture = Fixture::new();
    let id = entry(1, "a", 0, b"").id();
    let writing = AtomicU64::new(WRITERS);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, writing) = (&fixture.store, &writing);
            scope.spawn(move || {
                let _ended = Ended(writing);
                for round in 0..ROUNDS {
                    let revision = round * WRITERS + writer;
                    store.put(&entry(1, "a", revision, &revision.to_le_bytes())).unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while writing.load(Ordering::Acquire) > 0 {
                    let Some(standing) = fixture.store.get(&id).unwrap() else { continue };
                    let revision = standing.entry().revision();
                    assert!(revision >= seen, "{revision} after {seen}");
                    assert_eq!(standing.entry().data(), revision.to_le_bytes());
                    seen = revision;
                }
            });
        }
    });
    let standing = fixture.store.get(&id).unwrap().unwrap();
    assert_eq!(standing.entry().revision(), ROUNDS * WRITERS - 1);
    assert_eq!(fixture.names("tmp"), Vec::<String>::new());
}

/// Counts a writer down, also one that panicked.
struct Ended<'a>(&'a AtomicU64);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[test]
fn readers_who_find_damage_do_not_take_away_what_a_writer_puts_there() {
    let fixture = Fixture::new();
    let entry = entry(1, "a", 0, b"x");
    let (_, path) = fixture.store.place(&entry.id());
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    for _ in 0..ROUNDS {
        std::fs::write(&path, b"garbage").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| fixture.store.get(&entry.id()).unwrap());
            }
            scope.spawn(|| fixture.store.put(&entry).unwrap());
        });
        assert_eq!(fixture.store.get(&entry.id()).unwrap().as_ref(), Some(&entry));
    }
}
