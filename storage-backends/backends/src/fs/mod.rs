//! For tests: a backend in another directory, which is a content store of its own.
//!
//! All durable steps are those of the content store. A crash leaves a session there, which the next put of the same
//! content resumes.

mod sessions;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content_store::digest::Digest;
use content_store::{ContentStore, StoreError};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use sessions::SessionsInUse;

use super::source::read_piece;
use super::{
    Answer, Backend, BackendError, ByteStream, Cause, Content, Deletion, EndpointId, FileSource, Health, Identity,
    InvalidEndpointId, Locator, Progress, Put, Source, Stat,
};

/// The file of the marker, in the directory.
const MARKER: &str = "marker";

/// The location of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsBackendConfig {
    /// The directory; made if it is missing.
    pub directory: PathBuf,
    /// The name of this directory in locators. It stays the same when the directory moves.
    #[serde(default)]
    pub label: String,
}

/// Keeps copies in a directory. Clones share it.
#[derive(Clone, Debug)]
pub struct FsBackend {
    store: ContentStore,
    config: Arc<FsBackendConfig>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    sessions: SessionsInUse,
    /// Locked, on blocking threads only, while content is published or removed.
    names: Mutex<()>,
}

impl FsBackend {
    /// Opens the directory. Blocks.
    pub fn open(config: FsBackendConfig) -> Result<Self, BackendError> {
        let store = ContentStore::open(&config.directory).map_err(|error| match error {
            error @ StoreError::NotWritable { .. } => BackendError::Unsuitable { cause: error.into() },
            error => failed(error),
        })?;
        Ok(FsBackend { store, config: Arc::new(config), shared: Arc::default() })
    }

    fn locator(&self, content: &Content) -> Locator {
        Locator::plain("fs", &self.config.label, content.digest().to_string(), content.length())
    }

    /// The marker in the directory, which goes with the content. Made when it is first asked for.
    fn marker(&self) -> Result<EndpointId, BackendError> {
        let path = self.config.directory.join(MARKER);
        let unavailable = |cause: Cause| BackendError::Unavailable { retry_after: None, cause };
        let _names = self.lock_names();
        match fs::read_to_string(&path) {
            Ok(text) => text.parse().map_err(|error: InvalidEndpointId| unavailable(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; EndpointId::SIZE];
                getrandom::fill(&mut bytes).expect("the system has randomness once it has booted");
                let marker = EndpointId::from_bytes(bytes);
                fs::write(&path, marker.to_string()).map_err(|error| unavailable(error.into()))?;
                Ok(marker)
            }
            Err(error) => Err(unavailable(error.into())),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FsBackend) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let backend = self.clone();
        let ended = |error| BackendError::Unavailable { retry_after: None, cause: Box::new(error) };
        tokio::task::spawn_blocking(move || work(&backend)).await.map_err(ended)?
    }

    fn has(&self, content: &Content) -> Result<bool, BackendError> {
        // A file of another length is damaged, and is to be replaced.
        Ok(self.store.stat(content.digest()).map_err(failed)? == Some(content.length()))
    }

    fn remove(&self, digest: &Digest) -> Result<(), BackendError> {
        self.discard_session(digest)?;
        let _names = self.lock_names();
        self.store.remove(digest).map_err(failed)?;
        Ok(())
    }

    fn lock_names(&self) -> MutexGuard<'_, ()> {
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: StoreError) -> BackendError {
    let full = error.is_disk_full();
    let cause: Cause = Box::new(error);
    if full { BackendError::Full { cause } } else { BackendError::Unavailable { retry_after: None, cause } }
}

impl Backend for FsBackend {
    fn kind(&self) -> &'static str {
        "fs"
    }

    fn profile(&self) -> &str {
        &self.config.label
    }

    fn endpoint(&self) -> Option<String> {
        None
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(self.blocking(FsBackend::sweep))
    }

    fn identify(&self) -> Answer<'_, Identity> {
        Box::pin(self.blocking(|backend| backend.marker().map(Identity::Proven)))
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        Box::pin(async move { Ok(Some(self.locator(source.content()))) })
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, _: Put, _: &'a dyn Progress) -> Answer<'a, Locator> {
        Box::pin(async move {
            self.store(&*source).await?;
            Ok(self.locator(source.content()))
        })
    }

    fn get<'a>(&'a self, content: &'a Content, _: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        let content = content.clone();
        Box::pin(async move {
            content.check_range(&range)?;
            let wanted = content.clone();
            let open = move |backend: &FsBackend| match backend.store.open_content(wanted.digest(), wanted.length()) {
                Err(StoreError::Missing { .. }) => Err(BackendError::NotFound),
                Err(StoreError::WrongLength { .. }) => Err(BackendError::Corrupt { start: 0, end: wanted.length() }),
                other => other.map_err(failed),
            };
            let file = FileSource::new(self.blocking(open).await?, content);
            Ok(read_through(file, range))
        })
    }

    fn stat<'a>(&'a self, content: &'a Content, _: &'a Locator) -> Answer<'a, Stat> {
        let wanted = content.clone();
        Box::pin(async move {
            let there = self.blocking(move |backend| backend.has(&wanted)).await?;
            let stat = Stat { length: content.length(), endpoints: Vec::new() };
            there.then_some(stat).ok_or(BackendError::NotFound)
        })
    }

    fn delete<'a>(&'a self, content: &'a Content, _: &'a Locator) -> Answer<'a, Deletion> {
        let digest = content.digest().clone();
        Box::pin(async move {
            self.blocking(move |backend| backend.remove(&digest)).await?;
            Ok(Deletion::Done)
        })
    }

    fn health(&self) -> Health {
        Health::available("fs")
    }
}

/// The bytes of the range in pieces.
fn read_through(file: FileSource, range: Range<u64>) -> ByteStream {
    let pieces = stream::try_unfold((file, range), |(file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let bytes = read_piece(&file, range.start, range.end)
            .await
            .map_err(|error| BackendError::Unavailable { retry_after: None, cause: error.into() })?;
        let rest = range.start + bytes.len() as u64..range.end;
        Ok(Some((bytes, (file, rest))))
    });
    pieces.boxed()
}

#[cfg(test)]
mod tests;
