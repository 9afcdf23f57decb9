//! Skylinks: 34 bytes that name a range of a sector (v1) or a registry entry (v2).
//!
//! The skylink of content is that of its base sector, which `base_sector` makes.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32HEX_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};

use super::go_encoding::{base32hex, base64url};
use super::sector::SectorRoot;

/// The end of the range that a v1 skylink can name, in bytes, for any sector size. skyd's testing builds have smaller
/// sectors and the same arithmetic.
const MAX_FETCH_SIZE: u64 = 4 * 1024 * 1024;

/// The finest step of offset and fetch size.
const STEP: u64 = 4096;

/// Most ones of the mode; eight ones are not a mode.
const MAX_MODE: u32 = 7;

/// The only bitfield of a v2 skylink.
const V2_BITFIELD: u16 = 1;

const BASE64_LENGTH: usize = 46;
const BASE32_LENGTH: usize = 55;

/// A valid skylink. It prints as base64url; text is decoded as in Go, with any value of the unused bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Skylink {
    bitfield: u16,
    hash: [u8; 32],
}

/// The target of a skylink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Bytes of a sector (v1).
    Sector {
        /// The offset of the first byte.
        offset: u64,
        /// The number of bytes to fetch: the named length, rounded up to a value that a bitfield can express.
        fetch_size: u64,
        /// The root of the whole sector.
        root: SectorRoot,
    },
    /// A registry entry whose data is a skylink (v2): the entry's id.
    Entry([u8; 32]),
}

/// The text or the bytes are not a skylink, or the range has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkylinkError {
    /// The text is neither 46 characters of base64url nor 55 of base32hex, or has other characters.
    #[error("not a skylink: 46 characters of base64url or 55 of base32hex")]
    Malformed,
    /// The two low bits name an undefined version, or v2 with more bits set.
    #[error("a skylink of an unknown version")]
    UnknownVersion,
    /// The mode of a v1 bitfield has eight ones.
    #[error("a skylink with an impossible mode")]
    InvalidMode,
    /// The range reaches beyond the bytes that skylinks can name.
    #[error("a skylink cannot name bytes beyond 4 MiB")]
    OutOfBounds,
    /// A range of that length can begin only at multiples of a larger number.
    #[error("a skylink with a fetch size of {length} bytes cannot begin at {offset}")]
    Unaligned {
        /// The requested offset in bytes.
        offset: u64,
        /// The requested length in bytes.
        length: u64,
    },
}

impl Skylink {
    /// Bytes of a raw skylink.
    pub const SIZE: usize = 34;

    /// The v1 skylink of a range of a sector.
    pub fn v1(root: SectorRoot, offset: u64, length: u64) -> Result<Self, SkylinkError> {
        Ok(Skylink { bitfield: encode_range(offset, length)?, hash: *root.as_bytes() })
    }

    /// The v2 skylink of a registry entry.
    pub fn v2(entry_id: [u8; 32]) -> Self {
        Skylink { bitfield: V2_BITFIELD, hash: entry_id }
    }

    /// Decodes the raw form, as in a resolver entry.
    pub fn from_bytes(bytes: &[u8; Skylink::SIZE]) -> Result<Self, SkylinkError> {
        let [low, high, hash @ ..] = *bytes;
        let bitfield = u16::from_le_bytes([low, high]);
        match bitfield & 3 {
            0 => drop(decode_range(bitfield)?),
            _ if bitfield == V2_BITFIELD => {}
            _ => return Err(SkylinkError::UnknownVersion),
        }
        Ok(Skylink { bitfield, hash })
    }

    /// The raw form.
    pub fn to_bytes(self) -> [u8; Skylink::SIZE] {
        let mut bytes = [0; Skylink::SIZE];
        bytes[..2].copy_from_slice(&self.bitfield.to_le_bytes());
        bytes[2..].copy_from_slice(&self.hash);
        bytes
    }

    /// Parses a skylink with or without `sia://` before it.
    pub fn from_uri(text: &str) -> Result<Self, SkylinkError> {
        text.strip_prefix("sia://").unwrap_or(text).parse()
    }

    /// The target of the skylink.
    pub fn target(&self) -> Target {
        match decode_range(self.bitfield) {
            Ok((offset, fetch_size)) => Target::Sector { offset, fetch_size, root: SectorRoot::from_bytes(self.hash) },
            // Both constructors from foreign bytes accept only valid v1 bitfields and the one of v2.
            Err(_) => Target::Entry(self.hash),
        }
    }

    /// The two bytes before the hash, as portals report them.
    pub fn bitfield(&self) -> u16 {
        self.bitfield
    }

    /// The skylink in lower-case base32hex, which is valid in a host name.
    pub fn to_base32(self) -> String {
        BASE32HEX_NOPAD.encode(&self.to_bytes()).to_ascii_lowercase()
    }
}

/// `(offset, fetch size)` of a v1 bitfield. From the low end: two zeros, `mode` ones and a zero, three bits of fetch
/// size, and the offset in the remaining bits.
fn decode_range(bitfield: u16) -> Result<(u64, u64), SkylinkError> {
    if bitfield & 3 != 0 {
        return Err(SkylinkError::UnknownVersion);
    }
    let mode = (bitfield >> 2).trailing_ones();
    if mode > MAX_MODE {
        return Err(SkylinkError::InvalidMode);
    }
    let rest = u64::from(bitfield >> (2 + mode + 1));
    let fetch_size = ((rest & 7) + 1) * fetch_step(mode) + if mode > 0 { 8 * fetch_step(mode) } else { 0 };
    let offset = (rest >> 3) * offset_step(mode);
    if offset + fetch_size > MAX_FETCH_SIZE {
        return Err(SkylinkError::OutOfBounds);
    }
    Ok((offset, fetch_size))
}

fn encode_range(offset: u64, length: u64) -> Result<u16, SkylinkError> {
    if offset.checked_add(length).is_none_or(|end| end > MAX_FETCH_SIZE) {
        return Err(SkylinkError::OutOfBounds);
    }
    // Mode 0 reaches 8 steps of 4 KiB, and each further one twice as far.
    let mode = length.div_ceil(8 * STEP).max(1).next_power_of_two().ilog2();
    if !offset.is_multiple_of(offset_step(mode)) {
        return Err(SkylinkError::Unaligned { offset, length });
    }
    let beyond = if mode > 0 { length - 8 * fetch_step(mode) } else { length };
    let code = beyond.saturating_sub(1) / fetch_step(mode);
    let ones = (1_u64 << mode) - 1;
    let bits = (((offset / offset_step(mode)) << 3 | code) << (mode + 1) | ones) << 2;
    u16::try_from(bits).map_err(|_| SkylinkError::OutOfBounds)
}

fn offset_step(mode: u32) -> u64 {
    STEP << mode
}

fn fetch_step(mode: u32) -> u64 {
    STEP << mode.saturating_sub(1)
}

impl FromStr for Skylink {
    type Err = SkylinkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = match text.len() {
            BASE64_LENGTH => base64url(text.as_bytes()),
            // Host names are not case-sensitive.
            BASE32_LENGTH => base32hex(text.to_ascii_uppercase().as_bytes()),
            _ => return Err(SkylinkError::Malformed),
        };
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(SkylinkError::Malformed)?;
        Skylink::from_bytes(&bytes)
    }
}

impl fmt::Display for Skylink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.to_bytes()))
    }
}

impl fmt::Debug for Skylink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Skylink({self})")
    }
}

impl TryFrom<String> for Skylink {
    type Error = SkylinkError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Skylink> for String {
    fn from(skylink: Skylink) -> String {
        skylink.to_string()
    }
}

#[cfg(test)]
mod tests;
