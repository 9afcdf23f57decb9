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
use crate::{BackendError, Content, Source, SourceError, UNIT, read_piece};

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
        if profile.fanout_is_unit_roots() {
            match content.unit_roots() {
                Some(units) => return Ok(Roots { fanout: Arc::clone(units), units: Arc::clone(units) }),
                None if content.length() > UNIT => return Err(BackendError::UnitRootsUnknown),
                None => {}
            }
        }
        if let Some(known) = self.find(content.digest()) {
            // The caller may know better by now.
            let units = content.unit_roots().cloned().unwrap_or(known.units);
            return Ok(Roots { units, ..known });
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
    /// The unit roots, if the caller did not know them.
    units: Option<UnitRoots>,
}

async fn compute(source: &dyn Source, profile: Profile) -> Result<Roots, BackendError> {
    let content = source.content();
    let units = content.unit_roots().is_none().then(|| UnitRoots::new(SectorSize::STANDARD));
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
    let units = match (content.unit_roots(), pass.units) {
        (Some(known), _) => Arc::clone(known),
        (None, computed) => computed.map(UnitRoots::finish).unwrap_or_default().into(),
    };
    Ok(Roots { fanout: pass.fanout.finish().into(), units })
}

pub(super) fn check_digest(hasher: Hasher, content: &Content) -> Result<(), SourceError> {
    let sound = hasher.finish() == *content.digest();
    if sound { Ok(()) } else { Err(SourceError::Damaged { start: 0, end: content.length() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BytesSource;
    use crate::testing::{Watched, sample};

    fn without_roots(source: &BytesSource) -> BytesSource {
        let content = source.content();
        let bare = Content::new(content.digest().clone(), content.length()).unwrap();
        BytesSource::claiming(bare, source.read_all())
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
            assert_eq!(Some(&roots.units), source.content().unit_roots());
            assert_eq!(watched.taken(), UNIT + 100_000);
        }
        let given = RecentRoots::default().of(&source, profile).await.unwrap();
        assert_eq!((*given.fanout == *expected, Some(&given.units)), (true, source.content().unit_roots()));
    }

    #[tokio::test]
    async fn units_that_the_caller_knows_are_never_remembered_for_others() {
        let profile: Profile = "64KiB/3+2".parse().unwrap();
        let source = sample(UNIT + 100_000, 1);
        let wrong: Arc<[SectorRoot]> = vec![SectorRoot::from_bytes([7; 32]); 2].into();
        let content = without_roots(&source).content().clone().with_unit_roots(Arc::clone(&wrong)).unwrap();
        let recent = RecentRoots::default();
        let misled = recent.of(&BytesSource::claiming(content, source.read_all()), profile).await.unwrap();
        assert_eq!(misled.units, wrong);
        let right = recent.of(&source, profile).await.unwrap();
        assert_eq!((Some(&right.units), right.fanout), (source.content().unit_roots(), misled.fanout));
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
