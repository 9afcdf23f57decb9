//! One segment file: its name, its header, and its frames.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::disk::{self, Disk};
use super::reading::{self, Loaded};
use super::record::{self, Frame, FrameError, FrameReader, JournalId, MAX_SEQUENCE, Role, part, short_hash};

/// The format written by this program, for segments and snapshots.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Bytes before the first frame of a segment or snapshot.
pub(super) const HEADER_BYTES: usize = 64;
/// Name of a segment that is not in use yet.
const UNUSED_NAME: &str = "segment-next.tmp";

const MAGIC: &[u8; 8] = b"SKYBSEGM";
const PREFIX: &str = "segment-";

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) id: JournalId,
    pub(super) first: u64,
    /// Length of the whole file, which never changes.
    pub(super) length: u64,
}

/// Why a file has no valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Bad,
    Newer(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut fields = [0; 24];
        fields[..8].copy_from_slice(&self.first.to_le_bytes());
        fields[8..16].copy_from_slice(&self.length.to_le_bytes());
        encode_header(*MAGIC, &self.id, fields)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (id, fields) = decode_header(*MAGIC, bytes)?;
        let (first, length) = (u64::from_le_bytes(part(&fields, 0)), u64::from_le_bytes(part(&fields, 8)));
        Ok(Self { id, first, length })
    }
}

/// Encodes a header: magic, version, id, 24 bytes of its own kind, checksum. Segments and snapshots share this form.
/// Later versions must keep it, so that an old program can distinguish a newer file from a damaged one.
pub(super) fn encode_header(magic: [u8; 8], id: &JournalId, fields: [u8; 24]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&magic);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(id.as_bytes());
    bytes[32..56].copy_from_slice(&fields);
    let sum = short_hash(blake3::Hasher::new().update(&bytes[..56]));
    bytes[56..].copy_from_slice(&sum);
    bytes
}

/// Decodes a header made by [`encode_header`].
pub(super) fn decode_header(magic: [u8; 8], bytes: &[u8]) -> Result<(JournalId, [u8; 24]), HeaderError> {
    let bytes = bytes.first_chunk::<HEADER_BYTES>().ok_or(HeaderError::Bad)?;
    let sum = short_hash(blake3::Hasher::new().update(&bytes[..56]));
    if part::<8>(bytes, 0) != magic || part::<8>(bytes, 56) != sum {
        return Err(HeaderError::Bad);
    }
    match u32::from_le_bytes(part(bytes, 8)) {
        FORMAT_VERSION => Ok((JournalId::from_bytes(part(bytes, 16)), part(bytes, 32))),
        version => Err(HeaderError::Newer(version)),
    }
}

/// Path of the segment that begins with this sequence.
pub(super) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{PREFIX}{first:020}"))
}

/// The number in a name: 20 digits after a prefix.
pub(super) fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let number =
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?;
    number.filter(|number| *number <= MAX_SEQUENCE)
}

/// The first sequence in a segment's name.
pub(super) fn first_in_name(name: &str) -> Option<u64> {
    number(name, PREFIX)
}

/// A segment with reserved space, but without its name.
#[derive(Debug)]
pub(super) struct Unused {
    pub(super) file: File,
    pub(super) length: u64,
}

/// Reserves space for a segment. A crash leaves `segment-next.tmp`, which the next open removes. An error here removes
/// it.
pub(super) fn allocate(disk: &dyn Disk, directory: &Path, length: u64) -> io::Result<Unused> {
    let path = directory.join(UNUSED_NAME);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    match disk.allocate(&file, length) {
        Ok(()) => Ok(Unused { file, length }),
        Err(error) => {
            // Best effort, to free the space.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

/// Puts an unused segment into use. Durable steps, and what a crash after each leaves behind:
/// 1. header written and synced: still `segment-next.tmp`, removed at open;
/// 2. renamed: the name may be lost, then as before; or it is there, as an empty last segment, which is valid;
/// 3. directory synced: an empty last segment.
pub(super) fn enter(disk: &dyn Disk, directory: &Path, id: &JournalId, first: u64, unused: &Unused) -> io::Result<()> {
    let header = SegmentHeader { id: *id, first, length: unused.length };
    disk.write(&unused.file, &header.encode(), 0)?;
    // fdatasync also covers the length, which later readers need.
    disk.sync(&unused.file)?;
    fs::rename(directory.join(UNUSED_NAME), path(directory, first))?;
    disk::sync_directory(disk, directory)
}

/// A valid frame and its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) sequence: u64,
    pub(super) role: Role,
}

impl Place {
    /// The first sequence of the batch that the frame belongs to.
    pub(super) fn batch(&self) -> Option<u64> {
        match self.role {
            Role::InBatch { index, .. } => self.sequence.checked_sub(u64::from(index)),
            Role::Seal | Role::Entry => None,
        }
    }
}

/// The content of a segment.
#[derive(Debug)]
pub(super) struct Walk {
    /// The records of whole batches from the start, in order and without a gap.
    pub(super) records: Vec<Place>,
    /// Start and end of the last whole batch.
    pub(super) last_batch: Range<usize>,
    /// Sequence of the last record, or the one before the segment's first.
    pub(super) last: u64,
    /// The first sequence of the next segment, if this one was sealed.
    pub(super) sealed: Option<u64>,
    /// A record at its position with a correct checksum, but with content unknown to this version. No crash leaves
    /// that.
    pub(super) unreadable: Option<usize>,
    /// The bytes after that.
    pub(super) rest: Rest,
}

/// The bytes after the last whole batch and the seal.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// From the first to the last nonzero byte, in whole words.
    pub(super) used: Range<usize>,
    /// Valid frames.
    pub(super) strays: Vec<Place>,
    /// Starts of invalid frames, with the reasons.
    pub(super) faults: Vec<(usize, FrameError)>,
}

impl Walk {
    /// True if a crash may have left the rest: one torn batch that was never acknowledged. Pages of a write reach the
    /// disk in any order, so valid frames may follow invalid ones. But a later batch begins only when this one is
    /// durable. So a frame of any other batch proves damage.
    pub(super) fn is_torn(&self) -> bool {
        self.sealed.is_none()
            && self.unreadable.is_none()
            && self.rest.strays.iter().all(|place| place.batch() == Some(self.last + 1))
    }

    /// True if nothing follows the last whole batch and the seal.
    pub(super) fn is_clean(&self) -> bool {
        self.rest.used.is_empty()
    }
}

/// Reads the frames of a segment whose header is valid.
pub(super) fn walk(bytes: &[u8], id: &JournalId, first: u64) -> Walk {
    let mut walk = Walk {
        records: Vec::new(),
        last_batch: HEADER_BYTES..HEADER_BYTES,
        last: first.saturating_sub(1),
        sealed: None,
        unreadable: None,
        rest: Rest::default(),
    };
    let mut batch = Vec::new();
    let mut offset = HEADER_BYTES;
    while let Ok(frame) = decode_at(bytes, offset, id) {
        let next = walk.last + 1 + batch.len() as u64;
        let Role::InBatch { index, last } = frame.role else {
            if frame.role == Role::Seal && batch.is_empty() && frame.sequence == next {
                walk.sealed = Some(next);
                offset += frame.size();
            }
            break;
        };
        if frame.sequence != next || index as usize != batch.len() {
            break;
        }
        if frame.record().is_err() {
            walk.unreadable = Some(offset);
            break;
        }
        batch.push(Place { offset, sequence: next, role: frame.role });
        offset += frame.size();
        if last {
            walk.last = next;
            walk.last_batch = walk.last_batch.end..offset;
            walk.records.append(&mut batch);
        }
    }
    let from = if walk.sealed.is_some() { offset } else { walk.last_batch.end };
    walk.rest = scan(bytes, from, id);
    walk
}

/// Searches for frames at every multiple of 8.
pub(super) fn scan(bytes: &[u8], from: usize, id: &JournalId) -> Rest {
    let mut rest = Rest::default();
    // A file may be cut off within its header.
    let mut offset = from.min(bytes.len());
    let mut in_fault = false;
    while let Some(used) = first_used_word(&bytes[offset..]) {
        // No frame begins with a zero word: an empty payload occurs only in a seal, whose role is not 0.
        in_fault &= used == 0;
        offset += used * 8;
        let size = match decode_at(bytes, offset, id) {
            Ok(frame) => {
                rest.strays.push(Place { offset, sequence: frame.sequence, role: frame.role });
                in_fault = false;
                frame.size()
            }
            Err(error) => {
                if !in_fault {
                    rest.faults.push((offset, error));
                    in_fault = true;
                }
                8.min(bytes.len() - offset)
            }
        };
        let start = if rest.used.is_empty() { offset } else { rest.used.start };
        offset += size;
        rest.used = start..offset;
    }
    rest
}

/// The first nonzero word of 8 bytes. Most of a segment is zero, so blocks of zeros are skipped.
fn first_used_word(bytes: &[u8]) -> Option<usize> {
    const WORDS_OF_A_BLOCK: usize = 64;
    // Without an early exit, many bytes are checked per step.
    let is_used = |part: &[u8]| part.iter().fold(0, |bits, byte| bits | byte) != 0;
    let first = WORDS_OF_A_BLOCK * bytes.chunks(8 * WORDS_OF_A_BLOCK).position(is_used)?;
    Some(first + bytes[8 * first..].chunks(8).position(is_used)?)
}

fn decode_at<'a>(bytes: &'a [u8], offset: usize, id: &JournalId) -> Result<Frame<'a>, FrameError> {
    record::decode(bytes.get(offset..).unwrap_or_default(), id)
}

/// A reader of the frames from an offset on.
pub(super) fn frames_at(mut file: File, offset: u64) -> io::Result<FrameReader<BufReader<File>>> {
    file.seek(SeekFrom::Start(offset))?;
    Ok(FrameReader::new(BufReader::with_capacity(64 << 10, file)))
}

/// The header and all readable bytes of a segment.
pub(super) fn load(path: &Path) -> io::Result<Loaded> {
    // A segment is at most one batch of the largest size. The header of a longer file will not match its length.
    reading::load(path, super::MAX_SEGMENT_BYTES + 1)
}
