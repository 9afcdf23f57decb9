//! Applies a fact to the tables. The writer, catching up, and a rebuild share this code.

use sled::IVec;

use super::schema::{HolderKind, Key, Table};
use super::source::Fault;
use super::value;
use super::view::View;
use super::{places, queries};
use crate::catalog::fact::{Fact, Locator, ManifestRecord};
use crate::catalog::places::{Placement, UnitRootsList};
use crate::oci::{Digest, RepositoryName, Tag};

/// Position and time of a fact, as in its [`crate::catalog::fact::Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sequence: u64,
    pub(crate) time: u64,
}

/// Applies a fact to a view. Facts set or remove things, so applying one twice is harmless.
pub(crate) fn project(fact: &Fact, stamp: Stamp, view: &mut View<'_>) -> Result<(), Fault> {
    match fact {
        Fact::Repository { repository, visibility } => {
            view.put(Key::of(Table::Repository).repository(repository).bytes(), value::visibility(*visibility))
        }
        Fact::BlobLinked { repository, digest, size } => {
            view.put(content_key(Table::Blob, repository, digest), value::size(*size))?;
            view.put(holder(digest, HolderKind::Blob, repository), nothing())
        }
        Fact::BlobUnlinked { repository, digest } => {
            view.remove(content_key(Table::Blob, repository, digest))?;
            view.remove(holder(digest, HolderKind::Blob, repository))
        }
        Fact::ManifestStored { repository, digest, manifest } => store_manifest(view, repository, digest, manifest),
        Fact::ManifestDeleted { repository, digest } => delete_manifest(view, repository, digest),
        Fact::TagSet { repository, tag, digest } => {
            remove_tag_of(view, repository, tag)?;
            view.put(tag_key(repository, tag), IVec::from(digest.as_str()))?;
            view.put(tag_of(repository, digest, tag), value::time(stamp.time))
        }
        Fact::TagDeleted { repository, tag } => {
            remove_tag_of(view, repository, tag)?;
            view.remove(tag_key(repository, tag))
        }
        Fact::UnitRoots { digest, list, units } => keep_roots(view, digest, list, *units),
        Fact::Placed { digest, locator, read_back, read_among, missing, after_unpin } => {
            let (read_back, after_unpin) = (*read_back, *after_unpin);
            let (read_among, missing) = (read_among.clone(), missing.clone());
            view.remove(unpin(digest, locator))?;
            place(view, digest, &Placement { read_back, read_among, missing, after_unpin, ..unread(locator, stamp) })
        }
        // An earlier read-back no longer matters, since a pending unpin does not count as placed.
        Fact::UnpinPending { digest, locator } => {
            view.put(unpin(digest, locator), nothing())?;
            place(view, digest, &Placement { unpin_pending: true, ..unread(locator, stamp) })
        }
        Fact::Unplaced { digest, locator } => {
            view.remove(unpin(digest, locator))?;
            view.remove(placement(digest, locator))
        }
    }
}

/// References the list while it is known. The writer ensures that its blob is referenced, too.
fn keep_roots(view: &mut View<'_>, digest: &Digest, list: &Digest, units: u64) -> Result<(), Fault> {
    if let Some(old) = places::unit_roots(view, digest)? {
        view.remove(roots_holder(&old.list, digest))?;
    }
    let key = Key::of(Table::UnitRoots).digest(digest).bytes();
    if units == 0 {
        return view.remove(key);
    }
    view.put(roots_holder(list, digest), nothing())?;
    view.put(key, value::json(&UnitRootsList { list: list.clone(), units }))
}

fn store_manifest(
    view: &mut View<'_>,
    repository: &RepositoryName,
    digest: &Digest,
    manifest: &ManifestRecord,
) -> Result<(), Fault> {
    let old = queries::manifest(view, repository, digest)?;
    if let Some(old) = &old {
        remove_relations(view, repository, digest, old)?;
    }
    view.put(content_key(Table::Manifest, repository, digest), value::json(manifest))?;
    view.put(holder(digest, HolderKind::Manifest, repository), nothing())?;
    view.put(Key::of(Table::Catalogued).repository(repository).bytes(), nothing())?;
    for target in references_of(digest, manifest) {
        let key = relation(Table::Reference, repository, target, digest);
        // Only a record has relations. Without one, there are none to look up, and there may be thousands.
        match old {
            None => view.put_new(key, nothing())?,
            Some(_) => view.put(key, nothing())?,
        }
    }
    if let Some(subject) = &manifest.subject {
        view.put(relation(Table::Referrer, repository, subject, digest), nothing())?;
    }
    Ok(())
}

fn delete_manifest(view: &mut View<'_>, repository: &RepositoryName, digest: &Digest) -> Result<(), Fault> {
    let Some(old) = queries::manifest(view, repository, digest)? else { return Ok(()) };
    remove_relations(view, repository, digest, &old)?;
    view.remove(content_key(Table::Manifest, repository, digest))?;
    view.remove(holder(digest, HolderKind::Manifest, repository))?;
    if !queries::has_manifests(view, repository)? {
        view.remove(Key::of(Table::Catalogued).repository(repository).bytes())?;
    }
    Ok(())
}

fn remove_relations(
    view: &mut View<'_>,
    repository: &RepositoryName,
    digest: &Digest,
    old: &ManifestRecord,
) -> Result<(), Fault> {
    for target in references_of(digest, old) {
        view.remove(relation(Table::Reference, repository, target, digest))?;
    }
    match &old.subject {
        Some(subject) => view.remove(relation(Table::Referrer, repository, subject, digest)),
        None => Ok(()),
    }
}

fn remove_tag_of(view: &mut View<'_>, repository: &RepositoryName, tag: &Tag) -> Result<(), Fault> {
    match queries::tag(view, repository, tag)? {
        Some(old) => view.remove(tag_of(repository, &old, tag)),
        None => Ok(()),
    }
}

fn place(view: &mut View<'_>, digest: &Digest, record: &Placement) -> Result<(), Fault> {
    view.put(placement(digest, &record.locator), value::json(record))
}

fn unread(locator: &Locator, stamp: Stamp) -> Placement {
    Placement {
        locator: locator.clone(),
        read_back: false,
        unpin_pending: false,
        read_among: Vec::new(),
        missing: Vec::new(),
        after_unpin: None,
        sequence: stamp.sequence,
        time: stamp.time,
    }
}

/// The content that a manifest references, except itself.
fn references_of<'a>(digest: &'a Digest, manifest: &'a ManifestRecord) -> impl Iterator<Item = &'a Digest> {
    manifest.references.iter().filter(move |target| *target != digest)
}

fn content_key(table: Table, repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    Key::of(table).repository(repository).digest(digest).bytes()
}

fn holder(digest: &Digest, kind: HolderKind, repository: &RepositoryName) -> Vec<u8> {
    Key::of(Table::Holder).digest(digest).kind(kind).repository(repository).bytes()
}

fn tag_key(repository: &RepositoryName, tag: &Tag) -> Vec<u8> {
    Key::of(Table::Tag).repository(repository).tag(tag).bytes()
}

fn tag_of(repository: &RepositoryName, digest: &Digest, tag: &Tag) -> Vec<u8> {
    Key::of(Table::TagOf).repository(repository).digest(digest).tag(tag).bytes()
}

fn relation(table: Table, repository: &RepositoryName, target: &Digest, manifest: &Digest) -> Vec<u8> {
    Key::of(table).repository(repository).digest(target).digest(manifest).bytes()
}

fn roots_holder(list: &Digest, of: &Digest) -> Vec<u8> {
    Key::of(Table::Holder).digest(list).kind(HolderKind::UnitRoots).digest(of).bytes()
}

fn placement(digest: &Digest, locator: &Locator) -> Vec<u8> {
    Key::of(Table::Placement).digest(digest).locator(locator).bytes()
}

fn unpin(digest: &Digest, locator: &Locator) -> Vec<u8> {
    Key::of(Table::Unpin).digest(digest).locator(locator).bytes()
}

fn nothing() -> IVec {
    IVec::default()
}
