//! Verifies content before it is returned.
//!
//! Content of up to one unit is fetched whole and checked against its digest. Longer content is fetched in whole units.
//! Each must be proven before any of its bytes is returned. A read of everything is also checked against the digest,
//! before its last unit is returned. Without a proof of units only everything can be read. Then the bytes before the
//! last piece are unverified until the digest is checked; a mismatch is an error instead of the end.
//!
//! No check is done twice: if the inner backend verifies units itself, only the digest is checked. Checks run
//! concurrently: while one unit is verified the next one arrives, and the digest is computed on a thread of its own.
//! This takes three units of memory at most.

mod digest;

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use tokio::task::{JoinError, spawn_blocking};

use self::digest::Digested;

use content_store::DIRECT_ALIGNMENT;
use content_store::hasher::Hasher;

use super::layer::{Call, Layer, Layered, Read};
use crate::{Answer, Backend, BackendError, ByteStream, Content, UNIT};

/// Verifies the bytes of another backend.
pub type Verify = Layered<Verifying>;

/// The layer of a [`Verify`].
#[derive(Clone, Copy, Debug)]
pub struct Verifying {
    /// True if units are checked here, because the inner backend does not do it.
    units: bool,
    /// True if everything is checked against its digest, although each unit was proven.
    digest: bool,
}

impl Verify {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        let units = !inner.verifies();
        Layered { inner, layer: Verifying { units, digest: true } }
    }

    /// A verifier for one of several backends, whose combination is verified once more as a whole. If there is a proof
    /// of units, it alone decides.
    pub fn of_units(inner: Arc<dyn Backend>) -> Self {
        let verify = Verify::new(inner);
        Layered { layer: Verifying { digest: false, ..verify.layer }, ..verify }
    }
}

async fn whole(inner: &dyn Backend, read: Read<'_>) -> Result<ByteStream, BackendError> {
    let content = read.content;
    let open = everything(inner, &read).await?;
    let mut collector = Collector::new(open);
    let bytes = collector.take(0..content.length()).await?;
    collector.expect_end(content.length())?;
    let mut hasher = Hasher::new(content.algorithm());
    hasher.update(&bytes);
    if hasher.finish() != *content.digest() {
        return Err(BackendError::Corrupt { start: 0, end: content.length() });
    }
    let wanted = bytes.slice(read.range.start as usize..read.range.end as usize);
    Ok(stream::once(async move { Ok(wanted) }).boxed())
}

async fn in_units(inner: &dyn Backend, read: Read<'_>) -> Result<ByteStream, BackendError> {
    let (content, range) = (read.content.clone(), read.range);
    let aligned = range.start / UNIT * UNIT..range.end.next_multiple_of(UNIT).min(content.length());
    let open = inner.get(read.content, read.locator, aligned.clone()).await?;
    let units = Units { collector: Collector::new(open), ahead: None, content, wanted: range, rest: aligned };
    Ok(stream::try_unfold(units, Units::next).boxed())
}

async fn everything(inner: &dyn Backend, read: &Read<'_>) -> Result<ByteStream, BackendError> {
    inner.get(read.content, read.locator, 0..read.content.length()).await
}

/// Splits a stream at positions other than its items.
struct Collector {
    open: ByteStream,
    left: Bytes,
    /// The beginning of what is asked for.
    taken: BytesMut,
}

impl Collector {
    fn new(open: ByteStream) -> Self {
        Collector { open, left: Bytes::new(), taken: BytesMut::new() }
    }

    /// The next bytes, expected to be those of the range. It may be dropped, and called again with the same range.
    async fn take(&mut self, range: Range<u64>) -> Result<Bytes, BackendError> {
        let length = (range.end - range.start) as usize;
        if self.taken.is_empty() {
            self.taken = aligned(length);
        }
        while self.taken.len() < length {
            if self.left.is_empty() {
                let missing = || BackendError::Corrupt { start: range.start + self.taken.len() as u64, end: range.end };
                self.left = self.open.next().await.ok_or_else(missing)??;
            }
            let fits = self.left.len().min(length - self.taken.len());
            self.taken.extend_from_slice(&self.left.split_to(fits));
        }
        Ok(std::mem::take(&mut self.taken).freeze())
    }

    /// Checks that there are no bytes beyond those taken. Only received bytes are checked: a missing end is harmless.
    fn expect_end(&self, position: u64) -> Result<(), BackendError> {
        let left = self.left.len() as u64;
        if left == 0 { Ok(()) } else { Err(BackendError::Corrupt { start: position, end: position + left }) }
    }
}

/// An empty buffer with the alignment that direct writes of its bytes need.
fn aligned(length: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(length + DIRECT_ALIGNMENT);
    let before = buffer.as_ptr().align_offset(DIRECT_ALIGNMENT).min(DIRECT_ALIGNMENT);
    buffer.resize(before, 0);
    buffer.advance(before);
    buffer
}

/// A read in whole units.
struct Units {
    collector: Collector,
    /// The unit after the verified one, if it has already arrived.
    ahead: Option<Result<Bytes, BackendError>>,
    content: Content,
    wanted: Range<u64>,
    /// The range not verified yet.
    rest: Range<u64>,
}

impl Units {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let now = self.first_of_rest();
        let unit = match self.ahead.take() {
            Some(unit) => unit?,
            None => self.collector.take(now.clone()).await?,
        };
        self.rest.start = now.end;
        if self.rest.is_empty() {
            self.collector.expect_end(now.end)?;
        }
        if !self.is_sound(unit.clone(), now.start).await? {
            return Err(BackendError::Corrupt { start: now.start, end: now.end });
        }
        let (first, last) = (self.wanted.start.max(now.start), self.wanted.end.min(now.end));
        Ok(Some((unit.slice((first - now.start) as usize..(last - now.start) as usize), self)))
    }

    fn first_of_rest(&self) -> Range<u64> {
        self.rest.start..self.rest.end.min(self.rest.start + UNIT)
    }

    /// Checks a unit against its proofs. The next unit may arrive meanwhile, and is not waited for.
    async fn is_sound(&mut self, unit: Bytes, start: u64) -> Result<bool, BackendError> {
        let check = self.content.unit_check(start / UNIT);
        // This takes some milliseconds, which others should not wait for.
        let mut hashing = spawn_blocking(move || check.is_some_and(|check| check.accepts(&unit)));
        let following = self.first_of_rest();
        tokio::select! {
            biased;
            sound = &mut hashing => sound.map_err(ended),
            next = self.collector.take(following.clone()), if !following.is_empty() => {
                self.ahead = Some(next);
                hashing.await.map_err(ended)
            }
        }
    }
}

fn ended(error: JoinError) -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: Box::new(error) }
}

impl Layer for Verifying {
    fn around<'a, T: Send + 'a>(
        &'a self,
        _: Call,
        attempt: impl Fn() -> Answer<'a, T> + Send + Sync + 'a,
    ) -> Answer<'a, T> {
        attempt()
    }

    fn get<'a>(&'a self, inner: &'a Arc<dyn Backend>, read: Read<'a>) -> Answer<'a, ByteStream> {
        let inner = &**inner;
        Box::pin(async move {
            let content = read.content;
            content.check_range(&read.range)?;
            if read.range.is_empty() {
                return Ok(stream::empty().boxed());
            }
            let (small, all) = (content.length() <= UNIT, read.range == (0..content.length()));
            if small {
                return if self.units { whole(inner, read).await } else { read.at(inner).await };
            }
            if !content.has_proof() {
                let open = if all { everything(inner, &read).await? } else { return Err(BackendError::NoUnitProof) };
                return Ok(Digested::stream(open, content.clone()));
            }
            let units = if self.units { in_units(inner, read).await? } else { read.at(inner).await? };
            Ok(if self.digest && all { Digested::stream(units, content.clone()) } else { units })
        })
    }

    fn verifies(&self, _: bool) -> bool {
        true
    }
}
