//! Group commit, and the size of the journal.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Catalog;
use super::disk::on_faulty_disk;
use super::{assert_equals_rebuild, digest, link, options, put, repository, small_journal};
use crate::catalog::command::CommitError;

const COMMITTERS: u64 = 64;
const COMMITS_EACH: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_committers_share_syncs() {
    let place = tempfile::tempdir().unwrap();
    let (options, disk) = on_faulty_disk(place.path());
    let (catalog, _) = Catalog::open(options).unwrap();
    let before = disk.syncs.load(Ordering::SeqCst);
    let started = Instant::now();
    let committers = (0..COMMITTERS).map(|committer| {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            let mut last = 0;
            for number in 0..COMMITS_EACH {
                let sequence = catalog.commit(vec![link("a", committer * 1000 + number)]).await.unwrap().sequence;
                assert!(sequence > last);
                last = sequence;
                // Acknowledged changes are visible to reads.
                let size = catalog.blob(&repository("a"), &digest(committer * 1000 + number)).unwrap();
                assert_eq!(size, Some(committer * 1000 + number));
            }
        })
    });
    for committer in committers.collect::<Vec<_>>() {
        committer.await.unwrap();
    }
    let (commits, syncs) = (COMMITTERS * COMMITS_EACH, disk.syncs.load(Ordering::SeqCst) - before);
    println!("{commits} commits, {syncs} syncs, {:?}", started.elapsed());
    assert!(syncs < commits / 2, "{commits} commits made {syncs} syncs");
    assert_eq!(catalog.status().sequence, commits + 1, "one fact each, and the repository");
    assert_equals_rebuild(&catalog);
}

#[tokio::test]
async fn a_closed_catalog_turns_commits_away() {
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(options(place.path())).unwrap();
    let other = catalog.clone();
    tokio::task::spawn_blocking(move || other.close()).await.unwrap();
    assert!(matches!(catalog.commit(vec![link("a", 1)]).await, Err(CommitError::Unavailable)));
    assert!(catalog.blob(&repository("a"), &digest(1)).is_err());
    catalog.close();
}

/// A client that moves one tag again and again adds facts without end, of which only the last counts.
#[test]
fn moves_of_one_tag_do_not_grow_the_journal() {
    const MOST: u64 = 160 << 10;
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(small_journal(options(place.path()))).unwrap();
    let moves = |count: u64| (0..count).map(|number| put("a", number % 2, &[], &["latest"])).collect::<Vec<_>>();
    let mut written = 0;
    while written < 8 * MOST {
        let before = catalog.status().sequence;
        catalog.commit_blocking(moves(500)).unwrap();
        // A fact has more bytes than that.
        written += 100 * (catalog.status().sequence - before);
        let until = Instant::now() + Duration::from_secs(30);
        while catalog.journal_bytes() > MOST {
            assert!(Instant::now() < until, "{} bytes after {written} written", catalog.journal_bytes());
            // The writer looks for a finished compaction at each turn.
            catalog.commit_blocking(moves(2)).unwrap();
        }
    }
    assert_equals_rebuild(&catalog);
}
