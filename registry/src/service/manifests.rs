//! Manifests: push, pull, delete (end-3, 7, 9).
//!
//! A push is checked in three places. This file checks its digest, `oci/manifest` its bytes. The catalog's one writer
//! checks conditions, references and sizes, in `catalog/local/check`.

use std::sync::Arc;

use bytes::Bytes;
use serving::{PERMIT_PATIENCE, UsedUp};
use tokio::time::timeout;
use tracing::field::display;

use super::overview::image_size;
use super::{Blob, Caller, Error, MemoryPermit, Registry, SMALL_MANIFEST};
use crate::catalog::command::{Command, CommitError, Precondition};
use crate::catalog::fact::{Annotations, ManifestRecord};
use crate::oci::manifest::{MAX_ANNOTATIONS, Manifest, ParseError, Referenced};
use crate::oci::{Algorithm, Digest, FixedTags, Reference, RepositoryName, Tag};
use crate::resources::Resource;

/// Most referenced digests in a log line. Images have fewer.
const MAX_LOGGED: usize = 32;

/// Most references of a manifest that only the writer checks. Those of a larger one are checked before, since all
/// pushes wait for the writer.
const CHECKED_BY_WRITER: usize = 128;

/// Most references added up for a size. No image has as many, but a hostile manifest may.
const MAX_SUMMED: usize = 2000;

/// A pushed manifest with its request's parameters.
#[derive(Debug)]
pub struct ManifestPush {
    /// The tag or digest in the URL.
    pub reference: Reference,
    /// `?digest=` on a push by tag: the digest to which the tag must point.
    pub digest: Option<Digest>,
    /// The tags of `?tag=` on a push by digest.
    pub tags: Vec<Tag>,
    /// The `Content-Type`, if the request had one.
    pub content_type: Option<String>,
    /// The condition of `If-Match` or `If-None-Match`.
    pub precondition: Option<Precondition>,
    /// Tags that the caller may not move.
    pub fixed: FixedTags,
    /// The manifest's bytes, unchanged.
    pub body: Bytes,
    /// The permit for the bytes of a large one.
    pub memory: Option<MemoryPermit>,
}

/// The result of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// The digest under which it is stored.
    pub digest: Digest,
    /// The `subject`, if it has one.
    pub subject: Option<Digest>,
    /// The tags of `?tag=` that now point to it.
    pub tags: Vec<Tag>,
    /// A warning for the client about an accepted manifest.
    pub warning: Option<String>,
}

/// The facts for a HEAD answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// The digest under which it is stored. By tag, the digest that the tag was set with.
    pub digest: Digest,
    /// The media type as pushed.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
}

/// A manifest with its bytes.
#[derive(Debug)]
pub struct ManifestContent {
    /// The facts for a HEAD answer.
    pub info: ManifestInfo,
    /// The bytes as pushed, verified: in memory if there are few, else in a file. Readers that stall would hold as many
    /// copies.
    pub body: Blob,
}

impl Registry {
    /// Handles PUT. The caller reads no more of `body` than `registry.max_manifest_size`.
    pub async fn put_manifest(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        push: ManifestPush,
    ) -> Result<PushedManifest, Error> {
        if push.tags.len() > self.limits.max_tags_per_put {
            return Err(Error::TooManyTags { limit: self.limits.max_tags_per_put });
        }
        self.check_store()?;
        let permit = timeout(PERMIT_PATIENCE, Arc::clone(&self.manifest_pushes).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(UsedUp::Pool(Resource::Manifests.name()).into()) };
        let most = self.limits.max_references;
        let (digest, manifest, push) = if push.body.len() as u64 > SMALL_MANIFEST {
            tokio::task::spawn_blocking(move || understand(push, most)).await??
        } else {
            understand(push, most)?
        };
        if let Some(two_sizes) = manifest.two_sizes.as_ref().filter(|_| self.limits.descriptor_sizes) {
            return Err(two_sizes.clone().into());
        }
        // The push is complete, so it is finished even if the client leaves now. Until then it keeps its permits.
        let (registry, repository, caller) = (Arc::clone(self), repository.clone(), caller.clone());
        let mut needed = Vec::new();
        if self.acknowledges_network() {
            // The manifest first, since it is placed last.
            needed.push(digest.clone());
            needed.extend(manifest.references.iter().map(|reference| reference.digest.clone()));
        }
        let done = async move {
            let _permit = permit;
            registry.store_manifest(&caller, repository, digest, manifest, push).await
        };
        let pushed = self.content.tasks.spawn(done).await??;
        self.acknowledge_manifest(needed).await?;
        Ok(pushed)
    }

    async fn store_manifest(
        self: &Arc<Self>,
        caller: &Caller,
        repository: RepositoryName,
        digest: Digest,
        manifest: Manifest,
        push: ManifestPush,
    ) -> Result<PushedManifest, Error> {
        let mut command = self.put_command(&repository, &digest, &manifest, &push);
        if manifest.references.len() > CHECKED_BY_WRITER {
            let checked = self.reading(move |catalog| Ok(catalog.check_put(&command).map(|()| command)?));
            command = checked.await.map_err(|error| missing_from(error, manifest.kind.is_index()))?;
        }
        let length = push.body.len() as u64;
        let _staged = self.stage(caller, |staging| staging.of_new(length)).await?;
        let committed = {
            let _guard = self.content.locks.lock(&digest).await;
            let (name, body) = (digest.clone(), push.body.clone());
            self.blocking(move |store| store.put_bytes(&name, &body)).await?;
            self.catalog().commit(vec![caller.creating(&repository), command]).await
        };
        let moved = match committed {
            Ok(committed) => committed.moved,
            Err(error) => return Err(self.not_stored(error, digest, manifest.kind.is_index()).await),
        };
        self.catalog().place_soon(&digest);
        self.metrics.manifests_pushed.inc();
        self.metrics.stored_bytes.inc_by(push.body.len() as u64);
        for (tag, from) in moved {
            tracing::info!(request.id = %caller.request, client = %caller.address, %repository, %tag, %from, to = %digest,
                "a tag was moved");
        }
        let name = match &push.reference {
            Reference::Tag(tag) => format!("{repository}:{tag}"),
            Reference::Digest(_) => repository.to_string(),
        };
        tracing::info!(target: "skyberth::push", { request.id = %caller.request, client = %caller.address, %digest,
            references = %shown(&manifest.references) }, "pushed {name}");
        let warning = self.sparseness(&repository, &manifest).await?;
        Ok(PushedManifest { digest, subject: manifest.subject.map(|subject| subject.digest), tags: push.tags, warning })
    }

    /// The error for a manifest that was not committed. Removes its file.
    async fn not_stored(&self, error: CommitError, digest: Digest, children: bool) -> Error {
        // A refused push must leave nothing behind, unless the content is referenced. If the journal failed, the facts
        // may be durable, so the bytes must stay.
        if matches!(error, CommitError::Refused(_) | CommitError::DiskFull) {
            self.content.remove_orphans(vec![digest]).await;
        }
        missing_from(error.into(), children)
    }

    /// A warning if content is missing, which reference checks would have refused. A pull of the manifest will fail.
    async fn sparseness(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<Option<String>, Error> {
        if self.limits.reference_checks {
            return Ok(None);
        }
        let needed: Vec<Digest> =
            manifest.references.iter().filter(|r| !r.may_be_absent).map(|r| r.digest.clone()).collect();
        let repository = repository.clone();
        let missing = self.reading(move |catalog| {
            let mut missing = 0;
            for digest in &needed {
                let here = catalog.blob(&repository, digest)?.is_some()
                    || catalog.manifest_head(&repository, digest)?.is_some();
                missing += usize::from(!here);
            }
            Ok(missing)
        });
        let missing = missing.await?;
        Ok((missing > 0)
            .then(|| format!("{missing} of the digests that this manifest references are not in this repository")))
    }

    fn put_command(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        push: &ManifestPush,
    ) -> Command {
        let (limits, all) = (&self.limits, || manifest.references.iter().chain(&manifest.subject));
        let required = all().filter(|reference| limits.reference_checks && !reference.may_be_absent);
        let compare = all().filter(|_| limits.descriptor_sizes);
        Command::PutManifest {
            repository: repository.clone(),
            digest: digest.clone(),
            manifest: record(manifest, push.body.len() as u64),
            required: required.map(|reference| reference.digest.clone()).collect(),
            compare: compare.map(|reference| (reference.digest.clone(), reference.size)).collect(),
            tags: push.all_tags().to_vec(),
            fixed: push.fixed.clone(),
            precondition: push.precondition.clone().map(|condition| (push.reference.clone(), condition)),
        }
    }

    /// Handles HEAD. Like GET it promises the manifest's bytes, so its file or a copy must exist.
    pub async fn head_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo, Error> {
        let info = self.stat_manifest(repository, reference)?;
        let here =
            self.content.hot.get(&info.digest).is_some() || self.content.is_whole(&info.digest, info.size).await?;
        if !here && !self.is_placed(&info.digest)? {
            self.content.put_aside(&info.digest).await?;
            self.lost(&info.digest);
            return Err(Error::ManifestUnknown);
        }
        Ok(info)
    }

    /// The catalog's record of a manifest.
    pub fn stat_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<ManifestInfo, Error> {
        let unknown = || match self.catalog().repository(repository) {
            Ok(Some(_)) => Error::ManifestUnknown,
            Ok(None) => Error::RepositoryUnknown,
            Err(error) => error.into(),
        };
        let digest = match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(tag) => self.catalog().tag(repository, tag)?.ok_or_else(unknown)?,
        };
        let record = self.catalog().manifest_head(repository, &digest)?.ok_or_else(unknown)?;
        Ok(ManifestInfo { digest, media_type: record.media_type, size: record.size })
    }

    /// Handles GET. The bytes are verified before they are sent.
    pub async fn get_manifest(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestContent, Error> {
        let info = self.stat_manifest(repository, reference)?;
        let bytes = self.manifest_body(&info.digest, info.size).await?;
        let file = match info.size > SMALL_MANIFEST {
            true => self.content.open(&info.digest, info.size).await?,
            false => None,
        };
        let body = file.map_or(Blob::Bytes(bytes), |file| Blob::File(file, info.size));
        Ok(ManifestContent { info, body })
    }

    pub(super) async fn manifest_body(self: &Arc<Self>, digest: &Digest, size: u64) -> Result<Bytes, Error> {
        let content = match size > SMALL_MANIFEST {
            true => self.large_content(digest, size).await,
            false => self.small_content(digest, size).await,
        };
        content.map_err(|error| match error {
            Error::BlobUnknown => Error::ManifestUnknown,
            other => other,
        })
    }

    /// Reads a large manifest in a task that keeps the permit, since a client that leaves does not stop the reading.
    async fn large_content(self: &Arc<Self>, digest: &Digest, size: u64) -> Result<Bytes, Error> {
        let permit = Arc::clone(&self.large_reads).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        let (registry, digest) = (Arc::clone(self), digest.clone());
        let read = self.content.tasks.spawn(async move {
            let content = registry.small_content(&digest, size).await;
            drop(permit);
            content
        });
        read.await?
    }

    /// Bytes that a pull of the manifest transfers, as far as the repository has them. For display only.
    pub async fn image_size(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        let (repository, digest) = (repository.clone(), digest.clone());
        let size = self.reading(move |catalog| image_size(catalog, &repository, &digest, &mut { MAX_SUMMED }));
        Ok(size.await?.0)
    }

    /// Handles DELETE: by digest the manifest with all its tags, by tag only the tag. It fails if a fixed tag would go.
    pub async fn delete_manifest(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        reference: &Reference,
        precondition: Option<Precondition>,
        fixed: FixedTags,
    ) -> Result<(), Error> {
        if !self.limits.delete {
            return Err(Error::DeleteDisabled);
        }
        self.remove_manifest(Some(caller), repository, reference, (precondition, fixed)).await
    }

    /// Deletes even if `registry.delete` is off. Without a caller it is for the operator.
    pub(crate) async fn remove_manifest(
        self: &Arc<Self>,
        caller: Option<&Caller>,
        repository: &RepositoryName,
        reference: &Reference,
        conditions: (Option<Precondition>, FixedTags),
    ) -> Result<(), Error> {
        // In a task of its own, so that a client that leaves stops neither a long delete nor its log line.
        let (registry, caller) = (Arc::clone(self), caller.cloned());
        let (repository, reference) = (repository.clone(), reference.clone());
        let done = async move { registry.take_manifest_out(caller, &repository, &reference, conditions).await };
        self.content.tasks.spawn(done).await?
    }

    async fn take_manifest_out(
        &self,
        caller: Option<Caller>,
        repository: &RepositoryName,
        reference: &Reference,
        (precondition, fixed): (Option<Precondition>, FixedTags),
    ) -> Result<(), Error> {
        let committed = match reference {
            Reference::Tag(tag) => {
                let (repository, tag) = (repository.clone(), tag.clone());
                let command = Command::DeleteTag { repository, tag, precondition, fixed };
                self.catalog().commit(vec![command]).await?
            }
            Reference::Digest(digest) => {
                self.renew_references(repository, digest).await?;
                self.catalog().delete_manifest(repository.clone(), digest.clone(), precondition, fixed).await?
            }
        };
        let id = caller.as_ref().map(|caller| display(&caller.request));
        let address = caller.as_ref().map(|caller| display(caller.address));
        tracing::info!(request.id = id, client = address, %repository, %reference,
            "a {} was deleted", if matches!(reference, Reference::Tag(_)) { "tag" } else { "manifest" });
        self.content.remove_orphans(committed.orphaned).await;
        Ok(())
    }

    /// Starts the grace period of blobs that a manifest references, before it is deleted. No collection comes between,
    /// since the manifest still references them. Absent ones get none: they would fill the table.
    async fn renew_references(&self, repository: &RepositoryName, manifest: &Digest) -> Result<(), Error> {
        let (name, manifest) = (repository.clone(), manifest.clone());
        let present = self.reading(move |catalog| {
            let mut present = catalog.manifest(&name, &manifest)?.map_or_else(Vec::new, |record| record.references);
            let mut failed = None;
            present.retain(|digest| match catalog.blob(&name, digest) {
                Ok(size) => size.is_some(),
                Err(error) => {
                    failed = Some(error);
                    false
                }
            });
            failed.map_or(Ok(present), |error| Err(error.into()))
        });
        for digest in present.await? {
            let _ = self.grace.renew(repository, &digest);
        }
        Ok(())
    }
}

impl ManifestPush {
    /// All tags that the push sets.
    fn all_tags(&self) -> &[Tag] {
        match &self.reference {
            Reference::Tag(tag) => std::slice::from_ref(tag),
            Reference::Digest(_) => &self.tags,
        }
    }
}

/// The error for a refused manifest, which says whether the missing content is children of an index.
fn missing_from(error: Error, children: bool) -> Error {
    match error {
        Error::ReferencesMissing { digests, .. } => Error::ReferencesMissing { digests, children },
        other => other,
    }
}

/// The first digests of a list, for a log line.
fn shown(references: &[Referenced]) -> String {
    let first = references.iter().take(MAX_LOGGED).map(|r| r.digest.as_str()).collect::<Vec<_>>().join(",");
    match references.len().saturating_sub(MAX_LOGGED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Parses a push with at most `max_references`, and returns the digest under which to store it.
fn understand(push: ManifestPush, max_references: usize) -> Result<(Digest, Manifest, ManifestPush), Error> {
    let digest = verified_digest(&push)?;
    let manifest =
        Manifest::parse(push.content_type.as_deref(), &push.body, max_references).map_err(|error| match error {
            ParseError::Invalid(invalid) => Error::ManifestInvalid(invalid),
            ParseError::TooManyReferences => Error::TooManyReferences { limit: max_references },
        })?;
    Ok((digest, manifest, push))
}

/// The digest under which to store the manifest: the client's, which the bytes must match; else sha256.
fn verified_digest(push: &ManifestPush) -> Result<Digest, Error> {
    let claimed = match (&push.reference, &push.digest) {
        (Reference::Digest(digest), _) | (Reference::Tag(_), Some(digest)) => digest,
        (Reference::Tag(_), None) => return Ok(Digest::of(Algorithm::Sha256, &push.body)),
    };
    let Some(algorithm) = claimed.algorithm() else {
        return Err(Error::AlgorithmUnsupported(claimed.algorithm_name().to_owned()));
    };
    let computed = Digest::of(algorithm, &push.body);
    if computed == *claimed { Ok(computed) } else { Err(Error::DigestMismatch { claimed: claimed.clone(), computed }) }
}

fn record(manifest: &Manifest, size: u64) -> ManifestRecord {
    let annotations = match (&manifest.subject, &manifest.annotations) {
        (None, _) => Annotations::None,
        (Some(_), Some(all)) if all.is_empty() => Annotations::None,
        (Some(_), Some(all)) => match serde_json::to_vec(all) {
            Ok(json) if json.len() <= MAX_ANNOTATIONS => Annotations::Inline(all.clone()),
            _ => Annotations::InBody,
        },
        (Some(_), None) => Annotations::InBody,
    };
    ManifestRecord {
        media_type: manifest.kind.media_type().to_owned(),
        size,
        subject: manifest.subject.as_ref().map(|subject| subject.digest.clone()),
        artifact_type: manifest.artifact_type.clone(),
        annotations,
        references: manifest.references.iter().map(|reference| reference.digest.clone()).collect(),
    }
}
