//! What is to be kept: its digest, its length, and the roots that its parts can be checked by.

use std::ops::Range;
use std::sync::Arc;

use super::BackendError;
use crate::digest::{Algorithm, Digest};
use crate::skynet::sector::SectorRoot;

/// Content above this length is verified in units of it, by their Merkle roots; other content is verified whole.
pub const UNIT: u64 = 4 * 1024 * 1024;

/// The Merkle root of one unit: that of a Sia sector with the unit's bytes and zeros after them.
pub type UnitRoot = SectorRoot;

/// A piece of content by what it must be. Clones share the roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    digest: Digest,
    algorithm: Algorithm,
    length: u64,
    unit_roots: Option<Arc<[UnitRoot]>>,
}

/// The parts do not make content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Nobody here can compute the digest, so nothing could ever be checked.
    #[error("digests of the algorithm {0} cannot be computed")]
    UnknownAlgorithm(String),
    /// There must be one root for each unit begun.
    #[error("{found} unit roots for {length} bytes")]
    WrongNumberOfRoots {
        /// How long the content is.
        length: u64,
        /// How many roots came.
        found: u64,
    },
}

impl Content {
    /// Content of this digest and length.
    pub fn new(digest: Digest, length: u64) -> Result<Self, ContentError> {
        let unknown = || ContentError::UnknownAlgorithm(digest.algorithm_name().to_owned());
        let algorithm = digest.algorithm().ok_or_else(unknown)?;
        Ok(Content { digest, algorithm, length, unit_roots: None })
    }

    /// The same with the roots of its units, in order.
    pub fn with_unit_roots(self, roots: Arc<[UnitRoot]>) -> Result<Self, ContentError> {
        let found = roots.len() as u64;
        if found != self.units() {
            return Err(ContentError::WrongNumberOfRoots { length: self.length, found });
        }
        Ok(Content { unit_roots: Some(roots), ..self })
    }

    /// The digest that it was pushed under.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Of the digest.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The roots, if they are known. Content of up to [`UNIT`] bytes does without.
    pub fn unit_roots(&self) -> Option<&Arc<[UnitRoot]>> {
        self.unit_roots.as_ref()
    }

    /// How many units there are, the last of which may be shorter.
    pub fn units(&self) -> u64 {
        self.length.div_ceil(UNIT)
    }

    /// Says no to a range that does not lie within the content.
    pub fn check_range(&self, range: &Range<u64>) -> Result<(), BackendError> {
        if range.start <= range.end && range.end <= self.length {
            return Ok(());
        }
        Err(BackendError::OutOfRange { start: range.start, end: range.end, length: self.length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: UnitRoot = UnitRoot::from_bytes([0; 32]);

    fn content(length: u64) -> Content {
        Content::new(Digest::of(Algorithm::Sha256, b""), length).unwrap()
    }

    #[test]
    fn there_is_one_root_for_each_unit_begun() {
        for (length, units) in [(0, 0), (1, 1), (UNIT, 1), (UNIT + 1, 2), (3 * UNIT, 3)] {
            assert_eq!(content(length).units(), units);
            assert!(content(length).with_unit_roots(vec![ROOT; units as usize].into()).is_ok());
            let found = units + 1;
            let refused = content(length).with_unit_roots(vec![ROOT; found as usize].into());
            assert_eq!(refused, Err(ContentError::WrongNumberOfRoots { length, found }));
        }
    }

    #[test]
    fn foreign_digests_are_no_content() {
        let digest: Digest = "md5:aabb".parse().unwrap();
        assert_eq!(Content::new(digest, 1), Err(ContentError::UnknownAlgorithm("md5".into())));
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a range that ends before it begins is what is tested")]
    fn ranges_lie_within() {
        for good in [0..0, 0..10, 10..10, 3..4] {
            assert!(content(10).check_range(&good).is_ok(), "{good:?}");
        }
        for bad in [0..11, 11..11, 5..4, 0..u64::MAX] {
            assert!(matches!(content(10).check_range(&bad), Err(BackendError::OutOfRange { .. })), "{bad:?}");
        }
    }
}
