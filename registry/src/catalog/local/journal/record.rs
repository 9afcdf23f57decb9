//! The frame around a record, byte by byte (`docs/on-disk-format.md`, "Journal").

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use serde::Serialize;

use crate::catalog::fact::{Fact, Record};

/// Longest JSON of one record. A manifest is at most 4 MiB, and its record is no longer.
pub const MAX_PAYLOAD_BYTES: usize = 8 << 20;
/// Most bytes of one batch, including frames.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

/// The highest sequence: a million records a second reach it after 290,000 years. A file of others may say any number, so a
/// higher one makes it invalid. Sums with smaller ones never overflow.
pub(super) const MAX_SEQUENCE: u64 = u64::MAX >> 1;

/// Bytes before the payload of a frame.
pub(super) const FRAME_HEADER_BYTES: usize = 24;
/// The frame of a seal, which has no payload.
pub(super) const SEAL_BYTES: usize = FRAME_HEADER_BYTES;

const LAST_OF_BATCH: u32 = 1 << 31;
const SEAL: u32 = LAST_OF_BATCH - 1;
const ENTRY: u32 = LAST_OF_BATCH - 2;

/// The id of a journal. It is part of every checksum, so that records of another journal are invalid.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId([u8; 16]);

impl JournalId {
    /// An id from the operating system's random source.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The id with these bytes, from [`Self::as_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The error for text that is not 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a journal id: 32 hex digits")]
pub struct InvalidJournalId;

impl std::str::FromStr for JournalId {
    type Err = InvalidJournalId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| InvalidJournalId)?;
        bytes.try_into().map(JournalId).map_err(|_| InvalidJournalId)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

/// The purpose of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A record of a segment. If a frame of its batch is missing, the batch never happened.
    InBatch {
        /// Position in its batch, from 0.
        index: u32,
        /// True for the last record of its batch.
        last: bool,
    },
    /// The end of a segment; the sequence is the first of the next segment.
    Seal,
    /// A record of a snapshot.
    Entry,
}

impl Role {
    fn encode(self) -> u32 {
        match self {
            Role::InBatch { index, last } => index | if last { LAST_OF_BATCH } else { 0 },
            Role::Seal => SEAL,
            Role::Entry => ENTRY,
        }
    }

    fn decode(value: u32) -> Self {
        match value {
            SEAL => Role::Seal,
            ENTRY => Role::Entry,
            value => Role::InBatch { index: value & !LAST_OF_BATCH, last: value & LAST_OF_BATCH != 0 },
        }
    }
}

/// A frame with a correct checksum.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) role: Role,
    pub(super) sequence: u64,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes on disk, including padding.
    pub(super) fn size(&self) -> usize {
        frame_size(self.payload.len())
    }

    /// The record in the frame. Its sequence must be that of the frame.
    pub(super) fn record(&self) -> Result<Record, FrameError> {
        let record: Record = serde_json::from_slice(self.payload).map_err(|_| FrameError::Payload)?;
        if record.sequence == self.sequence { Ok(record) } else { Err(FrameError::Payload) }
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("unused space where a record should be")]
    Unused,
    #[error("a record goes past the end of the file")]
    Short,
    #[error("a record has an impossible length")]
    Length,
    /// A number above [`MAX_SEQUENCE`].
    #[error("a record has an impossible number")]
    Sequence,
    #[error("the checksum of a record does not match")]
    Checksum,
    #[error("a record is at the position of another")]
    Misplaced,
    #[error("a record is intact, but this version does not know its content")]
    Payload,
}

/// Bytes of a frame with a payload of this length: header, payload, and padding to 8.
pub(super) fn frame_size(payload: usize) -> usize {
    (FRAME_HEADER_BYTES + payload).next_multiple_of(8)
}

/// Appends one frame to `out`.
pub(super) fn encode(out: &mut Vec<u8>, id: &JournalId, sequence: u64, role: Role, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    let role = role.encode().to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&role);
    out.extend_from_slice(&checksum(id, length, role, sequence, payload));
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(8), 0);
}

/// The frame at the start of `bytes`. More bytes may follow it.
pub(super) fn decode<'a>(bytes: &'a [u8], id: &JournalId) -> Result<Frame<'a>, FrameError> {
    let header = bytes.first_chunk::<FRAME_HEADER_BYTES>().ok_or(FrameError::Short)?;
    let payload_length = payload_length(header)?;
    let whole = bytes.get(..frame_size(payload_length)).ok_or(FrameError::Short)?;
    let (payload, padding) = whole[FRAME_HEADER_BYTES..].split_at(payload_length);
    let (length, role): ([u8; 4], [u8; 4]) = (part(header, 0), part(header, 4));
    let sequence = u64::from_le_bytes(part(header, 16));
    let expected: [u8; 8] = part(header, 8);
    if checksum(id, length, role, sequence, payload) != expected || padding.iter().any(|byte| *byte != 0) {
        return Err(FrameError::Checksum);
    }
    if sequence > MAX_SEQUENCE {
        return Err(FrameError::Sequence);
    }
    Ok(Frame { role: Role::decode(u32::from_le_bytes(role)), sequence, payload })
}

/// The payload's length in a frame's header; [`FrameError::Unused`] if the header is all zeros.
pub(super) fn payload_length(header: &[u8; FRAME_HEADER_BYTES]) -> Result<usize, FrameError> {
    if header.iter().all(|byte| *byte == 0) {
        return Err(FrameError::Unused);
    }
    let length = u32::from_le_bytes(part(header, 0)) as usize;
    if length > MAX_PAYLOAD_BYTES { Err(FrameError::Length) } else { Ok(length) }
}

fn checksum(id: &JournalId, length: [u8; 4], role: [u8; 4], sequence: u64, payload: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&id.0).update(&length).update(&role).update(&sequence.to_le_bytes()).update(payload);
    short_hash(&hasher)
}

/// The first 8 bytes of a hash.
pub(super) fn short_hash(hasher: &blake3::Hasher) -> [u8; 8] {
    part(hasher.finalize().as_bytes(), 0)
}

/// `N` bytes at `offset`.
pub(super) fn part<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

/// The error for a record or batch that exceeds its limit.
#[derive(Debug)]
pub(super) struct TooLarge;

#[derive(Serialize)]
struct BorrowedRecord<'a> {
    sequence: u64,
    time: u64,
    #[serde(flatten)]
    fact: &'a Fact,
}

/// The frames of a batch whose first record has the sequence `first`.
pub(super) fn encode_batch(id: &JournalId, first: u64, time: u64, facts: &[Fact]) -> Result<Vec<u8>, TooLarge> {
    let mut out = Vec::new();
    for (index, fact) in facts.iter().enumerate() {
        let sequence = first + index as u64;
        let payload = serde_json::to_vec(&BorrowedRecord { sequence, time, fact })
            .expect("a fact is strings and integers, which JSON can hold");
        if payload.len() > MAX_PAYLOAD_BYTES || out.len() + frame_size(payload.len()) > MAX_BATCH_BYTES {
            return Err(TooLarge);
        }
        let role = Role::InBatch { index: index as u32, last: index + 1 == facts.len() };
        encode(&mut out, id, sequence, role, &payload);
    }
    Ok(out)
}

/// Reads frames one after another, with a buffer of one frame.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    input: R,
    buffer: Vec<u8>,
}

/// Why the next frame could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl<R: Read> FrameReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new() }
    }

    /// The next frame.
    pub(super) fn next(&mut self, id: &JournalId) -> Result<Frame<'_>, ReadFrameError> {
        self.buffer.resize(FRAME_HEADER_BYTES, 0);
        self.read(0)?;
        let header = self.buffer.first_chunk().expect("the buffer has the length of a header");
        let size = frame_size(payload_length(header)?);
        self.buffer.resize(size, 0);
        self.read(FRAME_HEADER_BYTES)?;
        Ok(decode(&self.buffer, id)?)
    }

    /// The bytes of the last frame that [`Self::next`] returned.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn into_input(self) -> R {
        self.input
    }

    fn read(&mut self, from: usize) -> Result<(), ReadFrameError> {
        self.input.read_exact(&mut self.buffer[from..]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Short.into(),
            _ => error.into(),
        })
    }
}
