//! For tests: a backend in the memory of this process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use content_store::digest::Digest;
use futures_util::{StreamExt as _, stream};

use super::source::read_piece;
use super::{
    Answer, Backend, BackendError, ByteStream, Content, Deletion, EndpointId, Health, Identity, Listed, Listing,
    ListingPage, Locator, MAX_READ, Progress, Put, ResumeToken, Source, SourceError, Stat, UNIT, UnitHashes, UnitProof,
    UnitProofs,
};

/// Most objects on one page of a list.
const PAGE: usize = 2;

/// Interrupted uploads that are remembered; the oldest is dropped first.
const MAX_UPLOADS: usize = 16;

/// Keeps everything in memory. Clones share it, so that a clone is another instance over the same storage.
#[derive(Clone, Debug)]
pub struct MemoryBackend {
    state: Arc<Mutex<State>>,
    max_object_size: Option<u64>,
    /// The name in locators, if any.
    name: Option<Arc<str>>,
    prove: fn(&[u8]) -> Arc<dyn UnitProof>,
}

#[derive(Debug, Default)]
struct State {
    /// Drawn when it is first asked for.
    marker: Option<EndpointId>,
    objects: HashMap<Digest, Bytes>,
    /// By number, which is the token.
    uploads: BTreeMap<u64, Partial>,
    next_upload: u64,
}

/// An upload that has not ended.
#[derive(Debug)]
struct Partial {
    digest: Digest,
    bytes: BytesMut,
}

impl MemoryBackend {
    /// An empty one.
    pub fn new() -> Self {
        let prove = |bytes: &[u8]| Arc::new(UnitHashes::of(bytes)) as Arc<dyn UnitProof>;
        MemoryBackend { state: Arc::default(), max_object_size: None, name: None, prove }
    }

    /// This storage, refusing longer content.
    #[must_use]
    pub fn with_max_object_size(self, bytes: u64) -> Self {
        MemoryBackend { max_object_size: Some(bytes), ..self }
    }

    /// This storage with a name for its locators.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        MemoryBackend { name: Some(name.into()), ..self }
    }

    /// This storage, proving units in this way.
    #[must_use]
    pub fn proving(self, prove: fn(&[u8]) -> Arc<dyn UnitProof>) -> Self {
        MemoryBackend { prove, ..self }
    }

    /// This storage with these bytes under the digest, valid or not.
    #[must_use]
    pub fn holding(self, digest: Digest, bytes: Bytes) -> Self {
        self.state().objects.insert(digest, bytes);
        self
    }

    /// The stored content.
    pub fn digests(&self) -> Vec<Digest> {
        self.state().objects.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave a change half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locator(content: &Content) -> Locator {
        Locator::plain("memory", "", content.digest().to_string(), content.length())
    }

    async fn store(&self, source: &dyn Source, put: Put, progress: &dyn Progress) -> Result<(), BackendError> {
        let content = source.content();
        if let Some(limit) = self.max_object_size.filter(|limit| content.length() > *limit) {
            return Err(BackendError::TooLarge { limit });
        }
        if put == Put::IfAbsent && self.state().objects.contains_key(content.digest()) {
            return Ok(());
        }
        let (number, mut offset) = self.take_up(content, progress).await;
        while offset < content.length() {
            let bytes = read_piece(source, offset, content.length()).await?;
            offset = self.state().append(number, offset, &bytes)?;
        }
        self.state().finish(number, content)
    }

    /// The number and offset of the token's upload, or of a new one.
    async fn take_up(&self, content: &Content, progress: &dyn Progress) -> (u64, u64) {
        let number = progress.last().and_then(|token| token.as_str().parse::<u64>().ok());
        if let Some(number) = number
            && let Some(partial) = self.state().uploads.get(&number).filter(|p| p.digest == *content.digest())
        {
            return (number, partial.bytes.len() as u64);
        }
        let number = self.state().begin(content);
        progress.keep(ResumeToken::try_from(number.to_string()).expect("a number is short")).await;
        (number, 0)
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn begin(&mut self, content: &Content) -> u64 {
        while self.uploads.len() >= MAX_UPLOADS {
            self.uploads.pop_first();
        }
        self.next_upload += 1;
        self.uploads.insert(self.next_upload, Partial { digest: content.digest().clone(), bytes: BytesMut::new() });
        self.next_upload
    }

    /// Appends bytes at `offset` if they are the next ones, and returns the next offset. Two puts may feed one upload.
    fn append(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<u64, BackendError> {
        let partial = self.uploads.get_mut(&number).ok_or_else(pushed_out)?;
        if partial.bytes.len() as u64 == offset {
            partial.bytes.extend_from_slice(bytes);
        }
        Ok(partial.bytes.len() as u64)
    }

    fn finish(&mut self, number: u64, content: &Content) -> Result<(), BackendError> {
        let Some(partial) = self.uploads.remove(&number) else {
            // The other put that fed it was first.
            return if self.objects.contains_key(content.digest()) { Ok(()) } else { Err(pushed_out()) };
        };
        let (start, end) = (0, content.length());
        if Digest::of(content.algorithm(), &partial.bytes) != *content.digest() {
            return Err(SourceError::Damaged { start, end }.into());
        }
        self.objects.insert(content.digest().clone(), partial.bytes.freeze());
        Ok(())
    }
}

fn pushed_out() -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: "the upload made room for others".into() }
}

impl Backend for MemoryBackend {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn profile(&self) -> &'static str {
        ""
    }

    fn endpoint(&self) -> Option<String> {
        self.name.as_deref().map(str::to_owned)
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn identify(&self) -> Answer<'_, Identity> {
        Box::pin(async move {
            let marker = *self.state().marker.get_or_insert_with(|| {
                let mut bytes = [0; EndpointId::SIZE];
                getrandom::fill(&mut bytes).expect("the system has randomness once it has booted");
                EndpointId::from_bytes(bytes)
            });
            Ok(Identity::Proven(marker))
        })
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        Box::pin(async move { Ok(Some(Self::locator(source.content()))) })
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, put: Put, progress: &'a dyn Progress) -> Answer<'a, Locator> {
        Box::pin(async move {
            self.store(&*source, put, progress).await?;
            Ok(Self::locator(source.content()).at(self.endpoint()))
        })
    }

    fn get<'a>(&'a self, content: &'a Content, _: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            content.check_range(&range)?;
            let whole = self.state().objects.get(content.digest()).cloned().ok_or(BackendError::NotFound)?;
            if whole.len() as u64 != content.length() {
                return Err(BackendError::Corrupt { start: 0, end: content.length() });
            }
            let bytes = whole.slice(range.start as usize..range.end as usize);
            let pieces = (0..bytes.len()).step_by(MAX_READ as usize).map(move |start| {
                let end = bytes.len().min(start + MAX_READ as usize);
                Ok(bytes.slice(start..end))
            });
            Ok(stream::iter(pieces).boxed())
        })
    }

    fn stat<'a>(&'a self, content: &'a Content, _: &'a Locator) -> Answer<'a, Stat> {
        Box::pin(async move {
            let length = self.state().objects.get(content.digest()).map(Bytes::len).ok_or(BackendError::NotFound)?;
            Ok(Stat { length: length as u64, endpoints: self.endpoint().into_iter().collect() })
        })
    }

    fn delete<'a>(&'a self, content: &'a Content, _: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(async move {
            self.state().objects.remove(content.digest());
            Ok(Deletion::Done)
        })
    }

    fn health(&self) -> Health {
        Health::available(self.name.as_deref().unwrap_or("memory"))
    }

    fn unit_proofs(&self) -> Option<&dyn UnitProofs> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }
}

impl UnitProofs for MemoryBackend {
    fn unit_proof<'a>(&'a self, content: &'a Content, _: &'a Locator) -> Answer<'a, Option<Arc<dyn UnitProof>>> {
        Box::pin(async move {
            let whole = self.state().objects.get(content.digest()).cloned().ok_or(BackendError::NotFound)?;
            Ok((content.length() > UNIT).then(|| (self.prove)(&whole)))
        })
    }
}

impl Listing for MemoryBackend {
    fn list<'a>(&'a self, after: Option<&'a str>) -> Answer<'a, ListingPage> {
        Box::pin(async move {
            let listed = |(digest, bytes): (&Digest, &Bytes)| Listed {
                address: digest.to_string(),
                stored_size: bytes.len() as u64,
            };
            let mut items: Vec<Listed> = self.state().objects.iter().map(listed).collect();
            items.retain(|item| after.is_none_or(|after| item.address.as_str() > after));
            items.sort_by(|one, other| one.address.cmp(&other.address));
            items.truncate(PAGE);
            let next = items.last().filter(|_| items.len() == PAGE).map(|last| last.address.clone());
            Ok(ListingPage { items, next })
        })
    }
}
