//! Content on its way to a portal: its canonical form, and its bytes, checked before they leave.
//!
//! A portal is judged by the address that it answers. So what is sent must be what the address was computed for: a disk
//! that gives wrong bytes is found here, and not blamed on the portal.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use tokio::task::{JoinError, JoinHandle};

use super::base_sector::AssembleError;
use super::canonical::{self, Form, UnitRoots};
use super::layout::Layout;
use super::profile::{Profile, SectorSize};
use super::sector::{SectorRoot, sector_root};
use super::skylink::Skylink;
use crate::backend::{BackendError, Content, MAX_READ, Source, SourceError, UNIT, read_piece};
use crate::hasher::Hasher;

/// More than the metadata of any digest that can be computed here.
const MAX_METADATA: u64 = 256;

/// The one skyfile that content is in a profile.
#[derive(Clone, Debug)]
pub(super) struct Canonical {
    pub(super) skylink: Skylink,
    pub(super) body: Body,
}

/// How it is sent.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// In one piece.
    Small(Bytes),
    /// In sectors of these roots.
    Large(Arc<[SectorRoot]>),
}

/// The longest content whose fanout fits a base sector.
pub(super) fn max_length(profile: Profile) -> u64 {
    let sector = profile.sector_size().bytes() as u64;
    let roots = (sector - Layout::SIZE as u64 - MAX_METADATA) / SectorRoot::SIZE as u64;
    roots / roots_per_chunk(profile) * profile.chunk_size()
}

fn roots_per_chunk(profile: Profile) -> u64 {
    match profile.data_pieces() {
        1 => 1,
        data => u64::from(data) + u64::from(profile.parity_pieces()),
    }
}

/// Computes the canonical form. Reads the content, and checks it, if it is small or its roots are not known in sectors
/// of the profile.
pub(super) async fn canonical(source: &dyn Source, profile: Profile) -> Result<Canonical, BackendError> {
    let content = source.content();
    let (digest, length) = (content.digest().clone(), content.length());
    let form = Form::of(&digest, length, profile);
    let limit = max_length(profile);
    if form == Form::Large && length > limit {
        return Err(BackendError::TooLarge { limit });
    }
    let body = match form {
        Form::Small => Body::Small(read_whole(source).await?),
        Form::Large => Body::Large(roots(source, profile).await?),
    };
    let assemble = {
        let body = body.clone();
        move || match &body {
            Body::Small(bytes) => canonical::small(&digest, bytes, profile),
            Body::Large(roots) => canonical::large(&digest, length, profile, roots),
        }
    };
    let sector = blocking(assemble).await?.map_err(|error| match error {
        AssembleError::ContentTooLarge { .. } | AssembleError::FanoutTooLarge { .. } => {
            BackendError::TooLarge { limit }
        }
        error => BackendError::Unsuitable { cause: Box::new(error) },
    })?;
    Ok(Canonical { skylink: sector.skylink(), body })
}

/// The roots of the content's sectors.
async fn roots(source: &dyn Source, profile: Profile) -> Result<Arc<[SectorRoot]>, BackendError> {
    if profile.data_pieces() != 1 {
        return Err(BackendError::Unsuitable { cause: "only profiles of one data piece can be placed".into() });
    }
    let content = source.content();
    let size = profile.sector_size();
    match content.unit_roots() {
        Some(roots) if size == SectorSize::STANDARD => Ok(Arc::clone(roots)),
        None if size == SectorSize::STANDARD && content.length() > UNIT => Err(BackendError::UnitRootsUnknown),
        _ => compute_roots(source, size).await,
    }
}

async fn compute_roots(source: &dyn Source, size: SectorSize) -> Result<Arc<[SectorRoot]>, BackendError> {
    let content = source.content();
    let mut state = (UnitRoots::new(size), Hasher::new(content.algorithm()));
    let mut position = 0;
    while position < content.length() {
        let piece = read_piece(source, position, content.length()).await?;
        position += piece.len() as u64;
        state = blocking(move || {
            state.0.update(&piece);
            state.1.update(&piece);
            state
        })
        .await?;
    }
    check_digest(state.1, content)?;
    Ok(state.0.finish().into())
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

fn check_digest(hasher: Hasher, content: &Content) -> Result<(), SourceError> {
    let sound = hasher.finish() == *content.digest();
    if sound { Ok(()) } else { Err(SourceError::Damaged { start: 0, end: content.length() }) }
}

/// The bytes from one offset to another, in blocks whose sectors were checked. While one is sent the next one is read and
/// checked, so two are in memory: twice a unit.
pub(super) fn checked_bytes(
    source: Arc<dyn Source>,
    roots: Arc<[SectorRoot]>,
    size: SectorSize,
    start: u64,
    end: u64,
) -> impl Stream<Item = Result<Bytes, BackendError>> + Send + 'static {
    let first = Checked { source, roots, size, position: start, end, ahead: None };
    stream::try_unfold(first, Checked::next)
}

struct Checked {
    source: Arc<dyn Source>,
    roots: Arc<[SectorRoot]>,
    size: SectorSize,
    position: u64,
    end: u64,
    /// The block at the position.
    ahead: Option<JoinHandle<Result<Bytes, BackendError>>>,
}

impl Checked {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let first = self.position / self.block() * self.block();
        let reading = self.ahead.take().unwrap_or_else(|| self.begin(first));
        let bytes = reading.await.map_err(ended)??;
        let block_end = first + bytes.len() as u64;
        if block_end < self.end {
            self.ahead = Some(self.begin(block_end));
        }
        let last = self.end.min(block_end);
        let wanted = bytes.slice((self.position - first) as usize..(last - first) as usize);
        self.position = last;
        Ok(Some((wanted, self)))
    }

    /// Whole sectors, and not much less than a read.
    fn block(&self) -> u64 {
        let sector = self.size.bytes() as u64;
        sector.max(MAX_READ / sector * sector)
    }

    /// Reads and checks the block that begins there. If nobody wants it in the end, it was read in vain.
    fn begin(&self, first: u64) -> JoinHandle<Result<Bytes, BackendError>> {
        let (source, roots, size) = (Arc::clone(&self.source), Arc::clone(&self.roots), self.size);
        let end = source.content().length().min(first + self.block());
        tokio::spawn(async move {
            let bytes = read_block(&*source, first, end).await?;
            let checked = bytes.clone();
            let sound = blocking(move || are_sectors_of(&checked, &roots, first / size.bytes() as u64, size)).await?;
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

fn are_sectors_of(bytes: &[u8], roots: &[SectorRoot], first: u64, size: SectorSize) -> bool {
    bytes
        .chunks(size.bytes())
        .enumerate()
        .all(|(number, sector)| roots.get(first as usize + number) == Some(&sector_root(size, sector)))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BackendError> {
    tokio::task::spawn_blocking(work).await.map_err(ended)
}

fn ended(error: JoinError) -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: Box::new(error) }
}
