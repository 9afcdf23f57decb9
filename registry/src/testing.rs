//! A registry in a temporary directory, for tests of the layers above the catalog and the store.

mod log;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backends::Backend;
use bytes::Bytes;
use content_store::{ContentStore, UploadId};
use futures_util::stream;

use crate::catalog::{Catalog, CatalogOptions, Clock};
use crate::content::LocalContent;
use crate::oci::{Algorithm, Digest, FixedTags, Reference, RepositoryName};
use crate::placement::{self, Remote};
use crate::resources::Resource;
use crate::service::{
    Caller, Chunk, Closed, Error, IncomingBody, Limits, ManifestPush, Permits, Progress, PushedManifest, Registry,
    Start, Started,
};
use crate::telemetry::metrics::Metrics;

pub(crate) use log::TestLog;

/// A body that arrives with a permit, as the dispatcher has it.
pub(crate) async fn incoming<B>(registry: &Registry, bytes: B) -> IncomingBody<B> {
    let permits: Permits = registry.admit(&Caller::local(), &[Resource::Bodies], None).await.unwrap();
    IncomingBody { chunk: Chunk::Stream, length: None, bytes, permit: permits.body().unwrap() }
}

pub(crate) struct Fixture {
    pub(crate) registry: Arc<Registry>,
    pub(crate) repository: RepositoryName,
    pub(crate) folder: tempfile::TempDir,
    numbers: AtomicU64,
}

impl Fixture {
    pub(crate) fn new(grace: Duration) -> Self {
        Fixture::with(grace, |_| {})
    }

    /// A fixture whose catalog options are adjusted by `change`.
    pub(crate) fn with(grace: Duration, change: impl FnOnce(&mut CatalogOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = open(folder.path(), grace, change);
        Fixture { registry: Arc::new(registry), repository: "a".parse().unwrap(), folder, numbers: AtomicU64::new(0) }
    }

    /// A fixture with a backend. Nothing is placed until [`crate::placement::run`] runs.
    pub(crate) fn placing(grace: Duration, backend: &Arc<dyn Backend>, settings: &placement::Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = open_placing(folder.path(), grace, backend, settings);
        Fixture { registry: Arc::new(registry), repository: "a".parse().unwrap(), folder, numbers: AtomicU64::new(0) }
    }

    /// Drops the registry without a flush and opens it again.
    pub(crate) fn reopen(self, grace: Duration, backend: &Arc<dyn Backend>, settings: &placement::Settings) -> Self {
        self.registry.catalog().close();
        let Fixture { registry, repository, folder, numbers } = self;
        drop(registry);
        let registry = open_placing(folder.path(), grace, backend, settings);
        Fixture { registry: Arc::new(registry), repository, folder, numbers }
    }

    pub(crate) async fn push_blob(&self, bytes: impl AsRef<[u8]>) -> Digest {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let body = stream::iter([Ok::<_, Error>(bytes)]);
        self.registry
            .upload_at_once(
                &crate::service::Caller::local(),
                &self.repository,
                digest.clone(),
                incoming(&self.registry, body).await,
            )
            .await
            .unwrap();
        digest
    }

    /// Bytes that this fixture has not returned before.
    pub(crate) fn next_bytes(&self) -> Bytes {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Bytes::from(format!("content {number}"))
    }

    /// Pushes as docker does: opens a session, sends the bytes, closes it. Also returns the session's id.
    pub(crate) async fn upload(&self, bytes: Bytes) -> (UploadId, Digest, Result<Closed, Error>) {
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let begun = self
            .registry
            .begin_upload(&crate::service::Caller::local(), &self.repository, Start::Session(None))
            .await
            .unwrap();
        let Started::Session(Progress { id, .. }) = begun else { panic!("{begun:?}") };
        let body = incoming(&self.registry, stream::iter([Ok::<_, Error>(bytes)])).await;
        self.registry.append_upload(&crate::service::Caller::local(), &self.repository, &id, body).await.unwrap();
        let closed = self.close(&id, &digest).await;
        (id, digest, closed)
    }

    /// Sends the closing PUT, without a body.
    pub(crate) async fn close(&self, id: &UploadId, digest: &Digest) -> Result<Closed, Error> {
        let empty = stream::iter(Vec::<Result<Bytes, Error>>::new());
        let empty = IncomingBody { length: Some(0), ..incoming(&self.registry, empty).await };
        self.registry.close_upload(&crate::service::Caller::local(), &self.repository, id, digest.clone(), empty).await
    }

    /// Pushes a manifest under the tag `latest`.
    pub(crate) async fn push_manifest(&self, config: &Digest, size: usize) -> Digest {
        self.try_push_manifest(config, size).await.unwrap().digest
    }

    pub(crate) async fn try_push_manifest(&self, config: &Digest, size: usize) -> Result<PushedManifest, Error> {
        let body = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{config}","size":{size}}},"layers":[]}}"#
        );
        self.push_manifest_text(body).await
    }

    /// Pushes this manifest under the tag `latest`.
    pub(crate) async fn push_manifest_text(&self, body: String) -> Result<PushedManifest, Error> {
        let push = ManifestPush {
            reference: Reference::Tag("latest".parse().unwrap()),
            digest: None,
            tags: Vec::new(),
            content_type: Some("application/vnd.oci.image.manifest.v1+json".into()),
            precondition: None,
            fixed: FixedTags::none(),
            body: body.into(),
            memory: None,
        };
        self.registry.put_manifest(&crate::service::Caller::local(), &self.repository, push).await
    }

    pub(crate) fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        self.folder.path().join("blobs").join(digest.algorithm_name()).join(&hex[..2]).join(hex)
    }

    pub(crate) async fn has(&self, digest: &Digest) -> bool {
        self.registry.stat_blob(&self.repository, digest).await.is_ok()
    }
}

fn open(folder: &Path, grace: Duration, change: impl FnOnce(&mut CatalogOptions)) -> Registry {
    Registry::open(content(folder, change), limits(grace)).unwrap()
}

fn content(folder: &Path, change: impl FnOnce(&mut CatalogOptions)) -> LocalContent {
    let store = ContentStore::open(folder).unwrap();
    let mut options = CatalogOptions::new(folder.join("journal"), folder.join("index"));
    options.index_reserve_bytes = 0;
    change(&mut options);
    let (catalog, _) = Catalog::open(options).unwrap();
    LocalContent::new(catalog, store, Arc::new(Metrics::new()))
}

fn open_placing(
    folder: &Path,
    grace: Duration,
    backend: &Arc<dyn Backend>,
    settings: &placement::Settings,
) -> Registry {
    let (tokens, hashes) = (folder.join("resume"), folder.join("unit-hashes"));
    for directory in [&tokens, &hashes] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let remote = Remote::new(Arc::clone(backend), settings.clone(), Clock::system(), tokens);
    let content = content(folder, |options| options.placement = Some(Remote::wanted(&**backend, &[])));
    Registry::open(content.with_unit_hashes(hashes), limits(grace)).unwrap().with_remote(remote)
}

fn limits(grace: Duration) -> Limits {
    Limits {
        reference_checks: true,
        descriptor_sizes: true,
        delete: true,
        delete_referenced_blobs: false,
        max_manifest_size: 4 << 20,
        max_references: 10_000,
        max_blob_size: 0,
        page_size: 100,
        max_tags_per_put: 10,
        max_uploads: 100,
        max_transfers: 10,
        permit_patience: Duration::from_millis(50),
        reserve: 0,
        grace,
        upload_expiry: Duration::from_hours(1),
    }
}
