//! How values are written: a checksum over key and payload, then the payload.

use serde::{Deserialize, Serialize};
use sled::IVec;

use crate::catalog::fact::Visibility;

/// Bytes of checksum before each payload.
const CHECKSUM_LENGTH: usize = 8;

/// A payload whose checksum was right.
pub(crate) type Payload = IVec;

/// The first eight bytes of BLAKE3 over the key's length, the key and the payload.
pub(crate) fn checksum(key: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(payload);
    let mut first = [0; CHECKSUM_LENGTH];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_LENGTH]);
    u64::from_le_bytes(first)
}

/// The value to store.
pub(crate) fn seal(checksum: u64, payload: &[u8]) -> Vec<u8> {
    [&checksum.to_le_bytes(), payload].concat()
}

/// The payload of a stored value and its checksum; `None` if it was not written so under this key.
pub(crate) fn unseal(key: &[u8], value: &IVec) -> Option<(u64, Payload)> {
    let (stored, payload) = value.split_first_chunk::<CHECKSUM_LENGTH>()?;
    let stored = u64::from_le_bytes(*stored);
    (stored == checksum(key, payload)).then(|| (stored, value.subslice(CHECKSUM_LENGTH, payload.len())))
}

/// What the index knows of itself. Written with the data, in one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Of the schema.
    pub(crate) version: u32,
    /// The journal that this is a view of.
    pub(crate) journal: String,
    /// The last sequence that was applied; `None` while a rebuild is under way.
    pub(crate) applied: Option<u64>,
    /// How many keys there are, this one not counted.
    pub(crate) entries: u64,
    /// The wrapping sum of their checksums: a value that sled lost or brought back from the past shows here.
    pub(crate) sum: u64,
}

/// A payload as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Payload {
    serde_json::to_vec(value).expect("records have string keys and no fallible serializer").into()
}

/// A size as eight bytes.
pub(crate) fn size(size: u64) -> Payload {
    IVec::from(&size.to_be_bytes())
}

/// Reads [`size`].
pub(crate) fn read_size(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

/// A time in milliseconds since the Unix epoch, as eight bytes.
pub(crate) fn time(time: u64) -> Payload {
    size(time)
}

/// Reads [`time`]; an index of before had nothing there.
pub(crate) fn read_time(payload: &[u8]) -> Option<u64> {
    read_size(payload)
}

/// A visibility as one byte.
pub(crate) fn visibility(visibility: Visibility) -> Payload {
    IVec::from(match visibility {
        Visibility::Public => b"+",
        Visibility::Private => b"-",
    })
}

/// Reads [`visibility`].
pub(crate) fn read_visibility(payload: &[u8]) -> Option<Visibility> {
    match payload {
        b"+" => Some(Visibility::Public),
        b"-" => Some(Visibility::Private),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_passes() {
        let sealed = seal(checksum(b"key", b"payload"), b"payload");
        assert_eq!(unseal(b"key", &IVec::from(&sealed[..])).unwrap().1, b"payload");
        assert_eq!(unseal(b"kez", &IVec::from(&sealed[..])), None);
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(b"key", &IVec::from(bad)), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(unseal(b"key", &IVec::from(&sealed[..length])), None, "length {length}");
        }
    }
}
