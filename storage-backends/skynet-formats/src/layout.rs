//! The layout: the first 99 bytes of a base sector, which describe the rest of a skyfile.

use super::profile::SectorSize;
use super::sector::SectorRoot;

/// The only version that exists.
const VERSION: u8 = 1;

const KEY_DATA_SIZE: usize = 64;

/// The cipher type of content without encryption by the portal.
const PLAIN: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// The layout of a plain skyfile. The sizes of a decoded layout are consistent, but may exceed the base sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Length of the content in bytes.
    pub file_size: u64,
    /// Length of the metadata in bytes.
    pub metadata_size: u64,
    /// Length of the fanout in bytes; 0 if the content is in the base sector.
    pub fanout_size: u64,
    /// Pieces with the content of a chunk; 0 is usual without a fanout.
    pub data_pieces: u8,
    /// Pieces computed from the data pieces.
    pub parity_pieces: u8,
    /// Meaningless for a plain file, but part of its root.
    pub key_data: [u8; KEY_DATA_SIZE],
}

/// The bytes are not a supported layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Fewer than 99 bytes.
    #[error("too short for a skyfile layout")]
    TooShort,
    /// The version is not 1; bytes that are no skyfile look like this too.
    #[error("a skyfile of the unknown version {0}")]
    UnknownVersion(u8),
    /// The content is encrypted with a portal's key, which is never available here.
    #[error("the skyfile is encrypted by a portal's key")]
    Encrypted,
    /// A fanout without data pieces or parity pieces.
    #[error("a fanout of {data_pieces}+{parity_pieces} pieces")]
    Pieces {
        /// The number in the layout.
        data_pieces: u8,
        /// The number in the layout.
        parity_pieces: u8,
    },
    /// The length of the fanout does not fit the content's length.
    #[error("a fanout of {found} bytes where {expected} belong")]
    FanoutSize {
        /// The length in the layout, in bytes.
        found: u64,
        /// The length for that content, in bytes.
        expected: u64,
    },
}

impl Layout {
    /// Bytes of an encoded layout.
    pub const SIZE: usize = 99;

    /// The layout of content in the base sector.
    pub fn without_fanout(file_size: u64, metadata_size: u64) -> Self {
        Layout {
            file_size,
            metadata_size,
            fanout_size: 0,
            data_pieces: 0,
            parity_pieces: 0,
            key_data: [0; KEY_DATA_SIZE],
        }
    }

    /// The bytes as in the base sector.
    pub fn encode(&self) -> [u8; Layout::SIZE] {
        let mut bytes = [0; Layout::SIZE];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.file_size.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.metadata_size.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.fanout_size.to_le_bytes());
        bytes[25] = self.data_pieces;
        bytes[26] = self.parity_pieces;
        bytes[27..35].copy_from_slice(&PLAIN);
        bytes[35..].copy_from_slice(&self.key_data);
        bytes
    }

    /// Decodes the layout at the beginning of a base sector of that size.
    pub fn decode(bytes: &[u8], sector_size: SectorSize) -> Result<Self, LayoutError> {
        let bytes: &[u8; Layout::SIZE] = bytes.first_chunk().ok_or(LayoutError::TooShort)?;
        if bytes[0] != VERSION {
            return Err(LayoutError::UnknownVersion(bytes[0]));
        }
        if bytes[27..35] != PLAIN {
            return Err(LayoutError::Encrypted);
        }
        let number = |start: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[start..start + 8]);
            u64::from_le_bytes(number)
        };
        let mut key_data = [0; KEY_DATA_SIZE];
        key_data.copy_from_slice(&bytes[35..]);
        let layout = Layout {
            file_size: number(1),
            metadata_size: number(9),
            fanout_size: number(17),
            data_pieces: bytes[25],
            parity_pieces: bytes[26],
            key_data,
        };
        layout.check_fanout(sector_size)?;
        Ok(layout)
    }

    fn check_fanout(&self, sector_size: SectorSize) -> Result<(), LayoutError> {
        let Layout { fanout_size, data_pieces, parity_pieces, .. } = *self;
        if fanout_size == 0 {
            return Ok(());
        }
        if data_pieces == 0 || parity_pieces == 0 {
            return Err(LayoutError::Pieces { data_pieces, parity_pieces });
        }
        let expected = self.chunks(sector_size).saturating_mul(self.chunk_roots() * SectorRoot::SIZE as u64);
        if fanout_size != expected {
            return Err(LayoutError::FanoutSize { found: fanout_size, expected });
        }
        Ok(())
    }

    /// The number of chunks of the content, including a partial last one; 0 without data pieces.
    pub fn chunks(&self, sector_size: SectorSize) -> u64 {
        let chunk_size = u64::from(self.data_pieces) * sector_size.bytes() as u64;
        if chunk_size == 0 { 0 } else { self.file_size.div_ceil(chunk_size) }
    }

    /// The number of roots per chunk in the fanout. With one data piece all pieces are equal, so it keeps one.
    pub fn chunk_roots(&self) -> u64 {
        match self.data_pieces {
            1 => 1,
            data_pieces => u64::from(data_pieces) + u64::from(self.parity_pieces),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn large(file_size: u64, fanout_size: u64, data_pieces: u8, parity_pieces: u8) -> Layout {
        Layout { fanout_size, data_pieces, parity_pieces, ..Layout::without_fanout(file_size, 10) }
    }

    fn decode(bytes: &[u8]) -> Result<Layout, LayoutError> {
        Layout::decode(bytes, SectorSize::STANDARD)
    }

    #[test]
    fn fields_stand_where_skyd_puts_them() {
        let bytes = large(5_242_880, 64, 1, 4).encode();
        let mut expected = [0; 99];
        expected[0] = 1;
        expected[3] = 0x50;
        expected[9] = 10;
        expected[17] = 64;
        expected[25] = 1;
        expected[26] = 4;
        expected[34] = 1;
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_fanout_must_be_that_of_its_content() {
        assert!(decode(&large(5_242_880, 64, 1, 4).encode()).is_ok());
        assert!(decode(&large(41_943_041, 1920, 10, 20).encode()).is_ok());
        let wrong = large(5_242_880, 96, 1, 4).encode();
        assert_eq!(decode(&wrong), Err(LayoutError::FanoutSize { found: 96, expected: 64 }));
        for layout in [large(u64::MAX, u64::MAX, 1, 1), large(u64::MAX, 32, 255, 255), large(0, 32, 1, 4)] {
            assert!(matches!(decode(&layout.encode()), Err(LayoutError::FanoutSize { .. })), "{layout:?}");
        }
        for layout in [large(10, 32, 0, 4), large(10, 32, 1, 0)] {
            assert!(matches!(decode(&layout.encode()), Err(LayoutError::Pieces { .. })), "{layout:?}");
        }
    }

    #[test]
    fn what_we_cannot_read_is_refused() {
        let good = Layout::without_fanout(1, 2).encode();
        assert_eq!(decode(&good[..98]), Err(LayoutError::TooShort));
        for (at, error) in
            [(0, LayoutError::UnknownVersion(0x81)), (27, LayoutError::Encrypted), (34, LayoutError::Encrypted)]
        {
            let mut bad = good;
            bad[at] |= 0x80;
            assert_eq!(decode(&bad), Err(error));
        }
    }

    proptest! {
        #[test]
        fn bytes_are_refused_or_come_back(
            sizes in prop::array::uniform3(prop_oneof![any::<u64>(), 0_u64..1000]),
            pieces: [u8; 2], rest in prop::array::uniform32(any::<u8>()),
        ) {
            let mut bytes = Layout::without_fanout(sizes[0], sizes[1]).encode();
            bytes[17..25].copy_from_slice(&(sizes[2] % 20 * 32).to_le_bytes());
            bytes[25..27].copy_from_slice(&pieces);
            bytes[40..72].copy_from_slice(&rest);
            if let Ok(layout) = decode(&bytes) {
                prop_assert_eq!(layout.encode(), bytes);
            }
        }

        #[test]
        fn any_bytes_decode_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), marked: bool) {
            let mut bytes = bytes;
            if marked && bytes.len() >= Layout::SIZE {
                bytes[0] = 1;
                bytes[27..35].copy_from_slice(&PLAIN);
            }
            if let Ok(layout) = decode(&bytes) {
                prop_assert_eq!(&layout.encode()[..], &bytes[..Layout::SIZE]);
            }
        }
    }
}
