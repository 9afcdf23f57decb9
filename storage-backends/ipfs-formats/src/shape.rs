//! The shape of a file's tree: it follows from the length alone, so that no node can claim another.

use crate::{LEAF, MAX_LINKS};

/// Levels of nodes above the longest possible file.
const HIGHEST: u32 = 5;

/// Levels of nodes above the leaves of a file: 0 if one leaf is all of it.
pub fn height(length: u64) -> u32 {
    (0..HIGHEST).find(|&level| capacity(level) >= length).unwrap_or(HIGHEST)
}

/// Bytes of the file below a full node of this level; leaves are level 0.
pub fn capacity(level: u32) -> u64 {
    (MAX_LINKS as u64).saturating_pow(level).saturating_mul(LEAF)
}

/// The lengths of the parts of a node at this level above the leaves, with this many bytes of the file below it. All
/// are full but the last.
pub fn part_lengths(level: u32, length: u64) -> impl Iterator<Item = u64> {
    let full = capacity(level.saturating_sub(1));
    (0..length.div_ceil(full)).map(move |number| full.min(length - number * full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_1024_times_as_much_as_the_one_below() {
        let gib = 1024 * LEAF;
        for (length, expected) in [
            (0, 0),
            (1, 0),
            (LEAF, 0),
            (LEAF + 1, 1),
            (gib, 1),
            (gib + 1, 2),
            (1024 * gib, 2),
            (1024 * gib + 1, 3),
            (u64::MAX, 5),
        ] {
            assert_eq!(height(length), expected, "{length}");
        }
    }

    #[test]
    fn only_the_last_part_is_shorter() {
        let lengths = |level, length| part_lengths(level, length).collect::<Vec<_>>();
        assert_eq!(lengths(1, 2 * LEAF + 5), [LEAF, LEAF, 5]);
        assert_eq!(lengths(1, 2 * LEAF), [LEAF, LEAF]);
        assert_eq!(lengths(2, 1024 * LEAF + 1), [1024 * LEAF, 1]);
        assert_eq!(lengths(2, 7), [7]);
        assert_eq!(part_lengths(1, 1024 * LEAF).count(), MAX_LINKS);
    }
}
