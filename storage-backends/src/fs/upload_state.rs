//! The state record of an upload session (`docs/on-disk-format.md`, "Content store").

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::content::create_staging;
use super::{StoreError, disk};
use crate::checksum::{CHECKSUM_LENGTH, checksum};
use crate::digest::Algorithm;

/// Longest owner of an upload, bytes.
pub const OWNER_LIMIT: usize = 1024;

const MAGIC: [u8; 8] = *b"SKYUPLD\0";
const FORMAT_VERSION: u16 = 1;
/// Bytes before the owner.
const HEADER: usize = 44;
/// Longest exported hash state, bytes; sha512 needs 209.
const HASH_STATE_LIMIT: usize = 1024;
/// Longest record, bytes.
const RECORD_LIMIT: usize = HEADER + OWNER_LIMIT + HASH_STATE_LIMIT + CHECKSUM_LENGTH;

/// What is known of a session at a sync point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UploadState {
    pub(super) owner: String,
    pub(super) algorithm: Algorithm,
    /// So many bytes of the data file are durable and belong to the upload.
    pub(super) offset: u64,
    /// The running hash of those bytes, if it can be exported.
    pub(super) hash_state: Option<Vec<u8>>,
    pub(super) started: SystemTime,
    pub(super) last_activity: SystemTime,
}

/// Why there is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// Torn, damaged or something else.
    Garbage,
    /// Whole, and of a later format version.
    Newer(u16),
}

impl UploadState {
    pub(super) fn encode(&self) -> Vec<u8> {
        let hash_state = self.hash_state.as_deref().unwrap_or_default();
        let mut record = Vec::with_capacity(HEADER + self.owner.len() + hash_state.len() + CHECKSUM_LENGTH);
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        record.push(algorithm_code(self.algorithm));
        record.push(0);
        let length = HEADER + self.owner.len() + hash_state.len() + CHECKSUM_LENGTH;
        record.extend_from_slice(&(length as u32).to_le_bytes());
        record.extend_from_slice(&self.offset.to_le_bytes());
        record.extend_from_slice(&to_milliseconds(self.started).to_le_bytes());
        record.extend_from_slice(&to_milliseconds(self.last_activity).to_le_bytes());
        record.extend_from_slice(&(self.owner.len() as u16).to_le_bytes());
        record.extend_from_slice(&(hash_state.len() as u16).to_le_bytes());
        record.extend_from_slice(self.owner.as_bytes());
        record.extend_from_slice(hash_state);
        let sum = checksum(&record);
        record.extend_from_slice(&sum);
        record
    }

    pub(super) fn decode(record: &[u8]) -> Result<Self, Undecodable> {
        let (body, sum) = record.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(Undecodable::Garbage)?;
        if *sum != checksum(body) || !body.starts_with(&MAGIC) {
            return Err(Undecodable::Garbage);
        }
        match array(body, 8).map(u16::from_le_bytes) {
            Some(FORMAT_VERSION) => Self::decode_body(body).ok_or(Undecodable::Garbage),
            Some(version) if version > FORMAT_VERSION => Err(Undecodable::Newer(version)),
            _ => Err(Undecodable::Garbage),
        }
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let whole = u32::from_le_bytes(array(body, 12)?) as usize == body.len() + CHECKSUM_LENGTH;
        let owner_end = HEADER + usize::from(u16::from_le_bytes(array(body, 40)?));
        let hash_state = body.get(owner_end..)?;
        let fits = hash_state.len() == usize::from(u16::from_le_bytes(array(body, 42)?));
        if !whole || !fits {
            return None;
        }
        Some(UploadState {
            owner: String::from_utf8(body.get(HEADER..owner_end)?.to_vec()).ok()?,
            algorithm: algorithm_of(*body.get(10)?)?,
            offset: u64::from_le_bytes(array(body, 16)?),
            hash_state: (!hash_state.is_empty()).then(|| hash_state.to_vec()),
            started: from_milliseconds(u64::from_le_bytes(array(body, 24)?)),
            last_activity: from_milliseconds(u64::from_le_bytes(array(body, 32)?)),
        })
    }

    /// Writes the record beside the one in the session's directory and puts it in its place. `durable` syncs the record,
    /// not the directory. A crash leaves the old record or the new one, never a mixture.
    pub(super) fn replace(&self, session: &Path, durable: bool) -> Result<(), StoreError> {
        let temporary = session.join("state.tmp");
        let file = create_staging(&temporary)?;
        disk::write_at(&file, &self.encode(), 0).map_err(StoreError::io("write", &temporary))?;
        if durable {
            disk::sync_data(&file).map_err(StoreError::io("sync", &temporary))?;
        }
        disk::rename(&temporary, &session.join("state")).map_err(StoreError::io("move into place", &temporary))
    }

    /// The record of a session; `None` if there is none, or garbage.
    ///
    /// Errors: [`StoreError::NewerFormat`], and a disk that does not answer: neither says that the session is useless.
    pub(super) fn read(session: &Path) -> Result<Option<Self>, StoreError> {
        let path = session.join("state");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        let mut record = Vec::new();
        file.take(RECORD_LIMIT as u64 + 1).read_to_end(&mut record).map_err(StoreError::io("read", &path))?;
        match Self::decode(&record) {
            Ok(state) => Ok(Some(state)),
            Err(Undecodable::Garbage) => Ok(None),
            Err(Undecodable::Newer(version)) => Err(StoreError::NewerFormat { path, version }),
        }
    }

    /// Removes a session's directory, the record first: whatever a crash leaves of it is no session then.
    pub(super) fn remove_session(session: &Path) -> Result<bool, StoreError> {
        let had_state = gone(fs::remove_file(session.join("state"))).map_err(StoreError::io("remove", session))?;
        let had_directory = gone(fs::remove_dir_all(session)).map_err(StoreError::io("remove", session))?;
        Ok(had_state || had_directory)
    }
}

/// Whether something was removed.
fn gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn algorithm_code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
        Algorithm::Blake3 => 3,
    }
}

fn algorithm_of(code: u8) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| algorithm_code(*algorithm) == code)
}

fn to_milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

fn from_milliseconds(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hasher::Hasher;
    use proptest::prelude::*;

    fn state(algorithm: Algorithm) -> UploadState {
        UploadState {
            owner: "library/öl".to_owned(),
            algorithm,
            offset: 0x0102_0304_0506,
            hash_state: Hasher::new(algorithm).export(),
            started: from_milliseconds(1_700_000_000_123),
            last_activity: from_milliseconds(1_700_000_001_456),
        }
    }

    #[test]
    fn records_come_back_as_written() {
        for algorithm in Algorithm::ALL {
            let state = state(algorithm);
            assert_eq!(UploadState::decode(&state.encode()), Ok(state));
        }
    }

    #[test]
    fn every_torn_or_flipped_record_is_garbage() {
        let record = state(Algorithm::Sha256).encode();
        for length in 0..record.len() {
            assert_eq!(UploadState::decode(&record[..length]), Err(Undecodable::Garbage), "cut to {length}");
        }
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(UploadState::decode(&flipped), Err(Undecodable::Garbage), "bit {bit}");
        }
        let longer = [&record[..], &[0]].concat();
        assert_eq!(UploadState::decode(&longer), Err(Undecodable::Garbage));
    }

    #[test]
    fn a_whole_record_of_a_later_version_is_not_garbage() {
        let mut record = state(Algorithm::Sha256).encode();
        record.truncate(record.len() - CHECKSUM_LENGTH);
        record[8] = 2;
        let sum = checksum(&record);
        record.extend_from_slice(&sum);
        assert_eq!(UploadState::decode(&record), Err(Undecodable::Newer(2)));
    }

    #[test]
    fn the_longest_record_is_within_the_limit() {
        let longest = UploadState { owner: "x".repeat(OWNER_LIMIT), ..state(Algorithm::Sha512) };
        assert!(longest.encode().len() <= RECORD_LIMIT);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(UploadState::decode(&bytes).is_err());
        }

        /// Behind a checksum that fits stands anything but a record.
        #[test]
        fn no_bytes_with_a_sound_checksum_panic(
            kept in 0..24_usize,
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        ) {
            let record = state(algorithm).encode();
            let kept = kept.min(bytes.len());
            bytes[..kept].copy_from_slice(&record[..kept]);
            let sum = checksum(&bytes);
            bytes.extend_from_slice(&sum);
            if let Ok(state) = UploadState::decode(&bytes) {
                prop_assert_eq!(state.encode(), bytes);
            }
        }
    }
}
