//! Finds the base sector of content and the sectors that it lists, from existing records where these suffice.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use backends::UNIT;
use backends::skynet::KIND;
use backends::skynet::canonical::{self, Form};
use content_store::StoreError;
use content_store::hasher::Hasher;
use skynet_formats::fanout::Fanout;
use skynet_formats::profile::Profile;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::{Skylink, Target};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::follow::FollowError;
use super::records::{Found, Skyfile};
use crate::content::Error;
use crate::oci::Digest;
use crate::service::Registry;

/// Bytes processed between two checks whether the node stops.
const STEP: usize = 256 * 1024;

/// The outcome of a pass over content.
enum Pass {
    Fanout(Vec<SectorRoot>),
    Stopped,
    /// The file is missing, or has the wrong length.
    Unreadable(StoreError),
    /// The bytes do not match the digest.
    Damaged,
}

impl Gateway {
    /// The record for content. `None` if it has no skylink, or if nothing on this node can compute it now.
    pub(super) async fn learn(
        &self,
        digest: &Digest,
        length: u64,
        stop: &CancellationToken,
    ) -> Result<Option<Found>, FollowError> {
        #[cfg(test)]
        self.looked_at.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (placed, form) = (self.placed(digest)?, Form::of(digest, length, self.profile));
        let record = |listed| Skyfile { digest: digest.clone(), length, listed };
        if form == Form::Small {
            let base = match placed {
                Some(base) => Some(base),
                None => self.small_base(digest, length).await?,
            };
            return Ok(base.map(|base| Found { base, record: record(true), sectors: Vec::new() }));
        }
        if !canonical::fanout_fits(digest, length, self.profile) {
            tracing::debug!(%digest, length, "content is too long for one skyfile");
            return Ok(None);
        }
        let Some(fanout) = self.fanout(digest, length, stop).await? else {
            return Ok(placed.map(|base| Found { base, record: record(false), sectors: Vec::new() }));
        };
        let (digest, profile, record) = (digest.clone(), self.profile, record(true));
        let making = spawn_blocking(move || {
            let made = canonical::large(&digest, length, profile, &fanout);
            let base = made.inspect_err(|error| tracing::warn!(%digest, %error, "content has no skylink")).ok()?.root();
            Some(Found { base, record, sectors: data_roots(profile, &fanout).copied().collect() })
        });
        Ok(making.await?)
    }

    /// The base sector that a placement of this profile names.
    fn placed(&self, digest: &Digest) -> Result<Option<SectorRoot>, FollowError> {
        let places = self.registry.catalog().placements(digest)?.into_iter().map(|placement| placement.locator);
        let mut ours = places.filter(|locator| locator.kind == KIND && locator.profile.parse() == Ok(self.profile));
        let target = ours.find_map(|locator| Skylink::from_uri(&locator.address).ok()).map(|link| link.target());
        Ok(target.and_then(|target| match target {
            Target::Sector { root, .. } => Some(root),
            Target::Entry(_) => None,
        }))
    }

    /// The base sector of small content, which is read whole to compute it.
    async fn small_base(&self, digest: &Digest, length: u64) -> Result<Option<SectorRoot>, FollowError> {
        let (registry, name, profile) = (Arc::clone(&self.registry), digest.clone(), self.profile);
        let reading = spawn_blocking(move || {
            let bytes = registry.store().read_verified(&name, length)?;
            Ok(canonical::small(&name, &bytes, profile).map(|base| base.root()))
        });
        match reading.await? {
            Ok(base) => Ok(base.inspect_err(|error| tracing::warn!(%digest, %error, "content has no skylink")).ok()),
            Err(error) => self.unreadable(digest, error).await.map(|()| None),
        }
    }

    /// The fanout of large content. It is computed and stored if it is unknown.
    async fn fanout(
        &self,
        digest: &Digest,
        length: u64,
        stop: &CancellationToken,
    ) -> Result<Option<Arc<[SectorRoot]>>, FollowError> {
        let is_kept = self.has_unit_roots(length);
        // With a backend, placement computes unit roots before it places content. The fact that records them comes
        // here, too.
        if is_kept
            && self.registry.remote.is_none()
            && !self.registry.content.keep_unit_roots(digest, length, stop).await?
        {
            return Ok(None);
        }
        let (gateway, name) = (self.clone(), digest.clone());
        let known = spawn_blocking(move || gateway.known_fanout(&name, length)).await??;
        if known.is_some() || is_kept {
            return Ok(known);
        }
        let (gateway, name, stop) = (self.clone(), digest.clone(), stop.clone());
        match spawn_blocking(move || compute(&gateway.registry, &name, length, gateway.profile, &stop)).await?? {
            Pass::Fanout(fanout) => {
                let (fanouts, name) = (self.records.fanouts.clone(), digest.clone());
                let keeping = spawn_blocking(move || fanouts.put(&name, &fanout).map(|()| fanout.into()));
                Ok(Some(keeping.await??))
            }
            Pass::Stopped => Ok(None),
            Pass::Unreadable(error) => self.unreadable(digest, error).await.map(|()| None),
            Pass::Damaged => {
                // As a pull does. It checks again, since a push may have replaced the file.
                let aside = self.registry.content.put_aside(digest).await?;
                let aside = aside.as_ref().map(|path| tracing::field::display(path.display()));
                tracing::error!(%digest, quarantine = aside, "content is damaged");
                self.registry.metrics.content_damaged.inc();
                Ok(None)
            }
        }
    }

    /// The fanout of large content; `None` if it is unknown. Blocks.
    pub(super) fn known_fanout(&self, digest: &Digest, length: u64) -> Result<Option<Arc<[SectorRoot]>>, FollowError> {
        if self.has_unit_roots(length) {
            Ok(self.registry.content.unit_roots(digest)?)
        } else {
            Ok(self.records.fanouts.get(digest)?)
        }
    }

    /// True if the registry itself stores the fanout of large content, as unit roots.
    fn has_unit_roots(&self, length: u64) -> bool {
        self.profile.fanout_is_unit_roots() && length > UNIT
    }

    /// Handles content that cannot be read. Evicted, lost or damaged content gets no skylink here.
    async fn unreadable(&self, digest: &Digest, error: StoreError) -> Result<(), FollowError> {
        if matches!(error, StoreError::Missing { .. }) {
            return Ok(());
        }
        match self.registry.content.damaged(digest, error).await {
            Error::Damaged(_) => Ok(()),
            error => Err(error.into()),
        }
    }
}

/// The roots of a fanout that lead to content, not parity.
pub(super) fn data_roots(profile: Profile, fanout: &[SectorRoot]) -> impl Iterator<Item = &SectorRoot> {
    fanout.chunks(profile.chunk_roots()).flat_map(move |chunk| chunk.iter().take(usize::from(profile.data_pieces())))
}

/// Computes a fanout in one pass over the content, with one stripe in memory. Blocks.
fn compute(
    registry: &Registry,
    digest: &Digest,
    length: u64,
    profile: Profile,
    stop: &CancellationToken,
) -> io::Result<Pass> {
    let mut file = match registry.store().open_content(digest, length) {
        Ok(file) => file,
        Err(error) => return Ok(Pass::Unreadable(error)),
    };
    let Some(algorithm) = digest.algorithm() else { return Ok(Pass::Damaged) };
    let (mut hasher, mut fanout, mut buffer) = (Hasher::new(algorithm), Fanout::new(profile), vec![0; STEP]);
    loop {
        if stop.is_cancelled() {
            return Ok(Pass::Stopped);
        }
        let read = read_some(&mut file, &mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        fanout.update(&buffer[..read]);
    }
    Ok(if hasher.finish() == *digest { Pass::Fanout(fanout.finish()) } else { Pass::Damaged })
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
