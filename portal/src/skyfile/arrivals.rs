//! The sectors of part of a skyfile that are fetched from peers while it is read, a little ahead of the reader.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::sectors::Sectors;
use super::source::Source;
use crate::peers::{Arrival, Fetch, FetchError};

/// Sectors in flight beyond those being read. They begin after the first sector has arrived.
const AHEAD: usize = 2;

/// Sectors in the order of the content. Nothing is fetched before the first wait. A drop ends fetches that no other
/// reader waits for.
#[derive(Debug)]
pub(super) struct Arrivals {
    source: Arc<Source>,
    fetch: Arc<Fetch>,
    /// Bytes of a chunk.
    chunk_size: u64,
    /// Sectors of a chunk.
    pieces: u64,
    /// The missing sectors, by their position in the content.
    missing: Range<u64>,
    /// The sectors in flight, from the first missing one on.
    coming: VecDeque<Arrival>,
}

impl Arrivals {
    /// The missing sectors of a range of the content; `None` if none is missing.
    pub(super) fn of(source: &Arc<Source>, range: Range<u64>) -> Option<Self> {
        let Sectors::Fetched(_, fetch) = &source.sectors else { return None };
        let (chunk_size, pieces) = source.chunk().map(|(size, pieces)| (size as u64, pieces as u64))?;
        let end = range.end.min(source.size());
        let missing = range.start.min(end) / chunk_size * pieces..end.div_ceil(chunk_size) * pieces;
        let (source, fetch) = (Arc::clone(source), Arc::clone(fetch));
        Some(Arrivals { source, fetch, chunk_size, pieces, missing, coming: VecDeque::new() })
    }

    /// True if all content before `end` has arrived.
    pub(super) fn has_reached(&self, end: u64) -> bool {
        self.missing.start >= self.missing.end.min(end.div_ceil(self.chunk_size) * self.pieces)
    }

    /// Waits for all content of the range before `end`.
    pub(super) async fn reach(&mut self, end: u64) -> Result<(), Arc<FetchError>> {
        while !self.has_reached(end) {
            self.begin(1);
            if let Some(next) = self.coming.front() {
                next.wait().await?;
            }
            self.coming.pop_front();
            self.missing.start += 1;
            self.begin(AHEAD);
        }
        Ok(())
    }

    /// Begins sectors until `count` are in flight, or none is left.
    fn begin(&mut self, count: usize) {
        let begun = self.missing.start + self.coming.len() as u64;
        for piece in (begun..self.missing.end).take(count.saturating_sub(self.coming.len())) {
            let Some(root) = self.source.data_root(piece) else { return };
            self.coming.push_back(self.fetch.sector(root));
        }
    }
}
