//! The description of content: its digest, its length, and the roots and hashes of its parts.

use std::ops::Range;
use std::sync::Arc;

use content_store::digest::{Algorithm, Digest};
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::{SectorRoot, sector_root};

use super::BackendError;

/// Content above this length is verified in units of it, by their Merkle roots; other content is verified whole.
pub const UNIT: u64 = 4 * 1024 * 1024;

/// The Merkle root of one unit: that of a Sia sector with the unit's bytes and zeros after them.
pub type UnitRoot = SectorRoot;

/// The BLAKE3 hash of one unit. It proves as much as the root in a fifth of the time, but no address commits to it. It
/// is valid only if computed from the same bytes as the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitHash([u8; UnitHash::SIZE]);

impl UnitHash {
    /// Its length in bytes.
    pub const SIZE: usize = blake3::OUT_LEN;

    /// The hash of these bytes of a unit.
    pub fn of(unit: &[u8]) -> Self {
        UnitHash(*blake3::hash(unit).as_bytes())
    }

    /// A known hash.
    pub const fn from_bytes(bytes: [u8; UnitHash::SIZE]) -> Self {
        UnitHash(bytes)
    }

    /// As bytes.
    pub const fn as_bytes(&self) -> &[u8; UnitHash::SIZE] {
        &self.0
    }
}

/// The root, and perhaps the hash, that the bytes of one unit must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitCheck {
    hash: Option<UnitHash>,
    root: UnitRoot,
}

impl UnitCheck {
    /// True if these bytes have the hash, if it is known, or the root. It takes a millisecond or more for a whole unit.
    pub fn accepts(self, unit: &[u8]) -> bool {
        // Bytes with another hash may still be right, if the hashes are wrong. Then the roots decide.
        self.hash.is_some_and(|hash| UnitHash::of(unit) == hash) || sector_root(SectorSize::STANDARD, unit) == self.root
    }
}

/// A piece of content, described by what its bytes must match. Clones share the roots and hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    digest: Digest,
    algorithm: Algorithm,
    length: u64,
    unit_roots: Option<Arc<[UnitRoot]>>,
    unit_hashes: Option<Arc<[UnitHash]>>,
}

/// The parts do not describe content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The digest's algorithm is unsupported, so the content could never be verified.
    #[error("digests of the algorithm {0} cannot be computed")]
    UnknownAlgorithm(String),
    /// The number of roots or hashes does not fit the number of units.
    #[error("{found} unit roots or hashes for {length} bytes")]
    WrongNumber {
        /// Length of the content in bytes.
        length: u64,
        /// The number of given roots or hashes.
        found: u64,
    },
}

impl Content {
    /// Content of this digest and length.
    pub fn new(digest: Digest, length: u64) -> Result<Self, ContentError> {
        let unknown = || ContentError::UnknownAlgorithm(digest.algorithm_name().to_owned());
        let algorithm = digest.algorithm().ok_or_else(unknown)?;
        Ok(Content { digest, algorithm, length, unit_roots: None, unit_hashes: None })
    }

    /// This content with the roots of its units, in order.
    pub fn with_unit_roots(self, roots: Arc<[UnitRoot]>) -> Result<Self, ContentError> {
        self.check_number(roots.len())?;
        Ok(Content { unit_roots: Some(roots), ..self })
    }

    /// This content with the hashes of its units, in order. They must have been computed from the same bytes as the
    /// roots, because bytes with the right hash are not checked against the root.
    pub fn with_unit_hashes(self, hashes: Arc<[UnitHash]>) -> Result<Self, ContentError> {
        self.check_number(hashes.len())?;
        Ok(Content { unit_hashes: Some(hashes), ..self })
    }

    fn check_number(&self, found: usize) -> Result<(), ContentError> {
        let (found, length) = (found as u64, self.length);
        if found == self.units() { Ok(()) } else { Err(ContentError::WrongNumber { length, found }) }
    }

    /// The digest that it was pushed under.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The algorithm of the digest.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The roots, if they are known. Content of up to [`UNIT`] bytes needs none.
    pub fn unit_roots(&self) -> Option<&Arc<[UnitRoot]>> {
        self.unit_roots.as_ref()
    }

    /// The check for a unit; `None` if the roots are not known, or there is no such unit.
    pub fn unit_check(&self, number: u64) -> Option<UnitCheck> {
        let number = usize::try_from(number).ok()?;
        let hash = self.unit_hashes.as_ref().and_then(|hashes| hashes.get(number)).copied();
        self.unit_roots.as_ref()?.get(number).map(|root| UnitCheck { hash, root: *root })
    }

    /// The number of units; the last one may be shorter.
    pub fn units(&self) -> u64 {
        self.length.div_ceil(UNIT)
    }

    /// Refuses a range that does not lie within the content.
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
    const HASH: UnitHash = UnitHash::from_bytes([0; 32]);

    fn content(length: u64) -> Content {
        Content::new(Digest::of(Algorithm::Sha256, b""), length).unwrap()
    }

    #[test]
    fn there_is_one_root_for_each_unit_begun() {
        for (length, units) in [(0, 0), (1, 1), (UNIT, 1), (UNIT + 1, 2), (3 * UNIT, 3)] {
            assert_eq!(content(length).units(), units);
            assert!(content(length).with_unit_roots(vec![ROOT; units as usize].into()).is_ok());
            assert!(content(length).with_unit_hashes(vec![HASH; units as usize].into()).is_ok());
            let found = units + 1;
            let refused = Err(ContentError::WrongNumber { length, found });
            assert_eq!(content(length).with_unit_roots(vec![ROOT; found as usize].into()), refused);
            assert_eq!(content(length).with_unit_hashes(vec![HASH; found as usize].into()), refused);
        }
    }

    #[test]
    fn a_unit_has_its_hash_or_its_root() {
        let units = [vec![7; UNIT as usize], vec![8; 10]];
        let roots: Vec<_> = units.iter().map(|unit| sector_root(SectorSize::STANDARD, unit)).collect();
        let hashes: Vec<_> = units.iter().map(|unit| UnitHash::of(unit)).collect();
        let bare = content(UNIT + 10);
        assert_eq!(bare.clone().with_unit_hashes(hashes.clone().into()).unwrap().unit_check(0), None);
        let rooted = bare.clone().with_unit_roots(roots.into()).unwrap();
        let hashed = rooted.clone().with_unit_hashes(hashes.clone().into()).unwrap();
        let misled = rooted.clone().with_unit_hashes(vec![HASH; 2].into()).unwrap();
        for content in [&rooted, &hashed, &misled] {
            for (number, unit) in (0..).zip(&units) {
                let check = content.unit_check(number).unwrap();
                assert!(check.accepts(unit), "unit {number} of {content:?}");
                assert!(!check.accepts(&units[1 - number as usize]) && !check.accepts(b""), "{content:?}");
            }
            assert_eq!(content.unit_check(2), None);
        }
        let hashes_alone = bare.with_unit_roots(vec![ROOT; 2].into()).unwrap().with_unit_hashes(hashes.into()).unwrap();
        assert!(hashes_alone.unit_check(0).unwrap().accepts(&units[0]), "its root was not computed");
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
