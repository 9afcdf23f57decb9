//! The faults that `fsck` finds, and the records that it saves.

use super::super::reading::{PAGE, faults};
use super::super::segment::walk;
use super::super::{FindingKind, MissingRecords, repair, verify};
use super::*;

/// A snapshot at 4, and segments with 5 to 7, 8 to 10 and 11.
fn sample(directory: &Path) -> Vec<Record> {
    let (mut journal, _) = open(directory).unwrap();
    fill(&mut journal, &[1, 1, 2]);
    compact(&mut journal);
    fill(&mut journal, &[1; 7]);
    let _ = fs::remove_file(directory.join("segment-next.tmp"));
    assert_eq!(names(directory), [segment(5), segment(8), segment(11), snapshot(4)]);
    records(&journal)
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn record_offset(path: &Path, first: u64, index: usize) -> usize {
    walk(&fs::read(path).unwrap(), &id(), first).records[index].offset
}

#[test]
fn a_sound_journal_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    assert_eq!(verify(directory.path(), None).unwrap(), []);
    let before = names(directory.path());
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!((repaired.moved_to, repaired.missing), (None, vec![]));
    assert_eq!(names(directory.path()), before);
}

#[test]
fn each_bad_record_is_named_and_the_others_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let written = sample(directory.path());
    let (five, eight) = (directory.path().join(segment(5)), directory.path().join(segment(8)));
    let offsets = [record_offset(&five, 5, 1), record_offset(&eight, 8, 0), record_offset(&eight, 8, 2)];
    flip(&five, offsets[0] + 40);
    flip(&eight, offsets[1] + 9);
    flip(&eight, offsets[2] + 50);
    let damaged: Vec<_> = names(directory.path())
        .into_iter()
        .map(|name| (fs::read(directory.path().join(&name)).unwrap(), name))
        .collect();
    let error = open(directory.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Damaged { ref file, offset, .. } if *file == five && offset == offsets[0] as u64)
    );
    let found: Vec<_> = verify(directory.path(), None)
        .unwrap()
        .into_iter()
        .filter(|finding| finding.what.contains("checksum"))
        .map(|finding| (finding.file, finding.offset as usize, finding.kind))
        .collect();
    let at = |file: &Path, offset| (file.to_owned(), offset, FindingKind::Damage);
    assert_eq!(found, [at(&five, offsets[0]), at(&eight, offsets[1]), at(&eight, offsets[2])]);

    let repaired = repair(directory.path(), Some(id()), None, 77).unwrap();
    let missing = [6, 8, 10].map(|lost| MissingRecords::Exactly { from: lost, to: lost });
    assert_eq!(repaired.missing, missing);
    assert_eq!(repaired.kept, 8);
    let aside = repaired.moved_to.unwrap();
    for (bytes, name) in damaged {
        assert_eq!(fs::read(aside.join(name)).unwrap(), bytes, "the old files are kept as they were");
    }
    let (mut journal, opened) = open(directory.path()).unwrap();
    assert!(opened.snapshot_sequence == repaired.sequence && repaired.sequence > 11, "views must be made anew");
    let mut expected: Vec<_> = written.into_iter().filter(|record| ![6, 8, 10].contains(&record.sequence)).collect();
    expected.sort_by_key(|record| record.fact.key());
    assert_eq!(records(&journal), expected);
    assert_eq!(verify(directory.path(), None).unwrap(), []);
    let range = journal.append(&[set(1, 1)], 1, AppendKind::Ordinary).unwrap();
    assert_eq!(*range.start(), repaired.sequence + 1);
}

/// A spare segment has the temporary name that the repair uses for its own segment. It used to be missing after that
/// was renamed.
#[test]
fn a_spare_segment_does_not_stop_a_repair() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1; 6]);
    drop(journal);
    assert!(directory.path().join("segment-next.tmp").exists());
    flip(&directory.path().join(segment(1)), 100);
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!((repaired.missing, repaired.kept), (vec![MissingRecords::Exactly { from: 1, to: 1 }], 5));
    open(directory.path()).unwrap();
}

#[test]
fn a_lost_segment_is_told_by_its_sequences() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    fs::remove_file(directory.path().join(segment(8))).unwrap();
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!(repaired.missing, [MissingRecords::Exactly { from: 8, to: 10 }]);
    let (journal, _) = open(directory.path()).unwrap();
    assert_eq!(records(&journal).len(), 8);
}

#[test]
fn a_lost_last_segment_is_told_as_an_open_end() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    fs::remove_file(directory.path().join(segment(11))).unwrap();
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!(repaired.missing, [MissingRecords::After { sequence: 10 }]);
    assert_eq!(open(directory.path()).unwrap().1.snapshot_sequence, repaired.sequence);
}

#[test]
fn a_segment_without_its_header_still_gives_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let written = sample(directory.path());
    flip(&directory.path().join(segment(8)), 3);
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!((repaired.missing, repaired.kept), (vec![], written.len() as u64));
}

#[test]
fn a_damaged_snapshot_gives_what_validates() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    flip(&directory.path().join(snapshot(4)), 100);
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!(repaired.missing, [MissingRecords::SomeOf { from: 1, to: 4 }]);
    assert_eq!(repaired.kept, 10);
    open(directory.path()).unwrap();
}

/// A removal that a valid snapshot has absorbed must not be undone by an older snapshot that still exists.
#[test]
fn a_repair_does_not_bring_back_what_was_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1, 1]);
    compact(&mut journal);
    journal.append(&[delete(0)], 1, AppendKind::Releasing).unwrap();
    journal.begin_compaction().unwrap().unwrap().run().unwrap();
    fill(&mut journal, &[1, 1]);
    drop(journal);
    assert!(names(directory.path()).contains(&snapshot(2)) && names(directory.path()).contains(&snapshot(3)));
    flip(&directory.path().join(segment(4)), 100);
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!(repaired.missing, [MissingRecords::Exactly { from: 4, to: 4 }]);
    let (journal, _) = open(directory.path()).unwrap();
    let facts: Vec<Fact> = records(&journal).into_iter().map(|record| record.fact).collect();
    assert_eq!(facts, [set(1, 1), set(4, 4)]);
}

#[test]
fn a_journal_of_another_registry_is_not_repaired() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    assert!(repair(directory.path(), Some(JournalId::from_bytes([1; 16])), None, 1).is_err());
    assert_eq!(names(directory.path()).len(), 4);
}

/// A single unreadable sector used to cost the whole journal.
#[test]
fn a_sector_that_cannot_be_read_costs_the_records_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let large = Options { segment_bytes: 32 << 10, ..small() };
    let (mut journal, _) = Journal::open(directory.path(), None, large.clone()).unwrap();
    fill(&mut journal, &[1; 120]);
    let written = records(&journal);
    drop(journal);
    let path = directory.path().join(segment(1));
    let page = PAGE..2 * PAGE;
    let places = walk(&fs::read(&path).unwrap(), &id(), 1).records;
    // A record ends where the next begins.
    let from = places[1..].partition_point(|next| next.offset <= page.start) as u64 + 1;
    let to = places.partition_point(|place| place.offset < page.end) as u64;
    assert!((10..60).contains(&from) && (20..100).contains(&to), "{from} to {to}");
    faults::plan(&path, page.start as u64..page.end as u64);

    let findings = verify(directory.path(), None).unwrap();
    let found = findings.iter().find(|finding| finding.what.contains("cannot be read")).unwrap();
    assert_eq!((&found.file, found.offset, found.kind), (&path, PAGE as u64, FindingKind::Damage));
    let refused = Journal::open(directory.path(), None, large.clone()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { offset: 4096, .. }), "{refused}");

    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!(repaired.missing, [MissingRecords::Exactly { from, to }]);
    let (journal, _) = Journal::open(directory.path(), None, large).unwrap();
    let mut expected: Vec<_> = written.into_iter().filter(|record| !(from..=to).contains(&record.sequence)).collect();
    expected.sort_by_key(|record| record.fact.key());
    assert_eq!(records(&journal), expected);
    assert_eq!(verify(directory.path(), None).unwrap(), []);
}

#[test]
fn a_last_sector_that_cannot_be_read_leaves_the_end_open() {
    let directory = tempfile::tempdir().unwrap();
    let large = Options { segment_bytes: 32 << 10, ..small() };
    let (mut journal, _) = Journal::open(directory.path(), None, large.clone()).unwrap();
    fill(&mut journal, &[1; 15]);
    drop(journal);
    faults::plan(&directory.path().join(segment(1)), 3 * PAGE as u64..4 * PAGE as u64);
    assert!(Journal::open(directory.path(), None, large).is_err(), "records may have been there");
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!((repaired.missing, repaired.kept), (vec![MissingRecords::After { sequence: 15 }], 15));
}

#[test]
fn a_snapshot_with_a_sector_that_cannot_be_read_gives_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    for _ in 0..25 {
        fill(&mut journal, &[1; 2]);
    }
    while journal.last_sequence() > snapshot_of(directory.path()) {
        compact(&mut journal);
    }
    drop(journal);
    let path = directory.path().join(snapshot(50));
    assert!(path.metadata().unwrap().len() > 2 * PAGE as u64);
    faults::plan(&path, PAGE as u64..2 * PAGE as u64);
    let refused = open(directory.path()).unwrap_err();
    assert!(matches!(&refused, OpenError::Damaged { file, .. } if *file == path), "{refused}");
    let repaired = repair(directory.path(), None, None, 1).unwrap();
    assert_eq!(repaired.missing, [MissingRecords::SomeOf { from: 1, to: 50 }]);
    assert!((20..35).contains(&repaired.kept), "{}", repaired.kept);
    open(directory.path()).unwrap();
}

/// A repair panicked, because it looked for records behind the missing header.
#[test]
fn a_segment_cut_off_within_its_header_does_not_stop_a_repair() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    for length in [0, 1, 63] {
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        File::options().write(true).open(copied.path().join(segment(8))).unwrap().set_len(length).unwrap();
        assert!(matches!(open(copied.path()), Err(OpenError::Damaged { .. })));
        let repaired = repair(copied.path(), None, None, 1).unwrap();
        assert_eq!(repaired.missing, [MissingRecords::Exactly { from: 8, to: 10 }]);
        open(copied.path()).unwrap();
    }
}

/// The sequence of the only snapshot; 0 without one.
fn snapshot_of(directory: &Path) -> u64 {
    names(directory).iter().find_map(|name| name.strip_prefix("snapshot-")?.parse().ok()).unwrap_or(0)
}
