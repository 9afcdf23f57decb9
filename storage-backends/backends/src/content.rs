//! The description of content: its digest, its length, and what proves single parts of it.

use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use content_store::digest::{Algorithm, Digest};

use super::BackendError;

/// Content above this length is verified in units of it; other content is verified whole.
pub const UNIT: u64 = 4 * 1024 * 1024;

/// What proves single units of one piece of content.
pub trait UnitProof: Any + Debug + Send + Sync {
    /// The number of units that it proves.
    fn units(&self) -> u64;

    /// True if these are the bytes of the unit with this number. It takes a millisecond or more for a whole unit.
    fn accepts(&self, number: u64, unit: &[u8]) -> bool;
}

/// The BLAKE3 hash of one unit. No address commits to it, so it is valid only for bytes that were checked against a
/// digest or an address when it was computed.
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

/// The hashes of all units, in order: the proof for any backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitHashes(Arc<[UnitHash]>);

impl UnitHashes {
    /// The hashes of the units of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        UnitHashes(bytes.chunks(UNIT as usize).map(UnitHash::of).collect())
    }
}

impl From<Arc<[UnitHash]>> for UnitHashes {
    fn from(hashes: Arc<[UnitHash]>) -> Self {
        UnitHashes(hashes)
    }
}

impl UnitProof for UnitHashes {
    fn units(&self) -> u64 {
        self.0.len() as u64
    }

    fn accepts(&self, number: u64, unit: &[u8]) -> bool {
        let hash = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        hash.is_some_and(|hash| *hash == UnitHash::of(unit))
    }
}

/// The check of the bytes of one unit.
#[derive(Clone, Debug)]
pub struct UnitCheck {
    proofs: Vec<Arc<dyn UnitProof>>,
    number: u64,
}

impl UnitCheck {
    /// True if some proof accepts these bytes. It takes a millisecond or more for a whole unit.
    pub fn accepts(&self, unit: &[u8]) -> bool {
        // Bytes that one proof refuses may still be right, if that proof is wrong. Then another one decides.
        self.proofs.iter().rev().any(|proof| proof.accepts(self.number, unit))
    }
}

/// A piece of content, described by what its bytes must match. Clones share the proofs.
#[derive(Clone, Debug)]
pub struct Content {
    digest: Digest,
    algorithm: Algorithm,
    length: u64,
    proofs: Vec<Arc<dyn UnitProof>>,
}

/// The parts do not describe content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The digest's algorithm is unsupported, so the content could never be verified.
    #[error("digests of the algorithm {0} cannot be computed")]
    UnknownAlgorithm(String),
    /// The proof is of another number of units.
    #[error("a proof of {found} units for {length} bytes")]
    WrongNumber {
        /// Length of the content in bytes.
        length: u64,
        /// The number of units that the proof is of.
        found: u64,
    },
}

impl Content {
    /// Content of this digest and length.
    pub fn new(digest: Digest, length: u64) -> Result<Self, ContentError> {
        let unknown = || ContentError::UnknownAlgorithm(digest.algorithm_name().to_owned());
        let algorithm = digest.algorithm().ok_or_else(unknown)?;
        Ok(Content { digest, algorithm, length, proofs: Vec::new() })
    }

    /// This content with a proof of its units. Bytes that one of several proofs accepts are not checked against the
    /// others; the last one added is asked first.
    pub fn with_proof(mut self, proof: Arc<dyn UnitProof>) -> Result<Self, ContentError> {
        let (found, length) = (proof.units(), self.length);
        if found != self.units() {
            return Err(ContentError::WrongNumber { length, found });
        }
        self.proofs.push(proof);
        Ok(self)
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

    /// True if single units can be verified. Content of up to [`UNIT`] bytes needs no proof for that.
    pub fn has_proof(&self) -> bool {
        !self.proofs.is_empty()
    }

    /// The proof of this type, for a backend that needs its own kind.
    pub fn proof<T: UnitProof>(&self) -> Option<&T> {
        self.proofs.iter().find_map(|proof| (&**proof as &dyn Any).downcast_ref())
    }

    /// The check for a unit; `None` without a proof, or if there is no such unit.
    pub fn unit_check(&self, number: u64) -> Option<UnitCheck> {
        let checkable = self.has_proof() && number < self.units();
        checkable.then(|| UnitCheck { proofs: self.proofs.clone(), number })
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
    use crate::skynet::SectorRoots;

    const HASH: UnitHash = UnitHash::from_bytes([0; 32]);

    fn content(length: u64) -> Content {
        Content::new(Digest::of(Algorithm::Sha256, b""), length).unwrap()
    }

    fn hashes(units: u64) -> Arc<dyn UnitProof> {
        Arc::new(UnitHashes(vec![HASH; units as usize].into()))
    }

    #[test]
    fn there_is_one_hash_for_each_unit_begun() {
        for (length, units) in [(0, 0), (1, 1), (UNIT, 1), (UNIT + 1, 2), (3 * UNIT, 3)] {
            assert_eq!(content(length).units(), units);
            assert!(content(length).with_proof(hashes(units)).is_ok());
            let found = units + 1;
            let refused = content(length).with_proof(hashes(found)).unwrap_err();
            assert_eq!(refused, ContentError::WrongNumber { length, found });
        }
    }

    #[test]
    fn a_unit_needs_one_of_the_proofs() {
        let units = [vec![7; UNIT as usize], vec![8; 10]];
        let roots: Arc<dyn UnitProof> = Arc::new(SectorRoots::of_bytes(&units.concat()));
        let right: Arc<dyn UnitProof> = Arc::new(UnitHashes::of(&units.concat()));
        let bare = content(UNIT + 10);
        assert!(bare.unit_check(0).is_none() && !bare.has_proof());
        let rooted = bare.clone().with_proof(Arc::clone(&roots)).unwrap();
        let hashed = bare.clone().with_proof(Arc::clone(&right)).unwrap();
        let both = rooted.clone().with_proof(right).unwrap();
        let misled = rooted.clone().with_proof(hashes(2)).unwrap();
        for content in [&rooted, &hashed, &both, &misled] {
            for (number, unit) in (0..).zip(&units) {
                let check = content.unit_check(number).unwrap();
                assert!(check.accepts(unit), "unit {number} of {content:?}");
                assert!(!check.accepts(&units[1 - number as usize]) && !check.accepts(b""), "{content:?}");
            }
            assert!(content.unit_check(2).is_none());
        }
        assert!(both.proof::<SectorRoots>().is_some() && hashed.proof::<SectorRoots>().is_none());
    }

    #[test]
    fn foreign_digests_are_no_content() {
        let digest: Digest = "md5:aabb".parse().unwrap();
        assert_eq!(Content::new(digest, 1).unwrap_err(), ContentError::UnknownAlgorithm("md5".into()));
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
