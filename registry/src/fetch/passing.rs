//! Keeps recently verified pieces in memory, so that readers beside a fetch need not wait for the disk.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Most pieces kept, each at most a unit: one is being sent, and two are being written.
pub(super) const KEPT: usize = 3;

/// The last pieces of the content, each with its offset. Earlier pieces are in the file, or will be soon.
#[derive(Debug, Default)]
pub(super) struct Passing(Mutex<VecDeque<(u64, Bytes)>>);

impl Passing {
    /// Adds a verified piece, and drops the oldest above the limit.
    pub(super) fn keep(&self, offset: u64, piece: Bytes) {
        let mut pieces = self.lock();
        pieces.truncate(KEPT - 1);
        pieces.push_front((offset, piece));
    }

    /// Copies the start of a range, as far as one piece has it. A slice would keep the whole piece in memory until a
    /// slow client has read it.
    pub(super) fn copy(&self, range: &Range<u64>) -> Option<Bytes> {
        let piece = {
            let pieces = self.lock();
            let has =
                |(offset, piece): &&(u64, Bytes)| *offset <= range.start && range.start < offset + piece.len() as u64;
            let (offset, piece) = pieces.iter().find(has)?;
            let end = range.end.min(offset + piece.len() as u64);
            piece.slice((range.start - offset) as usize..(end - offset) as usize)
        };
        Some(Bytes::copy_from_slice(&piece))
    }

    /// True if the byte at this position is in memory.
    pub(super) fn has(&self, position: u64) -> bool {
        self.lock().iter().any(|(offset, piece)| (*offset..offset + piece.len() as u64).contains(&position))
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Bytes)>> {
        // Changes are complete before any code can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pieces_are_there_and_no_others() {
        let passing = Passing::default();
        for number in 0..4_u8 {
            passing.keep(u64::from(number) * 10, vec![number; 10].into());
        }
        assert!(!passing.has(9) && passing.has(10) && passing.has(39) && !passing.has(40));
        assert_eq!(passing.copy(&(5..12)), None, "its beginning is gone");
        assert_eq!(passing.copy(&(15..22)).unwrap(), [1; 5][..], "one piece at a time");
        assert_eq!(passing.copy(&(32..34)).unwrap(), [3; 2][..]);
        passing.forget();
        assert!(passing.copy(&(32..34)).is_none());
    }
}
