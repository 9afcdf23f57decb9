//! A base sector made by a client, as in a backup of skyd.

use skynet_formats::base_sector::{self, Body};
use skynet_formats::layout::Layout;
use skynet_formats::metadata::Metadata;
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::{SectorRoot, sector_root};
use skynet_formats::skylink::{Skylink, Target};

use super::error::RestoreError;

/// Bytes before the base sector.
pub(crate) const HEADER_SIZE: usize = 92;

/// The header except the skylink: two texts and the length of the third, each after its length.
const HEADER: &[u8; HEADER_SIZE - SKYLINK_SIZE] =
    b"\x0f\0\0\0\0\0\0\0Skyfile Backup\n\x07\0\0\0\0\0\0\0v1.5.5\n\x2e\0\0\0\0\0\0\0";

const SKYLINK_SIZE: usize = 46;

/// A base sector whose skylink was computed here, and equals the one that the client expects.
#[derive(Debug)]
pub(crate) struct GivenBase {
    bytes: Vec<u8>,
    root: SectorRoot,
    skylink: Skylink,
    profile: Profile,
    /// The range of the fanout in the bytes; `None` if the content is in the base sector too.
    fanout: Option<std::ops::Range<usize>>,
    content_length: u64,
}

impl GivenBase {
    /// Checks a header and a base sector, which may end before the zeros that fill it. `profile` is used for base
    /// sectors without a fanout.
    pub(crate) fn check(
        header: &[u8; HEADER_SIZE],
        bytes: Vec<u8>,
        profile: Profile,
        max_metadata: usize,
    ) -> Result<Self, RestoreError> {
        let skylink = parse_header(header)?;
        let sector_size = profile.sector_size();
        let parts = base_sector::parse(&bytes, sector_size)?;
        if parts.metadata.len() > max_metadata {
            return Err(RestoreError::MetadataTooLarge { limit: max_metadata });
        }
        Metadata::parse(parts.metadata)?;
        let layout = parts.layout;
        let end = base_sector_end(&layout);
        let (profile, fanout, content_length) = match parts.body {
            Body::Content(_) => (profile, None, 0),
            Body::Fanout(_) => {
                let start = Layout::SIZE;
                let profile = Profile::new(sector_size, layout.data_pieces, layout.parity_pieces)?;
                (profile, Some(start..start + layout.fanout_size as usize), layout.file_size)
            }
        };
        let root = check_skylink(skylink, &bytes, end, sector_size)?;
        Ok(GivenBase { bytes, root, skylink, profile, fanout, content_length })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn root(&self) -> SectorRoot {
        self.root
    }

    pub(super) fn skylink(&self) -> Skylink {
        self.skylink
    }

    pub(super) fn profile(&self) -> Profile {
        self.profile
    }

    /// The roots that the content must have.
    pub(super) fn fanout(&self) -> Option<&[[u8; 32]]> {
        Some(self.bytes[self.fanout.clone()?].as_chunks().0)
    }

    /// Bytes of content that must follow.
    pub(crate) fn content_length(&self) -> u64 {
        self.content_length
    }
}

fn parse_header(header: &[u8; HEADER_SIZE]) -> Result<Skylink, RestoreError> {
    let skylink = header.strip_prefix(HEADER).ok_or(RestoreError::Header)?;
    let skylink = std::str::from_utf8(skylink).map_err(|_| RestoreError::Header)?;
    skylink.parse().map_err(|_| RestoreError::Header)
}

/// The end of the parts of a base sector. Parsing it has checked that they fit.
fn base_sector_end(layout: &Layout) -> u64 {
    let content = if layout.fanout_size == 0 { layout.file_size } else { 0 };
    Layout::SIZE as u64 + layout.fanout_size + layout.metadata_size + content
}

/// The root, if the skylink names the whole base sector at the beginning of a sector with that root.
fn check_skylink(skylink: Skylink, bytes: &[u8], end: u64, size: SectorSize) -> Result<SectorRoot, RestoreError> {
    let root = sector_root(size, bytes);
    match skylink.target() {
        Target::Sector { offset: 0, fetch_size, root: named } if named == root && fetch_size >= end => Ok(root),
        _ => Err(RestoreError::Skylink),
    }
}
