//! One reader of ranges. It waits for each unit, and takes it from memory if it is recent, else from the file.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use backends::UNIT;
use bytes::Bytes;
use futures_util::stream::{self, Stream};

use super::{Cold, Error, Step, task};

/// Most bytes sent at once.
const READ_SIZE: u64 = 256 * 1024;

/// The bytes of ranges, one after another, as they are verified. Dropping it stops fetches that only it needed.
#[derive(Debug)]
pub struct ColdRead {
    cold: Arc<Cold>,
    /// The rest of the current range.
    rest: Range<u64>,
    /// The ranges after it.
    following: VecDeque<Range<u64>>,
    reader: u64,
}

impl ColdRead {
    pub(super) fn new(cold: Arc<Cold>, ranges: Vec<Range<u64>>) -> Self {
        let reader = cold.change(|state| state.enter(0..0));
        let mut read = ColdRead { cold, rest: 0..0, following: ranges.into(), reader };
        read.begin_next_range();
        read
    }

    /// Advances to the next nonempty range when the current one is read, and requests its units. Further ranges are
    /// requested along with it while each begins at the end of the units before, or in the last of them. So one fetch
    /// brings all.
    fn begin_next_range(&mut self) {
        while self.rest.is_empty() {
            let Some(next) = self.following.pop_front() else { return };
            self.rest = next;
            let mut wanted = units(&self.rest);
            for range in self.following.iter().map(units) {
                if range.start + 1 < wanted.end || range.start > wanted.end {
                    break;
                }
                wanted.end = wanted.end.max(range.end);
            }
            self.cold.change(|state| state.want(self.reader, wanted));
        }
    }

    /// Waits for the first unit.
    pub(super) async fn first(&mut self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        self.wait_for(self.rest.start).await
    }

    /// The stream of bytes. An error cuts the connection.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        Box::pin(stream::try_unfold(self, ColdRead::next))
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let unit = self.rest.start / UNIT;
        self.wait_for(self.rest.start).await.map_err(io::Error::other)?;
        let end = ((unit + 1) * UNIT).min(self.rest.end).min(self.rest.start + READ_SIZE);
        let bytes = match self.cold.passing.copy(&(self.rest.start..end)) {
            Some(bytes) => bytes,
            None => self.read_file(end).await?,
        };
        self.rest.start += bytes.len() as u64;
        let next = self.rest.start / UNIT;
        if next != unit {
            self.cold.change(|state| state.advance(self.reader, next));
        }
        self.begin_next_range();
        Ok(Some((bytes, self)))
    }

    /// Bytes that are no longer in memory are in the file, or will be: wait for them.
    async fn read_file(&self, end: u64) -> io::Result<Bytes> {
        self.wait_for_file(self.rest.start / UNIT).await.map_err(io::Error::other)?;
        let (file, piece) = (Arc::clone(self.cold.staged.file()), self.rest.start..end);
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; (piece.end - piece.start) as usize];
            file.read_exact_at(&mut bytes, piece.start)?;
            io::Result::Ok(Bytes::from(bytes))
        });
        reading.await.map_err(io::Error::other)?
    }

    /// Waits until the byte at this position is verified, in memory or in the file.
    async fn wait_for(&self, position: u64) -> Result<(), Error> {
        self.wait(position / UNIT, || self.cold.passing.has(position)).await
    }

    /// Waits until a unit is in the file.
    async fn wait_for_file(&self, unit: u64) -> Result<(), Error> {
        self.wait(unit, || false).await
    }

    /// Waits for a unit, or until `over` is true.
    async fn wait(&self, unit: u64, over: impl Fn() -> bool + Send) -> Result<(), Error> {
        let mut changes = self.cold.changed.subscribe();
        let since = self.cold.units().now();
        loop {
            changes.mark_unchanged();
            if over() {
                return Ok(());
            }
            let step = self.cold.units().step(self.reader, unit, since);
            match step {
                Step::Here => return Ok(()),
                Step::Failed => return Err(Error::Unavailable),
                Step::Begin(number, _) => task::begin(&self.cold, number),
                Step::Wait => {}
            }
            // The sender lives as long as this reader.
            let _ = changes.changed().await;
        }
    }
}

/// The units that overlap a range.
fn units(range: &Range<u64>) -> Range<u64> {
    range.start / UNIT..range.end.div_ceil(UNIT)
}

impl Drop for ColdRead {
    fn drop(&mut self) {
        self.cold.change(|state| state.leave(self.reader));
    }
}
