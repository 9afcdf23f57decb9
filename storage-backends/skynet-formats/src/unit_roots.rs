//! The roots of content's units, one sector each.

use super::profile::SectorSize;
use super::sector::{SectorHasher, SectorRoot};

/// Computes the roots of content's units while it arrives, with 32 bytes of memory for each unit.
#[derive(Clone, Debug)]
pub struct UnitRoots {
    hasher: SectorHasher,
    roots: Vec<SectorRoot>,
}

impl UnitRoots {
    /// Starts with empty content. Blobs are verified by units of [`SectorSize::STANDARD`].
    pub fn new(unit: SectorSize) -> Self {
        UnitRoots { hasher: SectorHasher::new(unit), roots: Vec::new() }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.hasher.update(rest);
            rest = &rest[taken..];
            if self.hasher.is_full() {
                self.roots.push(self.hasher.finish());
            }
        }
    }

    /// The roots of the complete units.
    pub fn complete(&self) -> &[SectorRoot] {
        &self.roots
    }

    /// The roots of all units. The last unit is filled up with zeros, and empty content has none.
    pub fn finish(mut self) -> Vec<SectorRoot> {
        if self.hasher.taken() > 0 {
            self.roots.push(self.hasher.finish());
        }
        self.roots
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sector::sector_root;
    use crate::sector::tests::noise;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn unit_roots_do_not_depend_on_how_the_content_comes(
            length in 0_usize..30_000, cuts in prop::collection::vec(0_usize..9000, 0..8),
        ) {
            let unit = SectorSize::new(4096).unwrap();
            let content = noise(length);
            let mut roots = UnitRoots::new(unit);
            let mut rest = &content[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                roots.update(now);
                rest = later;
            }
            roots.update(rest);
            let expected: Vec<_> = content.chunks(4096).map(|bytes| sector_root(unit, bytes)).collect();
            prop_assert_eq!(roots.finish(), expected);
        }
    }
}
