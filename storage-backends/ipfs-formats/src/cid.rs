//! CIDs of version 1 with SHA-256: the only ones that the profile makes.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};

/// How the bytes of a block are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// As they are: a leaf.
    Raw,
    /// As a node with links.
    DagPb,
}

impl Codec {
    const fn number(self) -> u8 {
        match self {
            Codec::Raw => 0x55,
            Codec::DagPb => 0x70,
        }
    }
}

/// The name of a block, by the hash of its bytes. It prints in base32, with a `b` before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    codec: Codec,
    hash: [u8; 32],
}

/// The text or the bytes are not a CID of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CID of version 1 in base32, with SHA-256, of a raw block or a dag-pb node")]
pub struct CidError;

impl Cid {
    /// Bytes of a CID.
    pub const SIZE: usize = 36;

    /// Characters of a CID.
    pub const TEXT: usize = 59;

    /// Version 1, and after the codec: SHA-256 with 32 bytes.
    const VERSION: u8 = 1;
    const SHA2_256: [u8; 2] = [0x12, 32];

    /// The CID of these bytes.
    pub fn of(codec: Codec, block: &[u8]) -> Self {
        Cid { codec, hash: Sha256::digest(block).into() }
    }

    /// The CID of a block whose SHA-256 is known.
    pub const fn of_hash(codec: Codec, hash: [u8; 32]) -> Self {
        Cid { codec, hash }
    }

    /// How its block is to be read.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The SHA-256 of its block.
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// True if these are the bytes of its block.
    pub fn is_of(&self, block: &[u8]) -> bool {
        Cid::of(self.codec, block) == *self
    }

    /// The binary form.
    pub fn to_bytes(self) -> [u8; Cid::SIZE] {
        let mut bytes = [0; Cid::SIZE];
        bytes[..4].copy_from_slice(&[Cid::VERSION, self.codec.number(), Cid::SHA2_256[0], Cid::SHA2_256[1]]);
        bytes[4..].copy_from_slice(&self.hash);
        bytes
    }

    /// Decodes the binary form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let bytes: &[u8; Cid::SIZE] = bytes.try_into().map_err(|_| CidError)?;
        let [Cid::VERSION, codec, 0x12, 32, hash @ ..] = *bytes else { return Err(CidError) };
        let codec = [Codec::Raw, Codec::DagPb].into_iter().find(|known| known.number() == codec).ok_or(CidError)?;
        Ok(Cid { codec, hash })
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        let digits = text.strip_prefix('b').filter(|_| text.len() == Cid::TEXT).ok_or(CidError)?;
        // One text for each CID: no capitals.
        if !digits.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(CidError);
        }
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| CidError)?;
        Cid::from_bytes(&bytes)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", BASE32_NOPAD.encode(&self.to_bytes()).to_ascii_lowercase())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The CID of the empty file, as kubo 0.43.1 says it.
    const EMPTY: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn the_empty_file_has_the_name_that_all_know() {
        assert_eq!(Cid::of(Codec::Raw, b"").to_string(), EMPTY);
        assert!(EMPTY.parse::<Cid>().unwrap().is_of(b""));
        assert!(!EMPTY.parse::<Cid>().unwrap().is_of(b"x"));
    }

    #[test]
    fn other_cids_are_refused() {
        let capitals = EMPTY.to_ascii_uppercase();
        let longer = format!("{EMPTY}a");
        for text in [
            "",
            "b",
            &EMPTY[1..],
            &EMPTY[..58],
            &capitals,
            &longer,
            // Version 0, dag-json, identity, and unused bits that are set.
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
            "baguqeerasords4njcts6vs7qvdjfcvgnume4hqohf65zsfguprqphs3icwea",
            "bafkqabtimvwgy3yk",
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv",
        ] {
            assert_eq!(text.parse::<Cid>(), Err(CidError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_come_back(hash: [u8; 32], leaf: bool) {
            let cid = Cid::of_hash(if leaf { Codec::Raw } else { Codec::DagPb }, hash);
            prop_assert_eq!(cid.to_string().parse(), Ok(cid));
            prop_assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
        }

        #[test]
        fn any_text_is_a_cid_in_one_form_or_none(text in "b?[a-z2-7A-Z]{0,60}") {
            if let Ok(cid) = text.parse::<Cid>() {
                prop_assert_eq!(cid.to_string(), text);
            }
        }
    }
}
