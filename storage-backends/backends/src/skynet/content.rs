//! Content in flight to a portal: its canonical form, and its bytes, checked before they are sent.
//!
//! A portal is judged by the address it answers, so the sent bytes must be those of the computed address. Wrong bytes
//! of a disk are detected here, and not blamed on the portal.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use content_store::hasher::Hasher;
use futures_util::stream::{self, Stream};
use skynet_formats::base_sector::AssembleError;
use skynet_formats::layout::Layout;
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::{SectorRoot, sector_root};
use skynet_formats::skylink::Skylink;
use tokio::task::JoinHandle;

use super::blocking::{blocking, ended};
use super::canonical::{self, Form};
use super::roots::{RecentRoots, Roots, check_digest};
use crate::{BackendError, Source, SourceError, UNIT, read_piece};

/// More bytes than the metadata of any supported digest.
const MAX_METADATA: u64 = 256;

/// The single skyfile of content in a profile.
#[derive(Clone, Debug)]
pub(super) struct Canonical {
    pub(super) skylink: Skylink,
    pub(super) body: Body,
}

/// The way in which it is sent.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// In one piece.
    Small(Bytes),
    /// By TUS, unit by unit, each checked by its root.
    Large(Arc<[SectorRoot]>),
}

/// The longest content whose fanout fits a base sector.
pub(super) fn max_length(profile: Profile) -> u64 {
    let sector = profile.sector_size().bytes() as u64;
    let roots = (sector - Layout::SIZE as u64 - MAX_METADATA) / SectorRoot::SIZE as u64;
    roots / profile.chunk_roots() as u64 * profile.chunk_size()
}

/// Computes the canonical form. Reads the content, and checks it, if it is small or its roots are not known.
pub(super) async fn canonical(
    source: &dyn Source,
    profile: Profile,
    recent: &RecentRoots,
) -> Result<Canonical, BackendError> {
    let content = source.content();
    let (digest, length) = (content.digest().clone(), content.length());
    let form = Form::of(&digest, length, profile);
    let limit = max_length(profile);
    if form == Form::Large && length > limit {
        return Err(BackendError::TooLarge { limit });
    }
    let (sector, body) = match form {
        Form::Small => {
            let bytes = read_whole(source).await?;
            let content = bytes.clone();
            let sector = blocking(move || canonical::small(&digest, &content, profile)).await?;
            (sector, Body::Small(bytes))
        }
        Form::Large => {
            let Roots { fanout, units } = recent.of(source, profile).await?;
            let sector = blocking(move || canonical::large(&digest, length, profile, &fanout)).await?;
            (sector, Body::Large(units))
        }
    };
    let sector = sector.map_err(|error| match error {
        AssembleError::ContentTooLarge { .. } | AssembleError::FanoutTooLarge { .. } => {
            BackendError::TooLarge { limit }
        }
        error => BackendError::Unsuitable { cause: Box::new(error) },
    })?;
    Ok(Canonical { skylink: sector.skylink(), body })
}

async fn read_whole(source: &dyn Source) -> Result<Bytes, BackendError> {
    let content = source.content();
    let mut bytes = BytesMut::with_capacity(content.length() as usize);
    let mut hasher = Hasher::new(content.algorithm());
    while (bytes.len() as u64) < content.length() {
        let piece = read_piece(source, bytes.len() as u64, content.length()).await?;
        hasher.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    check_digest(hasher, content)?;
    Ok(bytes.freeze())
}

/// The bytes between two offsets, in units checked against these roots. While one unit is sent, the next one is read
/// and checked, so two are in memory.
pub(super) fn checked_bytes(
    source: Arc<dyn Source>,
    units: Arc<[SectorRoot]>,
    start: u64,
    end: u64,
) -> impl Stream<Item = Result<Bytes, BackendError>> + Send + 'static {
    let first = Checked { source, units, position: start, end, ahead: None };
    stream::try_unfold(first, Checked::next)
}

struct Checked {
    source: Arc<dyn Source>,
    units: Arc<[SectorRoot]>,
    position: u64,
    end: u64,
    /// The unit at the position.
    ahead: Option<JoinHandle<Result<Bytes, BackendError>>>,
}

impl Checked {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let first = self.position / UNIT * UNIT;
        let reading = self.ahead.take().unwrap_or_else(|| self.begin(first));
        let bytes = reading.await.map_err(ended)??;
        let unit_end = first + bytes.len() as u64;
        if unit_end < self.end {
            self.ahead = Some(self.begin(unit_end));
        }
        let last = self.end.min(unit_end);
        let wanted = bytes.slice((self.position - first) as usize..(last - first) as usize);
        self.position = last;
        Ok(Some((wanted, self)))
    }

    /// Reads and checks the unit that begins at `first`. The read is wasted if the unit is not needed in the end.
    fn begin(&self, first: u64) -> JoinHandle<Result<Bytes, BackendError>> {
        let source = Arc::clone(&self.source);
        let root = self.units.get((first / UNIT) as usize).copied();
        let end = source.content().length().min(first + UNIT);
        tokio::spawn(async move {
            let bytes = read_block(&*source, first, end).await?;
            let checked = bytes.clone();
            let sound = blocking(move || root == Some(sector_root(SectorSize::STANDARD, &checked))).await?;
            if sound { Ok(bytes) } else { Err(SourceError::Damaged { start: first, end }.into()) }
        })
    }
}

async fn read_block(source: &dyn Source, start: u64, end: u64) -> Result<Bytes, SourceError> {
    let mut bytes = BytesMut::with_capacity((end - start) as usize);
    while start + (bytes.len() as u64) < end {
        let piece = read_piece(source, start + bytes.len() as u64, end).await?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}
