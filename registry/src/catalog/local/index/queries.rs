//! Typed queries of the tables. They work on the index and on a view.

use std::ops::ControlFlow;

use super::schema::{HolderKind, Key, KeyReader, Table};
use super::source::{Fault, Source};
use super::value::{self, ManifestHead};
use crate::catalog::fact::{ManifestRecord, Visibility};
use crate::catalog::page::Page;
use crate::oci::{Digest, RepositoryName, Tag};

/// The visibility of a repository; `None` if it does not exist.
pub(crate) fn repository(source: &impl Source, repository: &RepositoryName) -> Result<Option<Visibility>, Fault> {
    let payload = source.get(&Key::of(Table::Repository).repository(repository).bytes())?;
    payload.map(|payload| value::read_visibility(&payload).ok_or(Fault::Form)).transpose()
}

/// The size of a blob; `None` if the repository does not have it.
pub(crate) fn blob(source: &impl Source, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>, Fault> {
    let payload = source.get(&Key::of(Table::Blob).repository(repository).digest(digest).bytes())?;
    payload.map(|payload| value::read_size(&payload).ok_or(Fault::Form)).transpose()
}

/// A manifest's record; `None` if the repository does not have it.
pub(crate) fn manifest(
    source: &impl Source,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<ManifestRecord>, Fault> {
    let payload = source.get(&Key::of(Table::Manifest).repository(repository).digest(digest).bytes())?;
    payload.map(|payload| read_json(&payload)).transpose()
}

/// Media type and length of a manifest; `None` if the repository does not have it. This reads only the beginning of the
/// record, which can list thousands of references.
pub(crate) fn manifest_head(
    source: &impl Source,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<ManifestHead>, Fault> {
    let payload = source.get(&Key::of(Table::Manifest).repository(repository).digest(digest).bytes())?;
    payload.map(|payload| ManifestHead::read(&payload).ok_or(Fault::Form)).transpose()
}

/// Bytes of a manifest's record; `None` if the repository does not have it.
pub(crate) fn manifest_bytes(
    source: &impl Source,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<usize>, Fault> {
    let payload = source.get(&Key::of(Table::Manifest).repository(repository).digest(digest).bytes())?;
    Ok(payload.map(|payload| payload.len()))
}

/// The size of a blob or manifest; `None` if the repository does not have it.
pub(crate) fn content_size(
    source: &impl Source,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<u64>, Fault> {
    match blob(source, repository, digest)? {
        Some(size) => Ok(Some(size)),
        None => Ok(manifest_head(source, repository, digest)?.map(|manifest| manifest.size)),
    }
}

/// The digest that a tag points to.
pub(crate) fn tag(source: &impl Source, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, Fault> {
    let payload = source.get(&Key::of(Table::Tag).repository(repository).tag(tag).bytes())?;
    payload.map(|payload| read_digest(&payload)).transpose()
}

/// When a tag was set to a manifest, if known.
pub(crate) fn tag_set_at(
    source: &impl Source,
    repository: &RepositoryName,
    digest: &Digest,
    tag: &Tag,
) -> Result<Option<u64>, Fault> {
    let payload = source.get(&Key::of(Table::TagOf).repository(repository).digest(digest).tag(tag).bytes())?;
    Ok(payload.and_then(|payload| value::read_time(&payload)))
}

/// True if the repository has a manifest.
pub(crate) fn has_manifests(source: &impl Source, repository: &RepositoryName) -> Result<bool, Fault> {
    any(source, &Key::of(Table::Manifest).repository(repository).bytes())
}

/// True if a repository has the content as a blob or manifest, or if it is a list of unit roots.
pub(crate) fn is_referenced(source: &impl Source, digest: &Digest) -> Result<bool, Fault> {
    any(source, &Key::of(Table::Holder).digest(digest).bytes())
}

/// The tags of a repository, in byte order.
pub(crate) fn tags(
    source: &impl Source,
    repository: &RepositoryName,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Tag>, Fault> {
    let prefix = Key::of(Table::Tag).repository(repository);
    let after = after.map(|after| prefix.clone().name(after).bytes());
    page(source, &prefix.bytes(), after.as_deref(), limit, |mut key, _| key.tag())
}

/// All repositories, or only those with a manifest, in byte order.
pub(crate) fn repositories(
    source: &impl Source,
    catalogued_only: bool,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<RepositoryName>, Fault> {
    let prefix = Key::of(if catalogued_only { Table::Catalogued } else { Table::Repository });
    let after = after.map(|after| prefix.clone().name(after).bytes());
    page(source, &prefix.bytes(), after.as_deref(), limit, |mut key, _| key.repository())
}

/// The manifests of a repository, by digest.
pub(crate) fn manifests(
    source: &impl Source,
    repository: &RepositoryName,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Page<(Digest, ManifestRecord)>, Fault> {
    let prefix = Key::of(Table::Manifest).repository(repository);
    digests(source, prefix, after, limit, |payload| serde_json::from_slice(payload).ok())
}

/// The blobs of a repository with their sizes, by digest.
pub(crate) fn blobs(
    source: &impl Source,
    repository: &RepositoryName,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Page<(Digest, u64)>, Fault> {
    digests(source, Key::of(Table::Blob).repository(repository), after, limit, value::read_size)
}

/// The manifests of a repository with this subject, by digest: up to `limit`, and after the first one only as many as
/// fit into `bytes` of records.
pub(crate) fn referrers(
    source: &impl Source,
    repository: &RepositoryName,
    subject: &Digest,
    after: Option<&Digest>,
    limit: usize,
    bytes: usize,
) -> Result<Page<(Digest, ManifestRecord)>, Fault> {
    let prefix = Key::of(Table::Referrer).repository(repository).digest(subject);
    let found = digests(source, prefix, after, limit, |_| Some(()))?;
    let mut page = Page { items: Vec::new(), more: found.more };
    let mut left = bytes;
    for (digest, ()) in found.items {
        let key = Key::of(Table::Manifest).repository(repository).digest(&digest).bytes();
        // A manifest deleted since the scan is skipped.
        let Some(payload) = source.get(&key)? else { continue };
        if payload.len() > left && !page.items.is_empty() {
            page.more = true;
            break;
        }
        left = left.saturating_sub(payload.len());
        page.items.push((digest, read_json(&payload)?));
    }
    Ok(page)
}

/// Tags that point to a manifest, in byte order.
pub(crate) fn tags_of(
    source: &impl Source,
    repository: &RepositoryName,
    digest: &Digest,
    after: Option<&Tag>,
    limit: usize,
) -> Result<Vec<Tag>, Fault> {
    let prefix = Key::of(Table::TagOf).repository(repository).digest(digest);
    let after = after.map(|after| prefix.clone().name(after.as_str()).bytes());
    Ok(page(source, &prefix.bytes(), after.as_deref(), limit, |mut key, _| key.tag())?.items)
}

/// The first manifests of a repository that reference this content.
pub(crate) fn referring(
    source: &impl Source,
    repository: &RepositoryName,
    digest: &Digest,
    limit: usize,
) -> Result<Vec<Digest>, Fault> {
    let prefix = Key::of(Table::Reference).repository(repository).digest(digest).bytes();
    Ok(page(source, &prefix, None, limit, |mut key, _| key.digest())?.items)
}

/// The first repositories that have this content as a blob.
pub(crate) fn holders(source: &impl Source, digest: &Digest, limit: usize) -> Result<Vec<RepositoryName>, Fault> {
    let prefix = Key::of(Table::Holder).digest(digest).kind(HolderKind::Blob).bytes();
    Ok(page(source, &prefix, None, limit, |mut key, _| key.repository())?.items)
}

fn digests<T>(
    source: &impl Source,
    prefix: Key,
    after: Option<&Digest>,
    limit: usize,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<Page<(Digest, T)>, Fault> {
    let after = after.map(|after| prefix.clone().digest(after).bytes());
    page(source, &prefix.bytes(), after.as_deref(), limit, |mut key, payload| Some((key.digest()?, read(payload)?)))
}

/// Up to `limit` entries, and whether there are more.
pub(super) fn page<T>(
    source: &impl Source,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    read: impl Fn(KeyReader<'_>, &[u8]) -> Option<T>,
) -> Result<Page<T>, Fault> {
    let mut page = Page { items: Vec::new(), more: false };
    source.scan(prefix, after, &mut |key, payload| {
        if page.items.len() == limit {
            page.more = true;
            return Ok(ControlFlow::Break(()));
        }
        let reader = KeyReader::after(prefix, key).ok_or(Fault::Form)?;
        page.items.push(read(reader, payload).ok_or(Fault::Form)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(page)
}

pub(super) fn any(source: &impl Source, prefix: &[u8]) -> Result<bool, Fault> {
    Ok(page(source, prefix, None, 0, |_, _| Some(()))?.more)
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(payload).map_err(|_| Fault::Form)
}

fn read_digest(payload: &[u8]) -> Result<Digest, Fault> {
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).ok_or(Fault::Form)
}
