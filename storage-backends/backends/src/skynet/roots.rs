//! The roots that content in flight to a portal needs: its fanout, to which its skylink commits, and those of its
//! units.
//!
//! Both come from one pass over the source, in the memory of one stripe, and the pass checks the digest. With several
//! data pieces it also codes the parity, as the portal does again. Parity is three quarters of the work of a pass over
//! `4MiB/10+20`, and only the portal needs its bytes. So the result of a pass is cached until other content evicts it.
//! Asking for the address, and each copy after it, then cost nothing more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use content_store::digest::Digest;
use content_store::hasher::Hasher;
use skynet_formats::fanout::Fanout;
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::SectorRoot;
use skynet_formats::unit_roots::UnitRoots;

use super::blocking::blocking;
use super::unit_roots::SectorRoots;
use crate::{BackendError, Content, Source, SourceError, read_piece};

/// Most roots in the cache, 32 bytes each; content with more roots is cached alone.
const MAX_REMEMBERED: usize = 128 * 1024;

/// The roots of one content in one profile. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    /// The roots of the pieces, chunk by chunk.
    pub(super) fanout: Arc<[SectorRoot]>,
    /// The roots of the content's 4 MiB units, against which it is checked before it is sent.
    pub(super) units: Arc<[SectorRoot]>,
}

impl Roots {
    fn len(&self) -> usize {
        self.fanout.len() + self.units.len()
    }
}

/// A cache of recent results, for all portals of one backend, which have one profile.
#[derive(Debug, Default)]
pub(super) struct RecentRoots(Mutex<VecDeque<(Digest, Roots)>>);

impl RecentRoots {
    /// The roots of content too large for a base sector. Reads the content, and checks it, unless they are known.
    pub(super) async fn of(&self, source: &dyn Source, profile: Profile) -> Result<Roots, BackendError> {
        let content = source.content();
        let known = SectorRoots::of_content(content).map(|known| Arc::clone(known.roots()));
        if let Some(units) = known.as_ref().filter(|_| profile.fanout_is_unit_roots()) {
            return Ok(Roots { fanout: Arc::clone(units), units: Arc::clone(units) });
        }
        if let Some(found) = self.find(content.digest()) {
            // The caller may know better by now.
            return Ok(Roots { units: known.unwrap_or(found.units), ..found });
        }
        let roots = compute(source, profile).await?;
        self.remember(content.digest().clone(), roots.clone());
        Ok(roots)
    }

    fn find(&self, digest: &Digest) -> Option<Roots> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|(name, _)| name == digest).map(|(_, roots)| roots.clone())
    }

    /// Caches roots, and evicts the oldest ones beyond the limit.
    fn remember(&self, digest: Digest, roots: Roots) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(name, _)| *name != digest);
        recent.push_back((digest, roots));
        while recent.len() > 1 && recent.iter().map(|(_, roots)| roots.len()).sum::<usize>() > MAX_REMEMBERED {
            recent.pop_front();
        }
    }
}

/// A pass over the content.
struct Pass {
    hasher: Hasher,
    fanout: Fanout,
    /// The unit roots, if the caller did not know them, and they are not the fanout.
    units: Option<UnitRoots>,
}

async fn compute(source: &dyn Source, profile: Profile) -> Result<Roots, BackendError> {
    let content = source.content();
    let known = SectorRoots::of_content(content).map(SectorRoots::roots);
    let unknown = known.is_none() && !profile.fanout_is_unit_roots();
    let units = unknown.then(|| UnitRoots::new(SectorSize::STANDARD));
    let mut pass = Pass { hasher: Hasher::new(content.algorithm()), fanout: Fanout::new(profile), units };
    let mut position = 0;
    while position < content.length() {
        let piece = read_piece(source, position, content.length()).await?;
        position += piece.len() as u64;
        pass = blocking(move || {
            pass.hasher.update(&piece);
            pass.fanout.update(&piece);
            pass.units.iter_mut().for_each(|units| units.update(&piece));
            pass
        })
        .await?;
    }
    check_digest(pass.hasher, content)?;
    let fanout: Arc<[SectorRoot]> = pass.fanout.finish().into();
    let units = match (known, pass.units) {
        (Some(known), _) => Arc::clone(known),
        (None, Some(computed)) => computed.finish().into(),
        (None, None) => Arc::clone(&fanout),
    };
    Ok(Roots { fanout, units })
}

pub(super) fn check_digest(hasher: Hasher, content: &Content) -> Result<(), SourceError> {
    let sound = hasher.finish() == *content.digest();
    if sound { Ok(()) } else { Err(SourceError::Damaged { start: 0, end: content.length() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Watched, sample};
    use crate::{BytesSource, UNIT};

    fn without_roots(source: &BytesSource) -> BytesSource {
        let content = source.content();
        let bare = Content::new(content.digest().clone(), content.length()).unwrap();
        BytesSource::claiming(bare, source.read_all())
    }

    fn with_roots(source: &BytesSource, roots: SectorRoots) -> BytesSource {
        without_roots(source).with_proof(Arc::new(roots)).unwrap()
    }

    #[tokio::test]
    async fn one_pass_gives_both_and_is_not_repeated() {
        let profile: Profile = "64KiB/3+2".parse().unwrap();
        let source = sample(UNIT + 100_000, 1);
        let mut expected = Fanout::new(profile);
        expected.update(&source.read_all());
        let expected = expected.finish();
        let recent = RecentRoots::default();
        let watched = Watched::new(without_roots(&source));
        for _ in 0..3 {
            let roots = recent.of(&watched, profile).await.unwrap();
            assert_eq!(*roots.fanout, *expected);
            assert_eq!(SectorRoots::from(roots.units), SectorRoots::of_bytes(&source.read_all()));
            assert_eq!(watched.taken(), UNIT + 100_000);
        }
        let known = SectorRoots::of_bytes(&source.read_all());
        let given = RecentRoots::default().of(&with_roots(&source, known.clone()), profile).await.unwrap();
        assert_eq!((*given.fanout == *expected, &given.units), (true, known.roots()));
    }

    #[tokio::test]
    async fn units_that_the_caller_knows_are_never_remembered_for_others() {
        let profile: Profile = "64KiB/3+2".parse().unwrap();
        let source = sample(UNIT + 100_000, 1);
        let wrong: Arc<[SectorRoot]> = vec![SectorRoot::from_bytes([7; 32]); 2].into();
        let misleading = with_roots(&source, SectorRoots::from(Arc::clone(&wrong)));
        let recent = RecentRoots::default();
        let misled = recent.of(&misleading, profile).await.unwrap();
        assert_eq!(misled.units, wrong);
        let expected = SectorRoots::of_bytes(&source.read_all());
        let right = recent.of(&with_roots(&source, expected.clone()), profile).await.unwrap();
        assert_eq!((&right.units, right.fanout), (expected.roots(), misled.fanout));
    }

    #[tokio::test]
    async fn what_was_computed_of_other_bytes_is_not_remembered() {
        let profile: Profile = "64KiB/3+2".parse().unwrap();
        let source = sample(300_000, 1);
        let mut damaged = source.read_all().to_vec();
        damaged[5] ^= 1;
        let lying = BytesSource::claiming(source.content().clone(), damaged.into());
        let recent = RecentRoots::default();
        assert!(matches!(recent.of(&lying, profile).await, Err(BackendError::Source(_))));
        assert!(recent.find(source.content().digest()).is_none());
    }

    #[test]
    fn the_oldest_are_forgotten_where_they_are_too_many() {
        let recent = RecentRoots::default();
        let digest = |number: u64| sample(number, 1).content().digest().clone();
        let roots = |count| {
            let root = SectorRoot::from_bytes([0; 32]);
            Roots { fanout: vec![root; count].into(), units: vec![root].into() }
        };
        for number in 0..4 {
            recent.remember(digest(number), roots(MAX_REMEMBERED / 3));
        }
        let kept: Vec<bool> = (0..4).map(|number| recent.find(&digest(number)).is_some()).collect();
        assert_eq!(kept, [false, false, true, true]);
        recent.remember(digest(9), roots(2 * MAX_REMEMBERED));
        assert!(recent.find(&digest(9)).is_some() && recent.find(&digest(3)).is_none());
    }
}
