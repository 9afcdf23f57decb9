//! The encoding of values: a checksum over key and payload, then the payload.

use serde::{Deserialize, Serialize};
use sled::IVec;

use crate::catalog::fact::Visibility;

/// Bytes of checksum before each payload.
const CHECKSUM_LENGTH: usize = 8;

/// A payload with a correct checksum.
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

/// The checksum and payload of a stored value; `None` if it does not match this key.
pub(crate) fn unseal(key: &[u8], value: &IVec) -> Option<(u64, Payload)> {
    let (stored, payload) = value.split_first_chunk::<CHECKSUM_LENGTH>()?;
    let stored = u64::from_le_bytes(*stored);
    (stored == checksum(key, payload)).then(|| (stored, value.subslice(CHECKSUM_LENGTH, payload.len())))
}

/// The index's record about itself. Each batch writes it together with the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Version of the schema.
    pub(crate) version: u32,
    /// The journal that this index is a view of.
    pub(crate) journal: String,
    /// The last sequence applied; `None` during a rebuild.
    pub(crate) applied: Option<u64>,
    /// Number of keys, without this record's.
    pub(crate) entries: u64,
    /// Wrapping sum of their checksums. It reveals values that sled lost or restored from the past.
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

/// Reads [`time`]. An older index has no time here.
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
