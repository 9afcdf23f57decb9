//! The datakey of a registry entry, which selects one of a key's entries. Sia calls it the tweak.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Bytes of a [`DataKey`].
pub const DATA_KEY_LENGTH: usize = 32;

/// 32 bytes chosen by the writer; 64 hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataKey([u8; DATA_KEY_LENGTH]);

/// The text is not a datakey.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a datakey is 64 hex digits")]
pub struct InvalidDataKey;

impl DataKey {
    /// A datakey with these bytes.
    pub const fn from_bytes(bytes: [u8; DATA_KEY_LENGTH]) -> Self {
        DataKey(bytes)
    }

    /// The datakey that the SDKs make of a string: the hash of its length and its UTF-8 bytes.
    pub fn of_name(name: &str) -> Self {
        DataKey(super::blake2b::hash(|state| {
            state.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        }))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; DATA_KEY_LENGTH] {
        &self.0
    }
}

impl FromStr for DataKey {
    type Err = InvalidDataKey;

    fn from_str(text: &str) -> Result<Self, InvalidDataKey> {
        // Before decoding: the text may be of any length.
        if text.len() != 2 * DATA_KEY_LENGTH {
            return Err(InvalidDataKey);
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| InvalidDataKey)?;
        bytes.try_into().map(DataKey).map_err(|_| InvalidDataKey)
    }
}

impl fmt::Display for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({self})")
    }
}

impl Serialize for DataKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DataKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_give_the_datakeys_of_the_sdks() {
        let vectors = [
            ("", "81e47a19e6b29b0a65b9591762ce5143ed30d0261e5d24a3201752506b20f15c"),
            ("skynet", "31c7a4d53ef7bb4c7531181645a0037b9e75c8b1d1285b468ad58bad6262c777"),
        ];
        for (name, datakey) in vectors {
            assert_eq!(DataKey::of_name(name).to_string(), datakey, "{name:?}");
        }
    }

    #[test]
    fn what_is_no_datakey() {
        let short = "0".repeat(63);
        for text in ["", &short, &format!("{short}g"), &format!("{short}00"), &format!("{short}é")] {
            assert_eq!(text.parse::<DataKey>(), Err(InvalidDataKey), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_comes_back_as_the_bytes(bytes: [u8; 32]) {
            let datakey = DataKey::from_bytes(bytes);
            prop_assert_eq!(datakey.to_string().parse(), Ok(datakey));
            prop_assert_eq!(datakey.to_string().to_uppercase().parse(), Ok(datakey));
            let json = serde_json::to_string(&datakey).unwrap();
            prop_assert_eq!(serde_json::from_str::<DataKey>(&json).unwrap(), datakey);
        }

        #[test]
        fn no_text_panics(text in ".{0,70}") {
            let _ = text.parse::<DataKey>();
        }
    }
}
