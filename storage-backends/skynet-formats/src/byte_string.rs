//! Bytes in JSON as Go reads them: base64 or an array of numbers.

use std::fmt;

use data_encoding::BASE64;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::go_encoding::base64;

/// Limit in bytes above any field of an entry; longer values are refused while they are read.
const BYTES_LIMIT: usize = 4096;

/// Bytes, written in base64 as Go writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes: base64 or an array of numbers from 0 to 255")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        let bytes = base64(text.as_bytes()).ok_or_else(|| E::custom("not base64"))?;
        if bytes.len() > BYTES_LIMIT { Err(too_long()) } else { Ok(Bytes(bytes)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            if bytes.len() == BYTES_LIMIT {
                return Err(too_long());
            }
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }

    /// Go writes `null` for no bytes.
    fn visit_unit<E: de::Error>(self) -> Result<Bytes, E> {
        Ok(Bytes::default())
    }
}

fn too_long<E: de::Error>() -> E {
    E::custom(format_args!("more than {BYTES_LIMIT} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Option<Vec<u8>> {
        serde_json::from_str::<Bytes>(json).ok().map(|bytes| bytes.0)
    }

    #[test]
    fn every_form_of_go_is_read() {
        for json in [r#""YWJj""#, r#""YW\nJj""#, "[97,98,99]", " [ 97 , 98,99 ] "] {
            assert_eq!(read(json).as_deref(), Some(&b"abc"[..]), "{json}");
        }
        for json in ["null", "[]", "\"\""] {
            assert_eq!(read(json).as_deref(), Some(&b""[..]), "{json}");
        }
        assert_eq!(read(r#""YR==""#).as_deref(), Some(&b"a"[..]), "bits that are not needed");
    }

    #[test]
    fn what_are_no_bytes() {
        for json in
            ["[256]", "[-1]", "[1.0]", "[\"a\"]", "[null]", "7", "{}", "true", r#""YWJ""#, r#""Y-_j""#, r#""YQ==YQ==""#]
        {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_read_to_its_end() {
        let array = |length: usize| format!("[{}]", vec!["0"; length].join(","));
        assert_eq!(read(&array(BYTES_LIMIT)).map(|bytes| bytes.len()), Some(BYTES_LIMIT));
        assert_eq!(read(&array(BYTES_LIMIT + 1)), None);
        assert_eq!(read(&format!("{:?}", BASE64.encode(&[0; BYTES_LIMIT + 1]))), None);
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(read(&serde_json::to_string(&bytes).unwrap()), Some(bytes.clone()));
            let json = serde_json::to_string(&Bytes(bytes.clone())).unwrap();
            prop_assert_eq!(read(&json), Some(bytes));
        }
    }
}
