//! Appending, reading, and failing disks.

use std::os::unix::fs::FileExt;

use super::super::{AppendError, FactsSinceError, MAX_PAYLOAD_BYTES};
use super::*;

#[test]
fn what_was_appended_comes_back_over_segments_and_reopens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut journal, opened) = open(&path).unwrap();
    assert!(opened.created);
    fill(&mut journal, &[1, 2, 1, 1, 3, 1]);
    let written = records(&journal);
    assert_eq!(sequences(&written), (1..=9).collect::<Vec<_>>());
    assert_eq!(written[4].fact, set(4, 4));
    assert_eq!(written[4].time, 1004);
    drop(journal);
    assert!(names(&path).len() >= 3, "{:?}", names(&path));
    for _ in 0..3 {
        let (journal, opened) = open(&path).unwrap();
        let expected = Opened {
            id: id(),
            snapshot_sequence: 0,
            last_sequence: 9,
            cut: None,
            bad_snapshots: vec![],
            created: false,
        };
        assert_eq!(opened, expected);
        assert_eq!(records(&journal), written);
    }
    let (mut journal, _) = Journal::open(&path, Some(id()), small()).unwrap();
    fill(&mut journal, &[2]);
    assert_eq!(records(&journal).len(), 11);
}

#[test]
fn the_real_disk_does_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::default();
    let (mut journal, opened) = Journal::open(directory.path(), None, options.clone()).unwrap();
    fill(&mut journal, &[1, 2000, 30]);
    compact(&mut journal);
    fill(&mut journal, &[5]);
    let written = records(&journal);
    drop(journal);
    let (journal, again) = Journal::open(directory.path(), Some(opened.id), options).unwrap();
    assert_eq!((again.snapshot_sequence, again.last_sequence), (2031, 2036));
    assert_eq!(records(&journal), written);
    let segment = directory.path().join(segment(2032)).metadata().unwrap();
    let blocks = std::os::unix::fs::MetadataExt::blocks(&segment) * 512;
    assert!(segment.len() == 8 << 20 && blocks >= 8 << 20, "{} bytes in {blocks}", segment.len());
}

#[test]
fn no_facts_are_an_empty_range() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[2]);
    assert!(journal.append(&[], 0, AppendKind::Ordinary).unwrap().is_empty());
    assert_eq!(journal.last_sequence(), 2);
}

#[test]
fn facts_since_crosses_segments_and_stops_at_the_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1; 10]);
    for since in 0..=11 {
        let facts: Vec<_> = journal.facts_since(since).unwrap().map(Result::unwrap).collect();
        assert_eq!(sequences(&facts), (since + 1..=10).collect::<Vec<_>>());
    }
    let begun = journal.begin_compaction().unwrap().unwrap();
    fill(&mut journal, &[1; 4]);
    let finished = begun.run().unwrap();
    journal.finish_compaction(finished).unwrap();
    for since in 0..10 {
        let error = journal.facts_since(since).unwrap_err();
        assert!(matches!(error, FactsSinceError::Compacted { snapshot_sequence: 10 }), "{error}");
    }
    for since in 10..15 {
        let facts: Vec<_> = journal.facts_since(since).unwrap().map(Result::unwrap).collect();
        assert_eq!(sequences(&facts), (since + 1..=14).collect::<Vec<_>>());
    }
}

#[test]
fn a_reader_sees_what_was_there_when_it_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[5]);
    let reader = journal.reader();
    let old = reader.replay_state().unwrap();
    fill(&mut journal, &[1, 1, 1]);
    compact(&mut journal);
    compact_again(&mut journal);
    assert_eq!(old.map(|record| record.unwrap().sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(reader.last_sequence(), journal.last_sequence());
}

fn compact_again(journal: &mut Journal) {
    fill(journal, &[1]);
    compact(journal);
}

#[test]
fn readers_and_compactions_run_while_the_writer_appends() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    let reader = journal.reader();
    let reading = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 300 {
            match reader.facts_since(seen) {
                Ok(facts) => {
                    for record in facts {
                        let record = record.unwrap();
                        assert_eq!((record.sequence, record.fact), (seen + 1, set(seen as usize, seen as usize)));
                        seen += 1;
                    }
                }
                Err(FactsSinceError::Compacted { .. }) => {
                    let mut found = sequences(&reader.replay_state().unwrap().map(Result::unwrap).collect::<Vec<_>>());
                    found.sort_unstable();
                    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
                    seen = found.len() as u64;
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    let mut running: Option<std::thread::JoinHandle<_>> = None;
    for _ in 0..100 {
        fill(&mut journal, &[1, 2]);
        if let Some(thread) = running.take_if(|thread| thread.is_finished()) {
            journal.finish_compaction(thread.join().unwrap()).unwrap();
        }
        if journal.needs_compaction() {
            let compaction = journal.begin_compaction().unwrap().unwrap();
            running = Some(std::thread::spawn(move || compaction.run().unwrap()));
        }
    }
    reading.join().unwrap();
    assert_eq!(journal.last_sequence(), 300);
}

#[test]
fn a_full_disk_refuses_ordinary_batches_and_leaves_room_for_releasing_ones() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let (mut journal, _) = Journal::open(directory.path(), None, options(Arc::<TestDisk>::clone(&disk))).unwrap();
    TestDisk::set(&disk.is_full, true);
    let mut fitted = 0;
    let error = loop {
        match journal.append(&[set(fitted, 1)], 0, AppendKind::Ordinary) {
            Ok(_) => fitted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::DiskFull), "{error}");
    assert_eq!(fitted, 3);
    let before = records(&journal);
    assert!(matches!(journal.append(&[set(8, 1), delete(0)], 0, AppendKind::Ordinary), Err(AppendError::DiskFull)));
    journal.append(&[delete(0)], 0, AppendKind::Releasing).unwrap();
    assert!(matches!(journal.append(&[set(8, 1)], 0, AppendKind::Ordinary), Err(AppendError::DiskFull)));
    let too_much = vec![delete(1); 4];
    assert!(matches!(journal.append(&too_much, 0, AppendKind::Releasing), Err(AppendError::DiskFull)));
    assert_eq!(records(&journal).len(), before.len() + 1);
    assert!(!journal.is_failed());
    // A restart changes nothing, and space that becomes free is used.
    drop(journal);
    let (mut journal, opened) = Journal::open(directory.path(), None, options(Arc::<TestDisk>::clone(&disk))).unwrap();
    assert_eq!(opened.cut, None);
    assert!(matches!(journal.append(&[set(8, 1)], 0, AppendKind::Ordinary), Err(AppendError::DiskFull)));
    TestDisk::set(&disk.is_full, false);
    fill(&mut journal, &[1, 1]);
    assert_eq!(sequences(&records(&journal)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_segment_allocated_ahead_serves_a_disk_that_filled_up_since() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let (mut journal, _) = Journal::open(directory.path(), None, options(Arc::<TestDisk>::clone(&disk))).unwrap();
    fill(&mut journal, &[1, 1, 1]);
    assert_eq!(names(directory.path()), ["segment-00000000000000000001", "segment-next.tmp"]);
    TestDisk::set(&disk.is_full, true);
    fill(&mut journal, &[1, 1, 1]);
    assert!(matches!(journal.append(&[set(8, 1)], 0, AppendKind::Ordinary), Err(AppendError::DiskFull)));
    assert_eq!(sequences(&records(&journal)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn after_a_failed_sync_nothing_is_appended_until_a_restart() {
    for fails_to_write in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        let (mut journal, _) = Journal::open(directory.path(), None, options(Arc::<TestDisk>::clone(&disk))).unwrap();
        fill(&mut journal, &[1, 1]);
        let flag = if fails_to_write { &disk.fails_to_write } else { &disk.fails_to_sync };
        TestDisk::set(flag, true);
        assert!(matches!(journal.append(&[set(7, 7)], 0, AppendKind::Ordinary), Err(AppendError::Failed)));
        TestDisk::set(flag, false);
        for kind in [AppendKind::Ordinary, AppendKind::Releasing] {
            assert!(matches!(journal.append(&[set(7, 7)], 0, kind), Err(AppendError::Failed)));
        }
        assert!(journal.is_failed() && journal.begin_compaction().is_err());
        assert_eq!(sequences(&records(&journal)), [1, 2], "readers see only what is durable");
        drop(journal);
        let (mut journal, opened) = open(directory.path()).unwrap();
        assert_eq!(opened.last_sequence, if fails_to_write { 2 } else { 3 });
        assert_eq!(opened.cut.is_some(), fails_to_write);
        fill(&mut journal, &[1]);
    }
}

/// After a failed sync the page cache claims to have bytes that the disk lacks. Opening must write them again.
#[test]
fn opening_writes_the_last_batch_again() {
    #[derive(Debug, Default)]
    struct Recorder(std::sync::Mutex<Vec<(u64, usize)>>);
    impl Disk for Recorder {
        fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
            file.set_len(length)
        }
        fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
            self.0.lock().unwrap().push((offset, bytes.len()));
            file.write_all_at(bytes, offset)
        }
        fn sync(&self, _: &File) -> io::Result<()> {
            Ok(())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    let disk = Arc::new(Recorder::default());
    fill(&mut journal, &[1, 2]);
    let written = records(&journal);
    drop(journal);
    let (journal, _) = Journal::open(directory.path(), None, options(Arc::<Recorder>::clone(&disk))).unwrap();
    let writes = disk.0.lock().unwrap().clone();
    assert!(matches!(writes[..], [(offset, length)] if offset > 64 && length > 300), "{writes:?}");
    assert_eq!(records(&journal), written);
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_longer_one() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[40, 1, 1, 50, 1]);
    let written = records(&journal);
    drop(journal);
    let (journal, _) = open(directory.path()).unwrap();
    assert_eq!(records(&journal), written);
    assert_eq!(names(directory.path())[0], segment(1), "an empty segment is replaced");
}

#[test]
fn a_record_above_the_limit_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    let Fact::TagSet { repository, digest, .. } = set(1, 1) else { unreachable!() };
    let manifest = crate::catalog::fact::ManifestRecord {
        media_type: "x".repeat(MAX_PAYLOAD_BYTES),
        size: 1,
        subject: None,
        artifact_type: None,
        annotations: crate::catalog::fact::Annotations::None,
        references: vec![],
    };
    let fact = Fact::ManifestStored { repository, digest, manifest };
    assert!(matches!(journal.append(&[set(1, 1), fact], 0, AppendKind::Ordinary), Err(AppendError::TooLarge)));
    fill(&mut journal, &[1]);
    assert_eq!(sequences(&records(&journal)), [1]);
}

#[test]
fn two_processes_do_not_share_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path()).unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Locked { .. })));
    drop(journal);
    open(directory.path()).unwrap();
}
