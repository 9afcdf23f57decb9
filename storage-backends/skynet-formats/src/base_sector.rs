//! Base sectors: layout, fanout, metadata and small content, one after the other in the sector named by a skylink.

use super::layout::{Layout, LayoutError};
use super::profile::{Profile, SectorSize};
use super::sector::{SectorRoot, sector_root};
use super::skylink::Skylink;

/// A base sector made here, without the zeros that fill the sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSector {
    bytes: Vec<u8>,
    root: SectorRoot,
    skylink: Skylink,
}

/// The parts do not make a base sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Layout, metadata and content are longer than a sector.
    #[error("{needed} bytes do not fit a base sector of {sector_size}")]
    ContentTooLarge {
        /// Bytes of all parts.
        needed: u64,
        /// Bytes of the sector.
        sector_size: usize,
    },
    /// The list of roots is longer than the base sector. skyd would move it to further sectors; that is not supported.
    #[error(
        "{file_size} bytes are too many for one skyfile: their fanout needs {needed} bytes of a base sector of {sector_size}"
    )]
    FanoutTooLarge {
        /// Bytes of the content.
        file_size: u64,
        /// Bytes of all parts.
        needed: u64,
        /// Bytes of the sector.
        sector_size: usize,
    },
    /// The number of roots does not fit the content's length.
    #[error("a fanout of {found} roots where {expected} belong")]
    WrongFanout {
        /// The number of given roots.
        found: usize,
        /// The number of roots for that content.
        expected: u64,
    },
    /// Empty content has no fanout.
    #[error("a fanout of empty content")]
    EmptyFanout,
}

impl BaseSector {
    /// A skyfile with its content in the base sector.
    pub fn small(sector_size: SectorSize, metadata: &[u8], content: &[u8]) -> Result<Self, AssembleError> {
        let layout = Layout::without_fanout(content.len() as u64, metadata.len() as u64);
        let bytes = [&layout.encode()[..], metadata, content].concat();
        BaseSector::new(sector_size, bytes)
    }

    /// A skyfile with its content in sectors of their own; their roots are the fanout.
    pub fn large(
        profile: Profile,
        file_size: u64,
        metadata: &[u8],
        fanout: &[SectorRoot],
    ) -> Result<Self, AssembleError> {
        let layout = Layout {
            fanout_size: (fanout.len() * SectorRoot::SIZE) as u64,
            data_pieces: profile.data_pieces(),
            parity_pieces: profile.parity_pieces(),
            ..Layout::without_fanout(file_size, metadata.len() as u64)
        };
        let sector_size = profile.sector_size();
        let expected = layout.chunks(sector_size).saturating_mul(layout.chunk_roots());
        let needed =
            expected.saturating_mul(SectorRoot::SIZE as u64).saturating_add((Layout::SIZE + metadata.len()) as u64);
        if expected == 0 {
            return Err(AssembleError::EmptyFanout);
        }
        if needed > sector_size.bytes() as u64 {
            return Err(AssembleError::FanoutTooLarge { file_size, needed, sector_size: sector_size.bytes() });
        }
        if fanout.len() as u64 != expected {
            return Err(AssembleError::WrongFanout { found: fanout.len(), expected });
        }
        let mut bytes = Vec::with_capacity(needed as usize);
        bytes.extend_from_slice(&layout.encode());
        bytes.extend(fanout.iter().flat_map(SectorRoot::as_bytes));
        bytes.extend_from_slice(metadata);
        BaseSector::new(sector_size, bytes)
    }

    fn new(sector_size: SectorSize, bytes: Vec<u8>) -> Result<Self, AssembleError> {
        let needed = bytes.len() as u64;
        let too_large = AssembleError::ContentTooLarge { needed, sector_size: sector_size.bytes() };
        if bytes.len() > sector_size.bytes() {
            return Err(too_large);
        }
        let root = sector_root(sector_size, &bytes);
        let skylink = Skylink::v1(root, 0, needed).map_err(|_| too_large)?;
        Ok(BaseSector { bytes, root, skylink })
    }

    /// The bytes of the sector before the zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the sector before the zeros, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The root of the whole sector.
    pub fn root(&self) -> SectorRoot {
        self.root
    }

    /// The v1 skylink of the skyfile.
    pub fn skylink(&self) -> Skylink {
        self.skylink
    }
}

/// The parts of a foreign base sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseSectorParts<'a> {
    /// The layout of the skyfile.
    pub layout: Layout,
    /// The metadata bytes, not yet checked to be metadata.
    pub metadata: &'a [u8],
    /// The location of the content.
    pub body: Body<'a>,
}

/// The location of a skyfile's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// In the base sector: these bytes.
    Content(&'a [u8]),
    /// In the sectors with these roots, chunk by chunk as in the layout.
    Fanout(&'a [[u8; 32]]),
}

/// The bytes are not a supported base sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseSectorError {
    /// The layout is invalid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// There are more bytes than the sector has.
    #[error("more bytes than a sector of {0} has")]
    LongerThanSector(usize),
    /// The parts are longer than the given bytes, though they would fit a sector.
    #[error("the base sector is cut short: its parts need {needed} bytes, {found} are at hand")]
    Incomplete {
        /// Bytes of all parts.
        needed: u64,
        /// Bytes given.
        found: usize,
    },
    /// Fanout and metadata are in further sectors.
    #[error("skyfiles whose fanout is larger than a base sector are not supported")]
    ExtendedFanout,
    /// There is no fanout, but more content than a sector can have.
    #[error("a skyfile without fanout claims {0} bytes of content")]
    ImpossibleContent(u64),
}

/// Splits a base sector into its parts. It may be given without the zeros at its end, or only up to the fetch size of
/// its skylink.
pub fn parse(bytes: &[u8], sector_size: SectorSize) -> Result<BaseSectorParts<'_>, BaseSectorError> {
    if bytes.len() > sector_size.bytes() {
        return Err(BaseSectorError::LongerThanSector(sector_size.bytes()));
    }
    let layout = Layout::decode(bytes, sector_size)?;
    let sector = sector_size.bytes() as u64;
    let head = (Layout::SIZE as u64).saturating_add(layout.fanout_size).saturating_add(layout.metadata_size);
    if head > sector {
        return Err(BaseSectorError::ExtendedFanout);
    }
    let content_size = if layout.fanout_size == 0 { layout.file_size } else { 0 };
    let needed = head.saturating_add(content_size);
    if needed > sector {
        return Err(BaseSectorError::ImpossibleContent(layout.file_size));
    }
    let rest = bytes.get(Layout::SIZE..needed as usize);
    let rest = rest.ok_or(BaseSectorError::Incomplete { needed, found: bytes.len() })?;
    let (fanout, rest) = rest.split_at(layout.fanout_size as usize);
    let (metadata, content) = rest.split_at(layout.metadata_size as usize);
    let body = match fanout.as_chunks() {
        ([], _) => Body::Content(content),
        // The fanout size in the layout is a multiple of a root's size, or it was refused.
        (roots, _) => Body::Fanout(roots),
    };
    Ok(BaseSectorParts { layout, metadata, body })
}

#[cfg(test)]
mod tests;
