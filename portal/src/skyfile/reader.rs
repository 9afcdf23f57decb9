//! An open skyfile: its parsed base sector, with any layout, made by any client.

use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use skynet_formats::layout::Layout;
use skynet_formats::metadata::Metadata;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::{Skylink, Target};

use super::arrivals::Arrivals;
use super::error::OpenError;
use super::parsed::{Parsed, ParsedMetadata};
use super::sectors::Sectors;
use super::source::{Place, Source, read};
use super::stream::SkyfileStream;

/// A skyfile. It stays readable as long as its sectors exist.
#[derive(Clone, Debug)]
pub(crate) struct Skyfile {
    content: SkyfileContent,
    parsed: Arc<Parsed>,
}

/// A skyfile without its metadata, for answers that may take hours to send.
#[derive(Clone, Debug)]
pub(crate) struct SkyfileContent {
    skylink: Skylink,
    layout: Layout,
    source: Arc<Source>,
}

impl Skyfile {
    /// Opens the skyfile of a v1 skylink; `None` if it is missing. Blocks.
    ///
    /// The base sector is checked against the range of the skylink before memory is allocated for it. The metadata is
    /// parsed unless it is known.
    pub(super) fn open(sectors: &Sectors, known: &ParsedMetadata, skylink: Skylink) -> Result<Option<Self>, OpenError> {
        let Target::Sector { offset, fetch_size, root } = skylink.target() else { return Err(OpenError::NotV1) };
        let Some((sector, sectors)) = sectors.open_base(&root)? else { return Ok(None) };
        let size = sectors.sector_size();
        // A skylink of a smaller sector names bytes in steps that may be larger than the sector.
        let available = fetch_size.min((size.bytes() as u64).saturating_sub(offset));
        let layout = Layout::decode(&read(&sector, offset, available.min(Layout::SIZE as u64))?, size)?;
        let head = check_bounds(&layout, available)?;
        let fanout = offset + Layout::SIZE as u64;
        let parsed = known.get(skylink, layout.metadata_size, || {
            Ok::<_, OpenError>(read(&sector, fanout + layout.fanout_size, layout.metadata_size)?)
        })?;
        if parsed.metadata.content_length() > layout.file_size {
            return Err(OpenError::OutOfBounds);
        }
        let roots = read(&sector, fanout, layout.fanout_size)?;
        let place = if roots.is_empty() {
            Place::Base { sector, offset: offset + head }
        } else {
            let (data_pieces, chunk_roots) = (usize::from(layout.data_pieces), layout.chunk_roots() as usize);
            let content = sectors.content().filter(|content| content.length == layout.file_size);
            Place::Fanout { roots, data_pieces, chunk_roots, content }
        };
        let source = Arc::new(Source::new(sectors, layout.file_size, place));
        Ok(Some(Skyfile { content: SkyfileContent { skylink, layout, source }, parsed }))
    }

    /// The skyfile without its metadata.
    pub(crate) fn content(&self) -> &SkyfileContent {
        &self.content
    }

    /// The JSON of the metadata, as uploaded.
    pub(crate) fn raw_metadata(&self) -> &Bytes {
        &self.parsed.raw
    }

    /// The metadata. It is valid, and its subfiles lie within the content.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.parsed.metadata
    }

    /// The number of owners of the metadata.
    #[cfg(test)]
    pub(super) fn metadata_owners(&self) -> usize {
        Arc::strong_count(&self.parsed)
    }
}

impl Deref for Skyfile {
    type Target = SkyfileContent;

    fn deref(&self) -> &SkyfileContent {
        &self.content
    }
}

impl SkyfileContent {
    /// The skylink with which it was opened.
    pub(crate) fn skylink(&self) -> Skylink {
        self.skylink
    }

    /// The layout in its base sector.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Length of the content in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.layout.file_size
    }

    pub(super) fn sectors(&self) -> &Sectors {
        &self.source.sectors
    }

    /// The roots of all its sectors: the base sector, then those of its content in order.
    pub(crate) fn roots(&self) -> impl Iterator<Item = SectorRoot> {
        let base = match self.skylink.target() {
            Target::Sector { root, .. } => Some(root),
            Target::Entry(_) => None,
        };
        base.into_iter().chain(self.source.data_roots())
    }

    /// Holds its sectors, including those still to be fetched, as long as this or a stream of it is open; `false` if
    /// one of them is missing.
    pub(super) fn hold(&self) -> io::Result<bool> {
        let Some(sectors) = self.source.sectors.store() else { return Ok(true) };
        let mut held = sectors.hold();
        // Held before the check: a sector swept after the check would be missed.
        self.roots().for_each(|root| held.add(root));
        self.source.keep(held);
        for root in self.roots() {
            if !sectors.contains(&root)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// True if some of its sectors may have to be fetched first.
    pub(crate) fn comes_from_peers(&self) -> bool {
        matches!(self.source.sectors, Sectors::Fetched(..))
    }

    /// Waits until all of its sectors are local.
    pub(crate) async fn complete(&self) -> Result<(), OpenError> {
        let all = 0..self.size();
        match self.arrivals(all.clone()) {
            Some(mut arrivals) => Ok(arrivals.reach(all.end).await?),
            None => Ok(()),
        }
    }

    /// The sectors of this part of the content that may have to be fetched; `None` if all are local.
    pub(super) fn arrivals(&self, range: Range<u64>) -> Option<Arrivals> {
        Arrivals::of(&self.source, range)
    }

    /// The roots of the data pieces of each chunk.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Vec<SectorRoot>> {
        let pieces = usize::from(self.layout.data_pieces.max(1));
        let mut roots = self.source.data_roots();
        std::iter::from_fn(move || {
            Some(roots.by_ref().take(pieces).collect::<Vec<_>>()).filter(|chunk| !chunk.is_empty())
        })
    }

    /// Part of the content. A range that reaches beyond it ends with an error, as does a missing sector.
    pub(crate) fn stream(&self, first: u64, length: u64) -> SkyfileStream {
        SkyfileStream::new(Arc::clone(&self.source), first, length)
    }
}

/// The number of bytes before the content, if all parts of the base sector lie within the bytes named by the skylink.
fn check_bounds(layout: &Layout, available: u64) -> Result<u64, OpenError> {
    let head =
        (Layout::SIZE as u64).checked_add(layout.fanout_size).and_then(|sum| sum.checked_add(layout.metadata_size));
    let content = if layout.fanout_size == 0 { layout.file_size } else { 0 };
    match head.and_then(|head| head.checked_add(content)) {
        Some(end) if end <= available => Ok(end - content),
        _ => Err(OpenError::OutOfBounds),
    }
}
