//! One snapshot file: the state at one sequence, sorted by key.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::catalog::fact::Record;

use super::reading::Input;
use super::record::{self, FrameError, FrameReader, JournalId, ReadFrameError, Role, part};
use super::segment::{self, HEADER_BYTES, HeaderError};

/// Bytes after the last frame: magic, count, and BLAKE3 of everything before the hash.
pub(super) const FOOTER_BYTES: usize = 48;

const MAGIC: &[u8; 8] = b"SKYBSNAP";
const FOOTER_MAGIC: &[u8; 8] = b"SKYBDONE";
const PREFIX: &str = "snapshot-";

/// The header of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SnapshotHeader {
    pub(super) id: JournalId,
    /// The last record covered. The snapshot has all records up to it that are still in force.
    pub(super) sequence: u64,
    /// Reserved for the ledger: public records from this one on are in the snapshot, even if no longer in force.
    pub(super) ledger_next: Option<u64>,
}

impl SnapshotHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut fields = [0; 24];
        fields[..8].copy_from_slice(&self.sequence.to_le_bytes());
        fields[8..16].copy_from_slice(&u64::from(self.ledger_next.is_some()).to_le_bytes());
        fields[16..].copy_from_slice(&self.ledger_next.unwrap_or(0).to_le_bytes());
        segment::encode_header(*MAGIC, &self.id, fields)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (id, fields) = segment::decode_header(*MAGIC, bytes)?;
        let ledger_next = match u64::from_le_bytes(part(&fields, 8)) {
            0 => None,
            1 => Some(u64::from_le_bytes(part(&fields, 16))),
            _ => return Err(HeaderError::Bad),
        };
        Ok(Self { id, sequence: u64::from_le_bytes(part(&fields, 0)), ledger_next })
    }
}

/// Path of the snapshot at this sequence.
pub(super) fn path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{PREFIX}{sequence:020}"))
}

/// The sequence in a snapshot's name.
pub(super) fn sequence_in_name(name: &str) -> Option<u64> {
    segment::number(name, PREFIX)
}

/// Writes a snapshot to a file, entry by entry.
#[derive(Debug)]
pub(super) struct SnapshotWriter {
    output: BufWriter<File>,
    id: JournalId,
    hasher: blake3::Hasher,
    frame: Vec<u8>,
    count: u64,
}

impl SnapshotWriter {
    pub(super) fn new(file: File, header: &SnapshotHeader) -> io::Result<Self> {
        let mut writer = Self {
            output: BufWriter::with_capacity(256 << 10, file),
            id: header.id,
            hasher: blake3::Hasher::new(),
            frame: Vec::new(),
            count: 0,
        };
        writer.write(&header.encode())?;
        Ok(writer)
    }

    /// Writes the next entry. Its key must be greater than the previous one.
    pub(super) fn push(&mut self, sequence: u64, payload: &[u8]) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        record::encode(&mut frame, &self.id, sequence, Role::Entry, payload);
        self.write(&frame)?;
        self.frame = frame;
        self.count += 1;
        Ok(())
    }

    /// Writes the footer. Does not sync.
    pub(super) fn finish(mut self) -> io::Result<File> {
        let mut footer = [0; 16];
        footer[..8].copy_from_slice(FOOTER_MAGIC);
        footer[8..].copy_from_slice(&self.count.to_le_bytes());
        self.write(&footer)?;
        let hash = self.hasher.finalize();
        self.output.write_all(hash.as_bytes())?;
        self.output.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.output.write_all(bytes)
    }
}

/// Why a snapshot cannot be read, and where.
#[derive(Debug)]
pub(super) struct SnapshotFault {
    pub(super) offset: u64,
    pub(super) why: SnapshotFaultKind,
}

/// The kind of a snapshot's fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotFaultKind {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the header is not a snapshot's")]
    Header,
    #[error("format version {0} is newer than this program")]
    Newer(u32),
    #[error("the file name does not match the header")]
    Name,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("an entry is out of order or not an entry")]
    Order,
    #[error("the footer is missing, or the count or hash in it does not match")]
    Footer,
}

impl From<ReadFrameError> for SnapshotFaultKind {
    fn from(error: ReadFrameError) -> Self {
        match error {
            ReadFrameError::Io(error) => error.into(),
            ReadFrameError::Frame(error) => error.into(),
        }
    }
}

/// One entry of a snapshot.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) key: Vec<u8>,
}

/// Reads and checks the entries of a snapshot in order, and the footer after them.
#[derive(Debug)]
pub(super) struct SnapshotReader {
    header: SnapshotHeader,
    frames: Option<FrameReader<BufReader<Input>>>,
    hasher: blake3::Hasher,
    offset: u64,
    footer: u64,
    count: u64,
    last_key: Vec<u8>,
}

impl SnapshotReader {
    /// Reads the header. Its sequence must be the one in the file's name.
    pub(super) fn open(file: File, sequence: u64) -> Result<Self, SnapshotFault> {
        let fault = |why| SnapshotFault { offset: 0, why };
        let length = file.metadata().map_err(|error| fault(error.into()))?.len();
        let mut input = BufReader::with_capacity(256 << 10, Input::new(file));
        let mut bytes = [0; HEADER_BYTES];
        let footer = length.checked_sub(FOOTER_BYTES as u64).filter(|footer| *footer >= HEADER_BYTES as u64);
        let footer = footer.ok_or_else(|| fault(SnapshotFaultKind::Header))?;
        input.read_exact(&mut bytes).map_err(|error| fault(error.into()))?;
        let header = SnapshotHeader::decode(&bytes).map_err(|error| match error {
            HeaderError::Bad => fault(SnapshotFaultKind::Header),
            HeaderError::Newer(version) => fault(SnapshotFaultKind::Newer(version)),
        })?;
        if header.sequence != sequence {
            return Err(fault(SnapshotFaultKind::Name));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes);
        let frames = Some(FrameReader::new(input));
        Ok(Self { header, frames, hasher, offset: HEADER_BYTES as u64, footer, count: 0, last_key: Vec::new() })
    }

    /// The payload of the last entry.
    pub(super) fn payload(&self) -> &[u8] {
        let bytes = self.frames.as_ref().map_or(&[][..], FrameReader::bytes);
        match record::decode(bytes, &self.header.id) {
            Ok(frame) => frame.payload,
            Err(_) => &[],
        }
    }

    fn advance(&mut self) -> Result<Option<Entry>, SnapshotFaultKind> {
        let Some(frames) = &mut self.frames else { return Ok(None) };
        if self.offset == self.footer {
            return self.check_footer().map(|()| None);
        }
        let frame = frames.next(&self.header.id)?;
        let record = frame.record()?;
        let key = record.fact.key();
        if frame.role != Role::Entry || key <= self.last_key || record.sequence > self.header.sequence {
            return Err(SnapshotFaultKind::Order);
        }
        let size = frame.size() as u64;
        if self.offset + size > self.footer {
            return Err(SnapshotFaultKind::Footer);
        }
        self.hasher.update(frames.bytes());
        self.offset += size;
        self.count += 1;
        self.last_key.clone_from(&key);
        Ok(Some(Entry { record, key }))
    }

    fn check_footer(&mut self) -> Result<(), SnapshotFaultKind> {
        let Some(frames) = self.frames.take() else { return Ok(()) };
        let mut footer = [0; FOOTER_BYTES];
        frames.into_input().read_exact(&mut footer)?;
        self.hasher.update(&footer[..16]);
        let count = u64::from_le_bytes(part(&footer, 8));
        let is_whole = part::<8>(&footer, 0) == *FOOTER_MAGIC
            && count == self.count
            && part::<32>(&footer, 16) == *self.hasher.finalize().as_bytes();
        if is_whole { Ok(()) } else { Err(SnapshotFaultKind::Footer) }
    }
}

impl Iterator for SnapshotReader {
    type Item = Result<Entry, SnapshotFault>;

    /// The next entry. The iterator ends after the first error.
    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        self.advance().transpose().map(|item| {
            item.map_err(|why| {
                self.frames = None;
                SnapshotFault { offset, why }
            })
        })
    }
}

/// The content of a snapshot that was read to its end.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) id: JournalId,
    pub(super) bytes: u64,
    pub(super) count: u64,
}

/// Reads and checks a whole snapshot.
pub(super) fn verify(path: &Path, sequence: u64) -> Result<Verified, SnapshotFault> {
    let file = File::open(path).map_err(|error| SnapshotFault { offset: 0, why: error.into() })?;
    let mut reader = SnapshotReader::open(file, sequence)?;
    reader.by_ref().try_for_each(|entry| entry.map(|_| ()))?;
    Ok(Verified { id: reader.header.id, bytes: reader.footer + FOOTER_BYTES as u64, count: reader.count })
}
