//! Compaction, and a crash at each of its steps.

use super::super::CompactionError;
use super::*;

#[test]
fn a_snapshot_holds_what_stands_in_the_order_of_keys() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    for facts in [vec![set(3, 1), set(1, 1)], vec![set(2, 1), delete(3)], vec![set(1, 2)]] {
        journal.append(&facts, 5, AppendKind::Ordinary).unwrap();
    }
    compact(&mut journal);
    assert_eq!(sequences(&records(&journal)), [5, 3]);
    for facts in [vec![delete(2), set(0, 1)], vec![set(3, 9)]] {
        journal.append(&facts, 5, AppendKind::Ordinary).unwrap();
    }
    assert_eq!(sequences(&records(&journal)), [5, 3, 6, 7, 8], "the tail comes after, in its own order");
    compact(&mut journal);
    let facts: Vec<Fact> = records(&journal).into_iter().map(|record| record.fact).collect();
    assert_eq!(facts, [set(0, 1), set(1, 2), set(3, 9)]);
    drop(journal);
    assert_eq!(names(directory.path()), [segment(9), snapshot(8)]);
}

#[test]
fn nothing_new_is_nothing_to_compact() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    assert!(journal.begin_compaction().unwrap().is_none());
    fill(&mut journal, &[2]);
    compact(&mut journal);
    assert!(journal.begin_compaction().unwrap().is_none());
}

#[test]
fn one_compaction_at_a_time_and_a_dropped_one_does_not_block() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1; 12]);
    assert!(journal.needs_compaction());
    let begun = journal.begin_compaction().unwrap();
    assert!(!journal.needs_compaction());
    assert!(matches!(journal.begin_compaction(), Err(CompactionError::Busy)));
    drop(begun);
    assert!(journal.needs_compaction());
    compact(&mut journal);
    assert!(!journal.needs_compaction());
    fill(&mut journal, &[1; 12]);
    assert!(journal.needs_compaction());
}

#[test]
fn a_full_disk_stops_a_compaction_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let (mut journal, _) = Journal::open(directory.path(), None, options(Arc::<TestDisk>::clone(&disk))).unwrap();
    // From the start, so that no segment was allocated in advance.
    TestDisk::set(&disk.is_full, true);
    fill(&mut journal, &[1]);
    assert!(matches!(journal.begin_compaction(), Err(CompactionError::DiskFull)));
    fill(&mut journal, &[1]);
    TestDisk::set(&disk.is_full, false);
    compact(&mut journal);
    assert_eq!(sequences(&records(&journal)), [1, 2]);
}

#[test]
fn a_failed_compaction_leaves_the_journal_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let (mut journal, _) = Journal::open(directory.path(), None, options(Arc::<TestDisk>::clone(&disk))).unwrap();
    fill(&mut journal, &[1, 1]);
    let begun = journal.begin_compaction().unwrap().unwrap();
    TestDisk::set(&disk.fails_to_sync, true);
    assert!(matches!(begun.run(), Err(CompactionError::Io { .. })));
    TestDisk::set(&disk.fails_to_sync, false);
    assert_eq!(names(directory.path()), [segment(1), segment(3)]);
    fill(&mut journal, &[1]);
    compact(&mut journal);
    assert_eq!(sequences(&records(&journal)), [1, 2, 3]);
}

/// Each attempt used to begin a segment of 8 MiB for the few records since the previous one.
#[test]
fn compactions_that_fail_one_after_another_begin_one_segment() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let (mut journal, _) = Journal::open(directory.path(), None, options(Arc::<TestDisk>::clone(&disk))).unwrap();
    fill(&mut journal, &[1; 11]);
    let fail = |journal: &mut Journal| {
        assert!(journal.needs_compaction());
        let begun = journal.begin_compaction().unwrap().unwrap();
        TestDisk::set(&disk.fails_to_sync, true);
        assert!(matches!(begun.run(), Err(CompactionError::Io { .. })));
        TestDisk::set(&disk.fails_to_sync, false);
    };
    fail(&mut journal);
    fill(&mut journal, &[1]);
    let before = names(directory.path());
    let spare = "segment-next.tmp".to_owned();
    assert_eq!(before, [1, 4, 7, 10, 12].map(segment).into_iter().chain([spare]).collect::<Vec<_>>());
    for _ in 0..3 {
        fail(&mut journal);
        assert_eq!(names(directory.path()), before);
    }
    drop(journal);
    let (mut journal, _) = open(directory.path()).unwrap();
    let finished = journal.begin_compaction().unwrap().unwrap().run().unwrap();
    assert_eq!(finished.sequence(), 11, "what is sealed");
    journal.finish_compaction(finished).unwrap();
    assert_eq!(names(directory.path()), [segment(12), snapshot(11)]);
    assert!(!journal.needs_compaction(), "one record is left");
    fill(&mut journal, &[1, 1]);
    let mut found = sequences(&records(&journal));
    found.sort_unstable();
    assert_eq!(found, (1..=14).collect::<Vec<_>>());
    drop(journal);
    assert_eq!(open(directory.path()).unwrap().1.last_sequence, 14);
}

#[test]
fn rot_in_the_tail_stops_a_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1, 1]);
    let begun = journal.begin_compaction().unwrap().unwrap();
    let path = directory.path().join(segment(1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[130] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(begun.run(), Err(CompactionError::Read(error)) if error.file == path && error.offset == 64));
    assert_eq!(names(directory.path()), [segment(1), segment(3)]);
}

/// The directory after each step, and with the removals done in any other order.
#[test]
fn a_crash_at_any_step_of_a_compaction_loses_nothing() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("journal");
    let (mut journal, _) = open(&path).unwrap();
    fill(&mut journal, &[1; 5]);
    compact(&mut journal);
    fill(&mut journal, &[1; 7]);
    let mut steps = Vec::new();
    let mut keep = |name: &str| {
        let step = work.path().join(name);
        copy(&path, &step);
        steps.push(step);
    };
    keep("before");
    let compaction = journal.begin_compaction().unwrap().unwrap();
    keep("sealed");
    let finished = compaction.run().unwrap();
    keep("renamed");
    let renamed = work.path().join("renamed");
    let bytes = fs::read(renamed.join(snapshot(12))).unwrap();
    for (name, length) in [("begun", 100), ("written", bytes.len())] {
        let step = work.path().join(name);
        copy(&renamed, &step);
        fs::remove_file(step.join(snapshot(12))).unwrap();
        fs::write(step.join(snapshot(12)).with_extension("tmp"), &bytes[..length]).unwrap();
        steps.push(step);
    }
    let old: Vec<String> = names(&renamed)
        .into_iter()
        .filter(|name| *name != snapshot(12) && *name != segment(13))
        .filter(|name| Path::new(name).extension().is_none_or(|extension| extension != "tmp"))
        .collect();
    assert!(old.len() >= 3, "{old:?}");
    for removed in 1..1_u32 << old.len() {
        let step = work.path().join(format!("removed-{removed:b}"));
        copy(&renamed, &step);
        for (_, name) in old.iter().enumerate().filter(|(bit, _)| removed >> bit & 1 == 1) {
            fs::remove_file(step.join(name)).unwrap();
        }
        steps.push(step);
    }
    journal.finish_compaction(finished).unwrap();
    for step in steps {
        let (mut journal, opened) = open(&step).unwrap();
        let mut found = sequences(&records(&journal));
        found.sort_unstable();
        assert_eq!(found, (1..=12).collect::<Vec<_>>(), "{}", step.display());
        assert_eq!((opened.last_sequence, opened.cut, opened.bad_snapshots), (12, None, vec![]));
        if opened.snapshot_sequence == 12 {
            assert_eq!(names(&step), [segment(13), snapshot(12)]);
        }
        fill(&mut journal, &[1]);
        compact(&mut journal);
        drop(journal);
        assert_eq!(open(&step).unwrap().1.snapshot_sequence, 13);
    }
}
