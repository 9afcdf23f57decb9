//! Base sectors: layout, fanout, metadata and small content, one after the other in the sector that a skylink names.

use super::layout::{Layout, LayoutError};
use super::profile::{Profile, SectorSize};
use super::sector::{SectorRoot, sector_root};
use super::skylink::Skylink;

/// A base sector made here. Its bytes are those before the zeros that fill the sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSector {
    bytes: Vec<u8>,
    root: SectorRoot,
    skylink: Skylink,
}

/// The parts make no base sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Layout, metadata and content are more than a sector.
    #[error("{needed} bytes do not fit a base sector of {sector_size}")]
    ContentTooLarge {
        /// Bytes of all parts.
        needed: u64,
        /// Bytes of the sector.
        sector_size: usize,
    },
    /// The list of roots is longer than the base sector. skyd moves it to further sectors then; we do not.
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
    /// Not the number of roots that the content's length demands.
    #[error("a fanout of {found} roots where {expected} belong")]
    WrongFanout {
        /// As given.
        found: usize,
        /// For that content.
        expected: u64,
    },
    /// Empty content has no fanout.
    #[error("a fanout of empty content")]
    EmptyFanout,
}

impl BaseSector {
    /// A skyfile whose content stands in the base sector.
    pub fn small(sector_size: SectorSize, metadata: &[u8], content: &[u8]) -> Result<Self, AssembleError> {
        let layout = Layout::without_fanout(content.len() as u64, metadata.len() as u64);
        let bytes = [&layout.encode()[..], metadata, content].concat();
        BaseSector::new(sector_size, bytes)
    }

    /// A skyfile whose content stands in sectors of their own, whose roots are the fanout.
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

    /// What stands in it before the zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Root of the whole sector.
    pub fn root(&self) -> SectorRoot {
        self.root
    }

    /// The v1 skylink of the skyfile.
    pub fn skylink(&self) -> Skylink {
        self.skylink
    }
}

/// The parts of a base sector that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseSectorParts<'a> {
    /// How the skyfile is laid out.
    pub layout: Layout,
    /// The metadata as it was written; nothing says yet that it is metadata.
    pub metadata: &'a [u8],
    /// Where the content is.
    pub body: Body<'a>,
}

/// Where the content of a skyfile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// In the base sector: these bytes.
    Content(&'a [u8]),
    /// In the sectors of these roots, chunk by chunk as the layout says.
    Fanout(&'a [[u8; 32]]),
}

/// The bytes are no base sector that we can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseSectorError {
    /// The layout is at fault.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// More bytes than the sector has.
    #[error("more bytes than a sector of {0} has")]
    LongerThanSector(usize),
    /// The parts are longer than the bytes at hand, though they would fit a sector.
    #[error("the base sector is cut short: its parts need {needed} bytes, {found} are at hand")]
    Incomplete {
        /// Bytes of all parts.
        needed: u64,
        /// Bytes given.
        found: usize,
    },
    /// Fanout and metadata stand in further sectors.
    #[error("skyfiles whose fanout is larger than a base sector are not supported")]
    ExtendedFanout,
    /// Without a fanout, more content than a sector holds.
    #[error("a skyfile without fanout claims {0} bytes of content")]
    ImpossibleContent(u64),
}

/// Takes a base sector apart; it may be given without the zeros at its end, or only as far as its skylink's fetch size.
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
        // The layout's fanout size is a multiple of a root's, or it was refused.
        (roots, _) => Body::Fanout(roots),
    };
    Ok(BaseSectorParts { layout, metadata, body })
}

#[cfg(test)]
mod tests;
