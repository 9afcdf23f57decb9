//! Opening a journal after a crash, on a bad disk, or with wrong files.

use std::path::PathBuf;

use super::super::record::{self, Role};
use super::super::segment::{HEADER_BYTES, walk};
use super::super::{FindingKind, MissingRecords, repair, verify};
use super::*;

/// A snapshot at 4, a sealed segment with 5 to 7, and a last segment with 8 and one batch of 9 and 10.
fn sample(directory: &Path) -> Vec<Record> {
    let (mut journal, _) = open(directory).unwrap();
    fill(&mut journal, &[1, 1, 2]);
    compact(&mut journal);
    fill(&mut journal, &[1, 1, 1, 1, 2]);
    let _ = fs::remove_file(directory.join("segment-next.tmp"));
    assert_eq!(names(directory), [segment(5), segment(8), snapshot(4)]);
    records(&journal)
}

/// Opens a damaged copy. It must be refused, or have all records up to the last batch, which may be cut.
fn judge(directory: &Path, written: &[Record], what: &str) -> bool {
    let Ok((journal, opened)) = open(directory) else { return false };
    let found = records(&journal);
    if opened.cut.is_some() && found.len() < written.len() {
        assert_eq!(found, written[..written.len() - 2], "{what}");
    } else {
        assert_eq!(found, written, "{what}");
    }
    true
}

/// Overwrites in place. ext4 flushes a file that is truncated and rewritten, which takes minutes over thousands of
/// rounds.
fn overwrite(path: &Path, bytes: &[u8], offset: usize) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    SystemDisk.write(&file, bytes, offset as u64).unwrap();
}

#[test]
fn no_flipped_bit_changes_or_hides_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let written = sample(directory.path());
    let mut opened = 0;
    let mut refused = 0;
    for name in names(directory.path()) {
        let path = directory.path().join(&name);
        let original = fs::read(&path).unwrap();
        let newest = directory.path().join(segment(8));
        let newest_bytes = fs::read(&newest).unwrap();
        for bit in 0..original.len() * 8 {
            overwrite(&path, &[original[bit / 8] ^ 1 << (bit % 8)], bit / 8);
            if judge(directory.path(), &written, &format!("{name} bit {bit}")) {
                opened += 1;
                assert_eq!(name, segment(8), "only the last segment may be cut, bit {bit}");
            } else {
                refused += 1;
            }
            overwrite(&path, &original, 0);
            overwrite(&newest, &newest_bytes, 0);
        }
    }
    assert!(opened > 2000 && refused > 8000, "{opened} opened, {refused} refused");
}

#[test]
fn no_truncation_changes_or_hides_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let written = sample(directory.path());
    for name in names(directory.path()) {
        let path = directory.path().join(&name);
        let original = fs::read(&path).unwrap();
        for length in 0..original.len() {
            fs::write(&path, &original[..length]).unwrap();
            assert!(!judge(directory.path(), &written, &format!("{name} at {length}")), "{name} at {length}");
        }
        fs::write(&path, &original).unwrap();
    }
    assert!(judge(directory.path(), &written, "as it was"));
}

#[test]
fn no_lost_file_goes_unnoticed() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    for name in names(directory.path()) {
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        fs::remove_file(copied.path().join(&name)).unwrap();
        let error = open(copied.path()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "without {name}: {error}");
        assert!(error.to_string().contains("skyberth fsck"), "{error}");
    }
}

/// Sectors of one write reach the disk in any order, so a batch can be torn at its start, middle or end.
#[test]
fn a_torn_batch_is_cut_whichever_sectors_of_it_reached_the_disk() {
    const SECTOR: usize = 128;
    let directory = tempfile::tempdir().unwrap();
    let written = {
        let (mut journal, _) = open(directory.path()).unwrap();
        fill(&mut journal, &[1, 1]);
        let written = records(&journal);
        fill(&mut journal, &[8]);
        written
    };
    // The large batch got a segment of its own.
    let path = directory.path().join(segment(3));
    let original = fs::read(&path).unwrap();
    let end = walk(&original, &id(), 3).last_batch.end;
    let sectors = (end - HEADER_BYTES).div_ceil(SECTOR);
    assert!((8..16).contains(&sectors), "{sectors}");
    for present in 0..1_u32 << sectors {
        let mut bytes = original.clone();
        for sector in (0..sectors).filter(|sector| present >> sector & 1 == 0) {
            let from = HEADER_BYTES + sector * SECTOR;
            bytes[from..end.min(from + SECTOR)].fill(0);
        }
        overwrite(&path, &bytes, 0);
        let (journal, opened) = open(directory.path()).unwrap();
        let is_whole = present + 1 == 1 << sectors;
        assert_eq!(opened.last_sequence, if is_whole { 10 } else { 2 }, "{present:b}");
        assert_eq!(opened.cut.is_some(), !is_whole && present != 0, "{present:b}");
        if !is_whole {
            assert_eq!(records(&journal), written);
            assert!(fs::read(&path).unwrap()[HEADER_BYTES..].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn a_cut_journal_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut written = sample(directory.path());
    let path = directory.path().join(segment(8));
    let mut bytes = fs::read(&path).unwrap();
    let batch = walk(&bytes, &id(), 8).last_batch;
    bytes[batch.end - 20] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let (mut journal, opened) = open(directory.path()).unwrap();
    let bytes = (batch.end - batch.start) as u64;
    assert_eq!(opened.cut, Some(Cut { file: path, offset: batch.start as u64, bytes }));
    fill(&mut journal, &[1, 1, 1]);
    written.truncate(8);
    let found = records(&journal);
    assert_eq!(found[..8], written);
    assert_eq!(sequences(&found[8..]), [9, 10, 11]);
    drop(journal);
    assert_eq!(open(directory.path()).unwrap().1.cut, None);
}

/// A fact of a later version within format 1 must not be mistaken for a torn tail.
#[test]
fn an_intact_record_that_cannot_be_read_is_never_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1, 1]);
    drop(journal);
    let path = directory.path().join(segment(1));
    let mut bytes = fs::read(&path).unwrap();
    let end = walk(&bytes, &id(), 1).last_batch.end;
    let mut frame = Vec::new();
    let role = Role::InBatch { index: 0, last: true };
    record::encode(&mut frame, &id(), 3, role, br#"{"sequence":3,"time":1,"fact":"of-tomorrow"}"#);
    bytes[end..end + frame.len()].copy_from_slice(&frame);
    fs::write(&path, &bytes).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::UnknownRecord { offset, .. } if offset == end as u64), "{error}");
    assert!(repair(directory.path(), None, None, 1).is_err(), "a repair would lose it");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_record_of_another_journal_or_place_does_not_validate() {
    let other = || Ok(JournalId::from_bytes([7; 16]));
    let directory = tempfile::tempdir().unwrap();
    let theirs = tempfile::tempdir().unwrap();
    sample(directory.path());
    let (mut journal, _) = Journal::open(theirs.path(), None, Options { new_id: other, ..small() }).unwrap();
    fill(&mut journal, &[1, 1, 2, 1, 1, 1, 1, 2]);
    drop(journal);
    let path = directory.path().join(segment(8));
    let original = fs::read(&path).unwrap();
    let places = walk(&original, &id(), 8).records;

    let mut bytes = fs::read(theirs.path().join(segment(6))).unwrap();
    bytes[..HEADER_BYTES].copy_from_slice(&original[..HEADER_BYTES]);
    fs::write(&path, &bytes).unwrap();
    let (journal, opened) = open(directory.path()).unwrap();
    assert!(opened.cut.is_some() && opened.last_sequence == 7, "none of their records counts");
    drop(journal);

    // Two frames of equal length are swapped.
    let mut bytes = original.clone();
    let size = places[2].offset - places[1].offset;
    let (first, second) = bytes[places[1].offset..].split_at_mut(size);
    first.swap_with_slice(&mut second[..size]);
    fs::write(&path, &bytes).unwrap();
    assert!(open(directory.path()).unwrap().1.last_sequence == 8, "a batch out of order is torn");
}

#[test]
fn a_journal_of_another_registry_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let expected = JournalId::from_bytes([7; 16]);
    let error = Journal::open(directory.path(), Some(expected), small()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { found, .. } if found == id()), "{error}");
}

#[test]
fn a_journal_that_is_gone_is_not_replaced_by_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("absent")] {
        let error = Journal::open(&path, Some(id()), small()).unwrap_err();
        assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_later_format_is_refused_by_name() {
    for name in [segment(8), snapshot(4)] {
        let directory = tempfile::tempdir().unwrap();
        sample(directory.path());
        let path = directory.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 2;
        let sum = record::short_hash(blake3::Hasher::new().update(&bytes[..56]));
        bytes[56..64].copy_from_slice(&sum);
        fs::write(&path, &bytes).unwrap();
        let error = open(directory.path()).unwrap_err();
        assert!(matches!(error, OpenError::NewerFormat { version: 2, .. }), "{error}");
    }
}

#[test]
fn a_crash_before_the_seal_is_completed_at_open() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1, 1, 1]);
    let finished = journal.begin_compaction().unwrap();
    drop((journal, finished));
    let path = directory.path().join(segment(1));
    let sealed = fs::read(&path).unwrap();
    let end = walk(&sealed, &id(), 1).last_batch.end;
    for written in [0, 8, 23] {
        let mut bytes = sealed.clone();
        bytes[end + written..end + 24].fill(0);
        fs::write(&path, &bytes).unwrap();
        let (journal, opened) = open(directory.path()).unwrap();
        assert_eq!((opened.last_sequence, opened.cut), (3, None));
        drop(journal);
        assert_eq!(fs::read(&path).unwrap(), sealed);
    }
}

#[test]
fn a_bad_snapshot_is_survived_while_its_sources_stand() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1, 1, 1, 1]);
    compact(&mut journal);
    fill(&mut journal, &[1, 1, 1, 1]);
    let written = records(&journal);
    journal.begin_compaction().unwrap().unwrap().run().unwrap();
    drop(journal);
    let path: PathBuf = directory.path().join(snapshot(8));
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (mut journal, opened) = open(directory.path()).unwrap();
    assert_eq!((opened.snapshot_sequence, opened.last_sequence), (4, 8));
    assert_eq!(opened.bad_snapshots.len(), 1);
    assert_eq!(opened.bad_snapshots[0].file, path);
    assert_eq!(records(&journal), written);
    fill(&mut journal, &[1]);
    compact(&mut journal);
    assert_eq!(verify(directory.path(), None).unwrap(), []);
    drop(journal);
    assert_eq!(open(directory.path()).unwrap().1.bad_snapshots, []);
}

#[test]
fn rot_at_the_end_is_damage_where_the_end_is_known() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let path = directory.path().join(segment(8));
    let bytes = fs::read(&path).unwrap();
    let last = walk(&bytes, &id(), 8).last_batch;
    overwrite(&path, &[bytes[last.start + 4] ^ 1], last.start + 4);
    let known = |sequence| Some((id(), sequence));
    let findings = verify(directory.path(), known(10)).unwrap();
    assert!(findings.iter().any(|finding| finding.kind == FindingKind::Damage), "{findings:?}");
    let options = |known_end| Options { known_end, ..small() };
    let refused = Journal::open(directory.path(), Some(id()), options(known(10))).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    let repaired = repair(directory.path(), Some(id()), known(10), 1).unwrap();
    assert!(repaired.missing.contains(&MissingRecords::Exactly { from: 9, to: 10 }), "{:?}", repaired.missing);
    let (journal, _) = Journal::open(directory.path(), Some(id()), options(known(10))).unwrap();
    assert!(journal.last_sequence() > 10);
}

#[test]
fn the_end_of_another_journal_says_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let written = sample(directory.path());
    let known_end = Some((JournalId::from_bytes([7; 16]), 1000));
    let (journal, _) = Journal::open(directory.path(), None, Options { known_end, ..small() }).unwrap();
    assert_eq!(records(&journal), written);
}
