//! A profile: the sizes by which a portal cuts files into sectors and pieces. Its skylinks depend on them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes of one leaf of a sector's Merkle tree.
pub const LEAF_SIZE: usize = 64;

/// Smallest sector, used by skyd's testing builds, and the finest step of a skylink's fetch size.
const MIN_SECTOR_SIZE: u64 = 4 * 1024;

/// Largest sector: a skylink cannot name bytes beyond it.
const MAX_SECTOR_SIZE: u64 = 4 * 1024 * 1024;

/// Most pieces of one chunk, data and parity together. GF(2^8) allows 256. At most 30 are known to be in use, and one
/// chunk of pieces may have to be in memory at once.
const MAX_PIECES: u16 = 64;

/// The size of a sector in bytes: a power of two from 4 KiB to 4 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectorSize(u32);

impl SectorSize {
    /// Leaves of the largest sector.
    pub(super) const MAX_LEAVES: usize = MAX_SECTOR_SIZE as usize / LEAF_SIZE;

    /// The size of release builds, of Sia's hosts, and of the units by which blobs are verified.
    pub const STANDARD: SectorSize = SectorSize(MAX_SECTOR_SIZE as u32);

    /// A sector size of that many bytes.
    pub fn new(bytes: u64) -> Result<Self, ProfileError> {
        if !bytes.is_power_of_two() || !(MIN_SECTOR_SIZE..=MAX_SECTOR_SIZE).contains(&bytes) {
            return Err(ProfileError::SectorSize);
        }
        Ok(SectorSize(bytes as u32))
    }

    /// The number of bytes.
    pub fn bytes(self) -> usize {
        self.0 as usize
    }

    /// The number of Merkle tree leaves.
    pub fn leaves(self) -> usize {
        self.bytes() / LEAF_SIZE
    }
}

/// Sector size, data pieces and parity pieces; as text `4MiB/1+4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Profile {
    sector_size: SectorSize,
    data_pieces: u8,
    parity_pieces: u8,
}

/// The text or the numbers are not a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The text does not have the form of a profile.
    #[error("not a profile: <sector size>/<data pieces>+<parity pieces>, for example 4MiB/1+4")]
    Malformed,
    /// The sector size is invalid.
    #[error("a sector size is a power of two from 4KiB to 4MiB")]
    SectorSize,
    /// The numbers of pieces are invalid.
    #[error("a profile has at least one data piece, at least one parity piece, and at most {MAX_PIECES} together")]
    Pieces,
}

impl Profile {
    /// The profile of Skyberth's portals. Its fanout is the list of roots of the content's own 4 MiB units.
    pub const DEFAULT: Profile = Profile { sector_size: SectorSize::STANDARD, data_pieces: 1, parity_pieces: 4 };

    /// A profile of these numbers. Without parity skyd panics, so at least one parity piece is required.
    pub fn new(sector_size: SectorSize, data_pieces: u8, parity_pieces: u8) -> Result<Self, ProfileError> {
        let pieces = u16::from(data_pieces) + u16::from(parity_pieces);
        if data_pieces == 0 || parity_pieces == 0 || pieces > MAX_PIECES {
            return Err(ProfileError::Pieces);
        }
        Ok(Profile { sector_size, data_pieces, parity_pieces })
    }

    /// The size of a sector, and of a piece.
    pub fn sector_size(self) -> SectorSize {
        self.sector_size
    }

    /// The number of pieces with the content of a chunk.
    pub fn data_pieces(self) -> u8 {
        self.data_pieces
    }

    /// The number of pieces computed from the data pieces.
    pub fn parity_pieces(self) -> u8 {
        self.parity_pieces
    }

    /// True if a fanout is the list of roots of the content's own 4 MiB units, by which blobs are verified.
    pub fn fanout_is_unit_roots(self) -> bool {
        self.data_pieces == 1 && self.sector_size == SectorSize::STANDARD
    }

    /// The number of roots per chunk in a fanout. With one data piece all pieces are equal, so it keeps one.
    pub fn chunk_roots(self) -> usize {
        match self.data_pieces {
            1 => 1,
            data_pieces => usize::from(data_pieces) + usize::from(self.parity_pieces),
        }
    }

    /// Content bytes of one chunk.
    pub fn chunk_size(self) -> u64 {
        u64::from(self.data_pieces) * self.sector_size.bytes() as u64
    }
}

impl Default for Profile {
    fn default() -> Self {
        Profile::DEFAULT
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Profile { sector_size: SectorSize(bytes), data_pieces, parity_pieces } = self;
        let (number, unit) = if *bytes >= 1 << 20 { (bytes >> 20, "MiB") } else { (bytes >> 10, "KiB") };
        write!(f, "{number}{unit}/{data_pieces}+{parity_pieces}")
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (size, pieces) = text.split_once('/').ok_or(ProfileError::Malformed)?;
        let (data, parity) = pieces.split_once('+').ok_or(ProfileError::Malformed)?;
        let (size, unit) = match size.strip_suffix("MiB") {
            Some(size) => (size, 1 << 20),
            None => (size.strip_suffix("KiB").ok_or(ProfileError::Malformed)?, 1 << 10),
        };
        let sector_size = SectorSize::new(u64::from(number(size)?) * unit)?;
        let piece = |text| u8::try_from(number(text)?).map_err(|_| ProfileError::Pieces);
        Profile::new(sector_size, piece(data)?, piece(parity)?)
    }
}

/// Decimal digits without sign or leading zero.
fn number(text: &str) -> Result<u16, ProfileError> {
    if text.starts_with('0') && text != "0" || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProfileError::Malformed);
    }
    text.parse().map_err(|_| ProfileError::Malformed)
}

impl TryFrom<String> for Profile {
    type Error = ProfileError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Profile> for String {
    fn from(profile: Profile) -> String {
        profile.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_known_profiles_print_as_they_are_written() {
        for text in ["4MiB/1+4", "4MiB/10+20", "4KiB/1+4", "256KiB/1+1"] {
            assert_eq!(text.parse::<Profile>().unwrap().to_string(), text);
        }
        assert_eq!("4MiB/1+4".parse(), Ok(Profile::DEFAULT));
    }

    #[test]
    fn only_whole_units_in_a_row_make_a_fanout_of_unit_roots() {
        for (text, is) in [("4MiB/1+4", true), ("4MiB/1+1", true), ("4MiB/10+20", false), ("64KiB/1+4", false)] {
            assert_eq!(text.parse::<Profile>().unwrap().fanout_is_unit_roots(), is, "{text}");
        }
    }

    #[test]
    fn what_no_skyd_could_use_is_refused() {
        for text in ["4MiB/1+0", "4MiB/0+4", "4MiB/10+55", "4MiB/256+1"] {
            assert_eq!(text.parse::<Profile>(), Err(ProfileError::Pieces), "{text}");
        }
        for text in ["2KiB/1+4", "8MiB/1+4", "5KiB/1+4", "0MiB/1+4"] {
            assert_eq!(text.parse::<Profile>(), Err(ProfileError::SectorSize), "{text}");
        }
        for text in ["", "4MiB", "4MiB/1", "4/1+4", "4mib/1+4", "+4MiB/1+4", "04MiB/1+4", "4MiB/1+4 ", "4MiB/+1+4"] {
            assert_eq!(text.parse::<Profile>(), Err(ProfileError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_profile_prints_and_parses_to_itself(shift in 12_u32..=22, data in 1_u8..=32, parity in 1_u8..=32) {
            let profile = Profile::new(SectorSize::new(1 << shift).unwrap(), data, parity).unwrap();
            prop_assert_eq!(profile.to_string().parse(), Ok(profile));
        }

        #[test]
        fn what_is_taken_prints_as_it_was_written(text in "[0-9]{1,4}[KM]iB/[0-9]{1,3}[+][0-9]{1,3}|.{0,20}") {
            if let Ok(profile) = text.parse::<Profile>() {
                let size = profile.sector_size().bytes() as u64;
                let same_size = text.starts_with(&format!("{}KiB/", size >> 10));
                prop_assert!(profile.to_string() == text || same_size);
            }
        }
    }
}
