//! The state record of an upload session (`docs/on-disk-format.md`, "Content store").

use std::time::SystemTime;

use super::record::{Format, Undecodable, time_field};
use super::staging::SessionState;
use crate::digest::Algorithm;
use crate::hasher::Hasher;

/// Longest owner of an upload, bytes.
pub const OWNER_LIMIT: usize = 1024;

/// Bytes of the fields before the owner.
const NUMBERS: usize = 28;
/// Longest exported hash state, bytes; sha512 needs 209.
const HASH_STATE_LIMIT: usize = 1024;
/// Longest fields of a record, bytes.
pub(super) const FIELDS_LIMIT: usize = NUMBERS + OWNER_LIMIT + HASH_STATE_LIMIT;

/// The recorded state of a session at a sync point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UploadState {
    pub(super) owner: String,
    pub(super) algorithm: Algorithm,
    /// The number of bytes of the data file that are durable and belong to the upload.
    pub(super) offset: u64,
    /// The running hash of those bytes, if it can be exported.
    pub(super) hash_state: Option<Vec<u8>>,
    pub(super) started: SystemTime,
    pub(super) last_activity: SystemTime,
}

impl UploadState {
    /// A session without bytes.
    pub(super) fn new(owner: &str, hasher: &Hasher) -> Self {
        let (owner, algorithm, hash_state) = (owner.to_owned(), hasher.algorithm(), hasher.export());
        let now = SystemTime::now();
        UploadState { owner, algorithm, offset: 0, hash_state, started: now, last_activity: now }
    }
}

impl SessionState for UploadState {
    const FORMAT: Format = Format::new(*b"SKYUPLD\0", 1, FIELDS_LIMIT);

    fn encode(&self) -> Vec<u8> {
        let hash_state = self.hash_state.as_deref().unwrap_or_default();
        let fields: [&[u8]; 7] = [
            &self.offset.to_le_bytes(),
            &time_field(self.started),
            &time_field(self.last_activity),
            &(self.owner.len() as u16).to_le_bytes(),
            &(hash_state.len() as u16).to_le_bytes(),
            self.owner.as_bytes(),
            hash_state,
        ];
        Self::FORMAT.encode([algorithm_code(self.algorithm), 0], &fields)
    }

    fn decode(record: &[u8]) -> Result<Self, Undecodable> {
        Self::FORMAT.decode(record, |[algorithm, _], fields| {
            let (offset, started, last_activity) = (fields.u64()?, fields.time()?, fields.time()?);
            let (owner, hash_state) = (fields.u16()?, fields.u16()?);
            let owner = fields.text(owner.into())?.to_owned();
            let hash_state = fields.bytes(hash_state.into())?;
            let hash_state = (!hash_state.is_empty()).then(|| hash_state.to_vec());
            let algorithm = algorithm_of(algorithm)?;
            Some(UploadState { owner, algorithm, offset, hash_state, started, last_activity })
        })
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn last_activity(&self) -> SystemTime {
        self.last_activity
    }

    fn reach(&mut self, offset: u64, last_activity: SystemTime) {
        (self.offset, self.last_activity) = (offset, last_activity);
    }
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::checksum::checksum;
    use proptest::prelude::*;

    fn state(algorithm: Algorithm) -> UploadState {
        UploadState {
            owner: "library/öl".to_owned(),
            algorithm,
            offset: 0x0102_0304_0506,
            hash_state: Hasher::new(algorithm).export(),
            started: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            last_activity: UNIX_EPOCH + Duration::from_millis(1_700_000_001_456),
        }
    }

    #[test]
    fn records_come_back_as_written() {
        for algorithm in Algorithm::ALL {
            let state = state(algorithm);
            assert_eq!(UploadState::decode(&state.encode()), Ok(state));
        }
    }

    /// The layout of the documentation, written out by hand: sessions of earlier programs stay readable.
    #[test]
    fn fields_stand_where_the_documentation_says() {
        let record = UploadState { hash_state: Some(vec![9, 8]), ..state(Algorithm::Sha512) }.encode();
        assert_eq!(record[..16], *b"SKYUPLD\0\x01\0\x02\0\x41\0\0\0");
        assert_eq!(record[16..24], [6, 5, 4, 3, 2, 1, 0, 0]);
        assert_eq!(record[24..32], 1_700_000_000_123_u64.to_le_bytes());
        assert_eq!(record[32..40], 1_700_000_001_456_u64.to_le_bytes());
        assert_eq!(record[40..44], [11, 0, 2, 0]);
        assert_eq!(record[44..57], *b"library/\xc3\xb6l\x09\x08");
        assert_eq!(record[57..], checksum(&record[..57]));
    }

    #[test]
    fn the_longest_record_can_be_read() {
        let hash_state = Some(vec![7; HASH_STATE_LIMIT]);
        let longest = UploadState { owner: "x".repeat(OWNER_LIMIT), hash_state, ..state(Algorithm::Sha512) };
        assert_eq!(UploadState::decode(&longest.encode()), Ok(longest));
    }

    proptest! {
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
