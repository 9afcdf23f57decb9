//! The encoding of values: a checksum over key and payload, then the payload.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
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

/// The beginning of a manifest's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The media type as pushed, without parameters.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
}

impl ManifestHead {
    /// Reads a record up to its size; `None` if it has another form.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let mut found = None;
        // An error, since the rest of the record stays unread.
        let _ = HeadSeed(&mut found).deserialize(&mut serde_json::Deserializer::from_slice(payload));
        found
    }
}

/// Reads fields until both of the head's are known.
struct HeadSeed<'a>(&'a mut Option<ManifestHead>);

impl<'de> DeserializeSeed<'de> for HeadSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeadSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest's record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let (mut media_type, mut size) = (None, None);
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "media_type" => media_type = Some(fields.next_value()?),
                "size" => size = Some(fields.next_value()?),
                _ => _ = fields.next_value::<IgnoredAny>()?,
            }
            if let (Some(_), Some(size)) = (&media_type, size) {
                *self.0 = media_type.take().map(|media_type| ManifestHead { media_type, size });
                break;
            }
        }
        Ok(())
    }
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

    /// HEAD parsed records with thousands of references on the threads that serve connections.
    #[test]
    fn the_head_of_a_record_is_read_without_the_rest() {
        let head = |record: &str| ManifestHead::read(record.as_bytes());
        let wanted = Some(ManifestHead { media_type: "a/b".into(), size: 7 });
        assert_eq!(head(r#"{"media_type":"a/b","size":7,"references":[no JSON"#), wanted);
        assert_eq!(head(r#"{"subject":"x","size":7,"media_type":"a/b"}"#), wanted);
        for other in [r#"{"media_type":"a/b"}"#, r#"{"media_type":7,"size":7}"#, "[]", ""] {
            assert_eq!(head(other), None, "{other}");
        }
    }

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
