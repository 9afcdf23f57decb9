//! Sections of a skyfile with a fanout, each with the proofs that lead from the base sector's root to its bytes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use skynet_formats::layout::Layout;
use skynet_formats::sector::{LEAF_SIZE, SectorRoot};
use skynet_formats::skylink::Target;
use tokio::task::spawn_blocking;

use super::proofs::{Proofs, Provable};
use super::reader::SkyfileContent;
use super::sectors::Sectors;

impl SkyfileContent {
    /// The range of content with a fanout, cut at multiples of `section`, which divides a sector. Only one section is
    /// in memory, and each sector is hashed once for all sections with its bytes.
    pub(super) fn proven_sections(
        &self,
        proofs: &Arc<Proofs>,
        section: u64,
        range: Range<u64>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let (skyfile, proofs) = (self.clone(), Arc::clone(proofs));
        let start = (range.start, self.arrivals(range.clone()));
        stream::try_unfold(start, move |(first, mut arrivals)| {
            let (skyfile, proofs) = (skyfile.clone(), Arc::clone(&proofs));
            let end = range.end.min((first / section + 1) * section);
            async move {
                if first >= end {
                    return Ok(None);
                }
                if let Some(arrivals) = &mut arrivals {
                    arrivals.reach(end).await.map_err(io::Error::other)?;
                }
                let permit = Arc::clone(&proofs.permits).acquire_owned().await.map_err(io::Error::other)?;
                let making = spawn_blocking(move || {
                    // Even if the client has left, the sectors are in memory until the end.
                    let _permit = permit;
                    skyfile.proven_section(&proofs, first..end)
                });
                Ok(Some((making.await??, (end, arrivals))))
            }
        })
    }

    /// A section within one chunk. For each data piece it has the position of its root in the base sector (u32), then
    /// the leaves with that root and their proof. The piece's leaves of that range and their proof follow.
    fn proven_section(&self, proofs: &Proofs, range: Range<u64>) -> io::Result<Bytes> {
        let sectors = self.sectors();
        let chunk_size = u64::from(self.layout().data_pieces) * sectors.sector_size().bytes() as u64;
        let (chunk, start) = (range.start / chunk_size, range.start % chunk_size);
        let leaves = leaves_of_pieces(start..start + (range.end - range.start), self.layout().data_pieces);
        let (base_root, fanout) = match self.skylink().target() {
            Target::Sector { root, offset, .. } => (root, offset as usize + Layout::SIZE),
            Target::Entry(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let base = open(proofs, sectors, &base_root)?;
        let mut section = Vec::new();
        for piece in 0..u64::from(self.layout().data_pieces) {
            let index = (chunk * self.layout().chunk_roots() + piece) as usize;
            let place = fanout + index * SectorRoot::SIZE;
            let root = base.root_at(place)?;
            section.extend_from_slice(&u32::try_from(place).map_err(io::Error::other)?.to_le_bytes());
            base.append_proven(&aligned(place..place + SectorRoot::SIZE), &mut section)?;
            open(proofs, sectors, &root)?.append_proven(&leaves, &mut section)?;
        }
        Ok(Bytes::from(section))
    }
}

fn open(proofs: &Proofs, sectors: &Sectors, root: &SectorRoot) -> io::Result<Provable> {
    proofs.open(sectors, root)?.ok_or_else(|| {
        tracing::error!(sector.root = %root, "a sector of a skyfile is not here");
        io::ErrorKind::NotFound.into()
    })
}

/// The bytes of each data piece that contain these bytes of a chunk. Its segments go to the pieces in turn, so these
/// are whole rows.
fn leaves_of_pieces(chunk_bytes: Range<u64>, data_pieces: u8) -> Range<usize> {
    let row = LEAF_SIZE as u64 * u64::from(data_pieces);
    let rows = chunk_bytes.start / row..chunk_bytes.end.div_ceil(row);
    rows.start as usize * LEAF_SIZE..rows.end as usize * LEAF_SIZE
}

/// The whole leaves that contain these bytes.
pub(crate) fn aligned(bytes: Range<usize>) -> Range<usize> {
    bytes.start / LEAF_SIZE * LEAF_SIZE..bytes.end.next_multiple_of(LEAF_SIZE)
}
