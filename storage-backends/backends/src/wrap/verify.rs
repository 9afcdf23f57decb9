//! Verifies content before it is returned.
//!
//! Content of up to one unit is fetched whole and checked against its digest. Longer content is fetched in whole units.
//! Each is checked against its root, or its hash if known, before any of its bytes is returned. A read of everything is
//! also checked against the digest, before its last unit is returned. Without roots only everything can be read. Then
//! the bytes before the last piece are unverified until the digest is checked; a mismatch is an error instead of the
//! end.
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

use crate::{
    Answer, Backend, BackendError, ByteStream, Capabilities, Content, Deletion, Health, Locator, Resume, Source, Stat,
    UNIT, UnitRoot,
};

/// Verifies the bytes of another backend.
#[derive(Clone, Debug)]
pub struct Verify {
    inner: Arc<dyn Backend>,
    /// True if units are checked here, because the inner backend does not do it.
    units: bool,
    /// True if everything is checked against its digest, although each unit was checked against its root.
    digest: bool,
}

impl Verify {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        let units = !inner.capabilities().verified;
        Verify { inner, units, digest: true }
    }

    /// A verifier for one of several backends, whose combination is verified once more as a whole. If there are roots,
    /// they alone decide.
    pub fn of_units(inner: Arc<dyn Backend>) -> Self {
        Verify { digest: false, ..Verify::new(inner) }
    }

    async fn whole(&self, content: &Content, locator: &Locator, range: Range<u64>) -> Result<ByteStream, BackendError> {
        let open = self.inner.get(content, locator, 0..content.length()).await?;
        let mut collector = Collector::new(open);
        let bytes = collector.take(0..content.length()).await?;
        collector.expect_end(content.length())?;
        let mut hasher = Hasher::new(content.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *content.digest() {
            return Err(BackendError::Corrupt { start: 0, end: content.length() });
        }
        let wanted = bytes.slice(range.start as usize..range.end as usize);
        Ok(stream::once(async move { Ok(wanted) }).boxed())
    }

    async fn units(&self, content: &Content, locator: &Locator, range: Range<u64>) -> Result<ByteStream, BackendError> {
        if !self.units {
            return self.inner.get(content, locator, range).await;
        }
        let aligned = range.start / UNIT * UNIT..range.end.next_multiple_of(UNIT).min(content.length());
        let open = self.inner.get(content, locator, aligned.clone()).await?;
        let (collector, content) = (Collector::new(open), content.clone());
        let units = Units { collector, ahead: None, content, wanted: range, rest: aligned };
        Ok(stream::try_unfold(units, Units::next).boxed())
    }

    async fn by_digest(&self, content: &Content, locator: &Locator) -> Result<ByteStream, BackendError> {
        let open = self.inner.get(content, locator, 0..content.length()).await?;
        Ok(Digested::stream(open, content.clone()))
    }
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

    /// Checks a unit against its root or hash. The next unit may arrive meanwhile, and is not waited for.
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

#[deny(clippy::missing_trait_methods)]
impl Backend for Verify {
    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn profile(&self) -> &str {
        self.inner.profile()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { verified: true, ..self.inner.capabilities() }
    }

    fn endpoints(&self) -> Vec<String> {
        self.inner.endpoints()
    }

    fn check(&self) -> Answer<'_, ()> {
        self.inner.check()
    }

    fn ping(&self) -> Answer<'_, ()> {
        self.inner.ping()
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        self.inner.locate(source)
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        self.inner.put(source, resume)
    }

    fn put_again<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        self.inner.put_again(source, resume)
    }

    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            content.check_range(&range)?;
            if range.is_empty() {
                return Ok(stream::empty().boxed());
            }
            let everything = range == (0..content.length());
            match content.unit_roots() {
                _ if content.length() <= UNIT && self.units => self.whole(content, locator, range).await,
                _ if content.length() <= UNIT => self.inner.get(content, locator, range).await,
                Some(_) => {
                    let units = self.units(content, locator, range).await?;
                    let digested = self.digest && everything;
                    Ok(if digested { Digested::stream(units, content.clone()) } else { units })
                }
                None if everything => self.by_digest(content, locator).await,
                None => Err(BackendError::UnitRootsUnknown),
            }
        })
    }

    fn unit_roots<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<[UnitRoot]>>> {
        self.inner.unit_roots(content, locator)
    }

    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat> {
        self.inner.stat(content, locator)
    }

    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        self.inner.delete(content, locator)
    }

    fn delete_at<'a>(&'a self, endpoint: &'a str, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        self.inner.delete_at(endpoint, content, locator)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
