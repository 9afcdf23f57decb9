//! Lets no byte out before it is known to be the content's.
//!
//! Content of up to one unit is fetched whole and held against its digest. Longer content is fetched in whole units,
//! each held against its root before any byte of it goes on; a read of everything is held against the digest too,
//! before its last unit goes on. Without roots only everything can be read, and what comes before the last piece is
//! unverified until the digest is: a mismatch is an error instead of the end.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};

use crate::backend::{
    Answer, Backend, BackendError, ByteStream, Capabilities, Content, Deletion, Health, Locator, Resume, Source, Stat,
    UNIT, UnitRoot,
};
use crate::hasher::Hasher;
use crate::skynet::profile::SectorSize;
use crate::skynet::sector::sector_root;

/// Verifies what comes out of another backend.
#[derive(Clone, Debug)]
pub struct Verify {
    inner: Arc<dyn Backend>,
}

impl Verify {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Verify { inner }
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

    async fn units(
        &self,
        content: &Content,
        locator: &Locator,
        range: Range<u64>,
        roots: Arc<[UnitRoot]>,
    ) -> Result<ByteStream, BackendError> {
        let aligned = range.start / UNIT * UNIT..range.end.next_multiple_of(UNIT).min(content.length());
        let open = self.inner.get(content, locator, aligned.clone()).await?;
        let everything = range == (0..content.length());
        let units = Units {
            collector: Collector::new(open),
            content: content.clone(),
            roots,
            digest: everything.then(|| Hasher::new(content.algorithm())),
            wanted: range,
            rest: aligned,
        };
        Ok(stream::try_unfold(units, Units::next).boxed())
    }

    async fn by_digest(&self, content: &Content, locator: &Locator) -> Result<ByteStream, BackendError> {
        let open = self.inner.get(content, locator, 0..content.length()).await?;
        let state = HeldBack { open, held: None, position: 0, content: content.clone(), digest: None };
        Ok(stream::try_unfold(state, HeldBack::next).boxed())
    }
}

/// Takes a stream apart at other places than its items.
struct Collector {
    open: ByteStream,
    left: Bytes,
}

impl Collector {
    fn new(open: ByteStream) -> Self {
        Collector { open, left: Bytes::new() }
    }

    /// The next bytes, which are said to be those of the range.
    async fn take(&mut self, range: Range<u64>) -> Result<Bytes, BackendError> {
        let length = (range.end - range.start) as usize;
        let mut taken = BytesMut::with_capacity(length);
        while taken.len() < length {
            if self.left.is_empty() {
                let missing = || BackendError::Corrupt { start: range.start + taken.len() as u64, end: range.end };
                self.left = self.open.next().await.ok_or_else(missing)??;
            }
            let fits = self.left.len().min(length - taken.len());
            taken.extend_from_slice(&self.left.split_to(fits));
        }
        Ok(taken.freeze())
    }

    /// There are no bytes beyond those taken. Only what has come is looked at: an end that does not come harms nobody.
    fn expect_end(&self, position: u64) -> Result<(), BackendError> {
        let left = self.left.len() as u64;
        if left == 0 { Ok(()) } else { Err(BackendError::Corrupt { start: position, end: position + left }) }
    }
}

/// A read in whole units.
struct Units {
    collector: Collector,
    content: Content,
    roots: Arc<[UnitRoot]>,
    /// If everything is read.
    digest: Option<Hasher>,
    wanted: Range<u64>,
    /// What is still to be fetched.
    rest: Range<u64>,
}

impl Units {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (start, end) = (self.rest.start, self.rest.end.min(self.rest.start + UNIT));
        let unit = self.collector.take(start..end).await?;
        self.rest.start = end;
        if self.rest.is_empty() {
            self.collector.expect_end(end)?;
        }
        self.verify(unit.clone(), start).await?;
        let (first, last) = (self.wanted.start.max(start), self.wanted.end.min(end));
        Ok(Some((unit.slice((first - start) as usize..(last - start) as usize), self)))
    }

    async fn verify(&mut self, unit: Bytes, start: u64) -> Result<(), BackendError> {
        let end = start + unit.len() as u64;
        let root = self.roots.get((start / UNIT) as usize).copied();
        let mut digest = self.digest.take();
        // Some milliseconds of work, which others should not wait for.
        let hashed = tokio::task::spawn_blocking(move || {
            if let Some(digest) = &mut digest {
                digest.update(&unit);
            }
            (Some(sector_root(SectorSize::STANDARD, &unit)) == root, digest)
        });
        let ended = |error| BackendError::Unavailable { retry_after: None, cause: Box::new(error) };
        let (sound, digest) = hashed.await.map_err(ended)?;
        self.digest = digest;
        if !sound {
            return Err(BackendError::Corrupt { start, end });
        }
        let whole = self.digest.take_if(|_| end == self.content.length()).map(Hasher::finish);
        match whole.is_none_or(|digest| digest == *self.content.digest()) {
            true => Ok(()),
            false => Err(BackendError::Corrupt { start: 0, end }),
        }
    }
}

/// A read of everything whose last piece waits for the digest.
struct HeldBack {
    open: ByteStream,
    held: Option<Bytes>,
    position: u64,
    content: Content,
    digest: Option<Hasher>,
}

impl HeldBack {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        loop {
            let Some(bytes) = self.open.next().await.transpose()? else {
                let digest = self.digest.take();
                let sound = digest.is_none_or(|digest| digest.finish() == *self.content.digest());
                if !sound || self.position != self.content.length() {
                    return Err(BackendError::Corrupt { start: 0, end: self.content.length() });
                }
                return Ok(self.held.take().map(|last| (last, self)));
            };
            self.position += bytes.len() as u64;
            if self.position > self.content.length() {
                return Err(BackendError::Corrupt { start: self.content.length(), end: self.position });
            }
            self.digest.get_or_insert_with(|| Hasher::new(self.content.algorithm())).update(&bytes);
            if let Some(earlier) = self.held.replace(bytes) {
                return Ok(Some((earlier, self)));
            }
        }
    }
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
        self.inner.capabilities()
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
            match content.unit_roots() {
                _ if content.length() <= UNIT => self.whole(content, locator, range).await,
                Some(roots) => self.units(content, locator, range, Arc::clone(roots)).await,
                None if range == (0..content.length()) => self.by_digest(content, locator).await,
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

    fn health(&self) -> Health {
        self.inner.health()
    }
}
