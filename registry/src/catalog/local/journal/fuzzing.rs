//! Targets for fuzzing: journals that were damaged, or made by others and restored from a backup.

use std::fs;
use std::path::{Path, PathBuf};

use super::record::{self, Frame, FrameReader, JournalId, Role};
use super::segment::{self, HEADER_BYTES, SegmentHeader};
use super::snapshot::{self, SnapshotHeader};
use super::{open_to_read, repair, verify};
use crate::catalog::fact::{Fact, Record, Visibility};
use crate::fuzzing::in_scratch;

/// Most files of a journal.
const MAX_FILES: usize = 4;

fn id() -> JournalId {
    JournalId::from_bytes([7; 16])
}

/// One file as it is: of a segment, of a snapshot, and as a sequence of frames.
pub(crate) fn file(bytes: &[u8]) {
    let mut reader = FrameReader::new(bytes);
    let mut read = 0;
    while let Ok(frame) = reader.next(&id()) {
        read += frame.size();
        let _ = frame.record();
        same_frame(&frame);
    }
    assert!(read <= bytes.len());
    if let Ok(header) = SegmentHeader::decode(bytes) {
        segment::walk(bytes, &header.id, header.first);
    }
    if let Ok(header) = SnapshotHeader::decode(bytes) {
        assert_eq!(SnapshotHeader::decode(&header.encode()), Ok(header));
    }
    for name in [segment::path, snapshot::path] {
        judged(&[(name(Path::new(""), 1), bytes.to_vec())]);
    }
}

fn same_frame(frame: &Frame<'_>) {
    let mut written = Vec::new();
    record::encode(&mut written, &id(), frame.sequence, frame.role, frame.payload);
    assert_eq!(written.len(), frame.size());
    let again = record::decode(&written, &id()).expect("a frame that was made here");
    assert_eq!((again.role, again.sequence, again.payload), (frame.role, frame.sequence, frame.payload));
}

/// A journal of several files, made by steps. Their checksums are right, as somebody would make them who wants to break
/// the reader.
pub(crate) fn journal(bytes: &[u8]) {
    let mut files = Vec::new();
    let mut steps = Steps(bytes);
    while let Some(step) = steps.byte() {
        match step % 8 {
            0 | 1 if files.len() < MAX_FILES => {
                let Some(number) = steps.number() else { break };
                files.push(Made { number, is_snapshot: step % 8 == 1, content: Vec::new(), count: 0 });
            }
            2 | 3 => steps.record(files.last_mut(), step % 8 == 3),
            4 => steps.frame(files.last_mut()),
            5 => steps.junk(files.last_mut()),
            6 => steps.seal(files.last_mut()),
            _ => steps.cut(files.last_mut()),
        }
    }
    judged(&files.iter().map(Made::finished).collect::<Vec<_>>());
}

/// A file that is being made.
struct Made {
    number: u64,
    is_snapshot: bool,
    content: Vec<u8>,
    count: u64,
}

impl Made {
    fn finished(&self) -> (PathBuf, Vec<u8>) {
        let (number, length) = (self.number, (HEADER_BYTES + self.content.len()) as u64);
        if !self.is_snapshot {
            let header = SegmentHeader { id: id(), first: number, length };
            return (segment::path(Path::new(""), number), [&header.encode()[..], &self.content].concat());
        }
        let header = SnapshotHeader { id: id(), sequence: number, ledger_next: None };
        let mut bytes = [&header.encode()[..], &self.content, b"SKYBDONE", &self.count.to_le_bytes()].concat();
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        (snapshot::path(Path::new(""), number), bytes)
    }
}

/// The input, from which each step takes what it needs.
struct Steps<'a>(&'a [u8]);

impl Steps<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A small number, or one near the largest.
    fn number(&mut self) -> Option<u64> {
        let byte = self.byte()?;
        Some(if byte < 0x80 { u64::from(byte) } else { u64::MAX - u64::from(0xff - byte) })
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte().unwrap_or(0)).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes.to_vec()
    }

    /// A record of a repository: an entry of a snapshot, or in a batch.
    fn record(&mut self, file: Option<&mut Made>, last: bool) {
        let (Some(sequence), Some(index), Some(file)) = (self.number(), self.byte(), file) else { return };
        let name = format!("a{}", self.byte().unwrap_or(0) % 16);
        let repository = name.parse().expect("a letter and digits");
        let fact = Fact::Repository { repository, visibility: Visibility::Public };
        let payload = serde_json::to_vec(&Record { sequence, time: 0, fact }).expect("texts and numbers");
        let role = match file.is_snapshot {
            true => Role::Entry,
            false => Role::InBatch { index: u32::from(index), last },
        };
        record::encode(&mut file.content, &id(), sequence, role, &payload);
        file.count += 1;
    }

    fn frame(&mut self, file: Option<&mut Made>) {
        let (Some(sequence), Some(role), payload, Some(file)) = (self.number(), self.byte(), self.bytes(), file) else {
            return;
        };
        let role = match role % 3 {
            0 => Role::Entry,
            1 => Role::Seal,
            _ => Role::InBatch { index: u32::from(role / 3), last: role % 2 == 0 },
        };
        record::encode(&mut file.content, &id(), sequence, role, &payload);
    }

    fn junk(&mut self, file: Option<&mut Made>) {
        let bytes = self.bytes();
        if let Some(file) = file {
            file.content.extend(bytes);
        }
    }

    fn seal(&mut self, file: Option<&mut Made>) {
        if let (Some(sequence), Some(file)) = (self.number(), file) {
            record::encode(&mut file.content, &id(), sequence, Role::Seal, &[]);
        }
    }

    fn cut(&mut self, file: Option<&mut Made>) {
        if let (Some(length), Some(file)) = (self.byte(), file) {
            file.content.truncate(file.content.len().saturating_sub(usize::from(length)));
        }
    }
}

/// Whatever the files hold, they are read without a panic. A journal without findings gives its records in order.
fn judged(files: &[(PathBuf, Vec<u8>)]) {
    in_scratch(|directory| {
        for (name, bytes) in files {
            fs::write(directory.join(name), bytes).expect("a scratch file");
        }
        let missing = repair::missing(directory, &id());
        for known_end in [None, Some((id(), 3))] {
            let findings = verify(directory, known_end).expect("scratch files can be read");
            let Ok((reader, opened)) = open_to_read(directory, None, known_end) else { continue };
            assert_eq!(reader.last_sequence(), opened.last_sequence);
            let mut last = 0;
            for record in reader.replay_state().expect("it was just read") {
                let record = record.expect("it was just read");
                assert!(record.sequence <= opened.last_sequence);
                if record.sequence > opened.snapshot_sequence {
                    assert!(record.sequence > last);
                    last = record.sequence;
                }
            }
            if findings.is_empty() && super::files(directory).is_ok_and(|used| !used.is_empty()) {
                assert_eq!(missing.as_deref().ok(), Some(&[][..]));
            }
        }
    });
}
