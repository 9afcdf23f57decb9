//! A model of the catalog without tables: plain maps, and queries that scan everything.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Catalog;
use crate::catalog::command::{Command, Precondition, Refusal, Versions};
use crate::catalog::fact::{ManifestRecord, Visibility};
use crate::oci::{Digest, Reference, RepositoryName, Tag};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    repositories: BTreeMap<RepositoryName, Visibility>,
    blobs: BTreeMap<(RepositoryName, Digest), u64>,
    manifests: BTreeMap<(RepositoryName, Digest), ManifestRecord>,
    tags: BTreeMap<(RepositoryName, Tag), Digest>,
}

/// The names used in queries.
#[derive(Clone, Debug)]
pub(super) struct Universe {
    pub(super) repositories: Vec<RepositoryName>,
    pub(super) digests: Vec<Digest>,
    pub(super) tags: Vec<Tag>,
}

impl Model {
    /// Runs all commands or none. Returns the removed content that is now unreferenced.
    pub(super) fn commit(&mut self, commands: &[Command]) -> Result<BTreeSet<Digest>, Refusal> {
        let mut next = self.clone();
        let mut taken = BTreeSet::new();
        for command in commands {
            next.carry_out(command, &mut taken)?;
        }
        taken.retain(|digest| !next.is_referenced(digest));
        *self = next;
        Ok(taken)
    }

    fn carry_out(&mut self, command: &Command, taken: &mut BTreeSet<Digest>) -> Result<(), Refusal> {
        match command.clone() {
            Command::CreateRepository { repository, visibility } => {
                self.repositories.entry(repository).or_insert(visibility);
            }
            Command::SetVisibility { repository, visibility } => {
                *self.repositories.get_mut(&repository).ok_or(Refusal::RepositoryUnknown)? = visibility;
            }
            Command::LinkBlob { repository, digest, size } => {
                self.repositories.entry(repository.clone()).or_default();
                self.blobs.entry((repository, digest)).or_insert(size);
            }
            Command::MountBlob { repository, digest, from } => {
                let size = *self.blobs.get(&(from, digest.clone())).ok_or(Refusal::BlobUnknown)?;
                self.repositories.entry(repository.clone()).or_default();
                self.blobs.entry((repository, digest)).or_insert(size);
            }
            Command::UnlinkBlob { repository, digest, even_if_referenced, precondition } => {
                self.known(&repository)?;
                if !self.blobs.contains_key(&(repository.clone(), digest.clone())) {
                    return Err(Refusal::BlobUnknown);
                }
                check(precondition, Some(&digest))?;
                let mut needing = self.needing(&repository, &digest);
                if !even_if_referenced && !needing.is_empty() {
                    needing.truncate(10);
                    return Err(Refusal::BlobReferenced(needing));
                }
                self.blobs.remove(&(repository, digest.clone()));
                taken.insert(digest);
            }
            Command::CollectBlob { repository, digest } => {
                if self.needing(&repository, &digest).is_empty()
                    && self.blobs.remove(&(repository, digest.clone())).is_some()
                {
                    taken.insert(digest);
                }
            }
            Command::PutManifest { repository, digest, manifest, required, compare, tags, fixed, precondition } => {
                if let Some((reference, precondition)) = precondition {
                    let current = match reference {
                        Reference::Tag(tag) => self.tags.get(&(repository.clone(), tag)),
                        Reference::Digest(digest) => {
                            self.manifests.get_key_value(&(repository.clone(), digest)).map(|((_, digest), _)| digest)
                        }
                    };
                    check(Some(precondition), current)?;
                }
                self.check_content(&repository, (&digest, manifest.size), &required, &compare)?;
                let moves = |tag: &&Tag| {
                    self.tags.get(&(repository.clone(), (*tag).clone())).is_some_and(|before| *before != digest)
                };
                if let Some(tag) = tags.iter().filter(moves).find(|tag| fixed.has(tag)) {
                    return Err(Refusal::TagFixed(tag.clone()));
                }
                self.repositories.entry(repository.clone()).or_default();
                self.manifests.insert((repository.clone(), digest.clone()), manifest);
                for tag in tags {
                    self.tags.insert((repository.clone(), tag), digest.clone());
                }
            }
            Command::DeleteManifest { repository, digest, precondition, fixed } => {
                self.known(&repository)?;
                let key = (repository.clone(), digest.clone());
                if !self.manifests.contains_key(&key) {
                    return Err(Refusal::ManifestUnknown);
                }
                check(precondition, Some(&digest))?;
                let mut tags = self.tags.iter().filter(|((of, _), to)| *of == repository && **to == digest);
                if let Some(((_, tag), _)) = tags.find(|((_, tag), _)| fixed.has(tag)) {
                    return Err(Refusal::TagFixed(tag.clone()));
                }
                self.manifests.remove(&key);
                self.tags.retain(|(of, _), to| *of != repository || *to != digest);
                taken.insert(digest);
            }
            // The histories have fewer tags than one batch can delete.
            Command::UntagManifest { repository, digest, fixed: _ } => {
                self.tags.retain(|(of, _), to| *of != repository || *to != digest);
            }
            Command::DeleteTag { repository, tag, precondition, fixed } => {
                self.known(&repository)?;
                let key = (repository, tag);
                check(precondition, Some(self.tags.get(&key).ok_or(Refusal::TagUnknown)?))?;
                if fixed.has(&key.1) {
                    return Err(Refusal::TagFixed(key.1));
                }
                self.tags.remove(&key);
            }
            Command::RecordUnitRoots { .. }
            | Command::RecordPlaced { .. }
            | Command::RecordAbandoned { .. }
            | Command::RecordReadBack { .. }
            | Command::RecordMissing { .. }
            | Command::RecordUnplaced { .. } => unreachable!("histories of places have a model of their own"),
        }
        Ok(())
    }

    fn known(&self, repository: &RepositoryName) -> Result<(), Refusal> {
        if self.repositories.contains_key(repository) { Ok(()) } else { Err(Refusal::RepositoryUnknown) }
    }

    fn check_content(
        &self,
        repository: &RepositoryName,
        own: (&Digest, u64),
        required: &[Digest],
        compare: &[(Digest, u64)],
    ) -> Result<(), Refusal> {
        let size = |digest: &Digest| {
            let key = (repository.clone(), digest.clone());
            if digest == own.0 {
                return Some(own.1);
            }
            self.blobs.get(&key).copied().or_else(|| self.manifests.get(&key).map(|manifest| manifest.size))
        };
        let mut seen = BTreeSet::new();
        let absent = required.iter().filter(|digest| size(digest).is_none());
        let missing: Vec<_> = absent.filter(|digest| seen.insert((*digest).clone())).cloned().collect();
        if !missing.is_empty() {
            return Err(Refusal::ReferencesMissing(missing));
        }
        for (digest, stated) in compare {
            if let Some(stored) = size(digest).filter(|stored| stored != stated) {
                return Err(Refusal::SizeMismatch { digest: digest.clone(), stated: *stated, stored });
            }
        }
        Ok(())
    }

    fn needing(&self, repository: &RepositoryName, target: &Digest) -> Vec<Digest> {
        let of_repository = self.manifests.iter().filter(|((of, digest), _)| of == repository && digest != target);
        let needing = of_repository.filter(|(_, manifest)| manifest.references.contains(target));
        needing.map(|((_, digest), _)| digest.clone()).collect()
    }

    fn is_referenced(&self, digest: &Digest) -> bool {
        self.blobs.keys().any(|(_, held)| held == digest) || self.manifests.keys().any(|(_, held)| held == digest)
    }

    /// Compares the answers to all queries.
    pub(super) fn assert_answers(&self, catalog: &Catalog, universe: &Universe) {
        self.assert_listings(catalog);
        for repository in &universe.repositories {
            let exists = self.repositories.get(repository).copied();
            assert_eq!(catalog.repository(repository).unwrap(), exists);
            let tags: Vec<_> =
                self.tags.keys().filter(|(of, _)| of == repository).map(|(_, tag)| tag.clone()).collect();
            assert_eq!(all_pages(|after: Option<&Tag>| catalog.tags(repository, after.map(Tag::as_str), 2)), tags);
            for tag in &universe.tags {
                let expected = self.tags.get(&(repository.clone(), tag.clone()));
                assert_eq!(catalog.tag(repository, tag).unwrap().as_ref(), expected);
            }
            let manifests = self.manifests.iter().filter(|((of, _), _)| of == repository);
            let manifests: Vec<_> = manifests.map(|((_, digest), record)| (digest.clone(), record.clone())).collect();
            let found =
                all_pages(|after: Option<&(Digest, _)>| catalog.manifests(repository, after.map(|after| &after.0), 2));
            assert_eq!(found, manifests);
            let blobs = self.blobs.iter().filter(|((of, _), _)| of == repository);
            let blobs: Vec<_> = blobs.map(|((_, digest), size)| (digest.clone(), *size)).collect();
            let found =
                all_pages(|after: Option<&(Digest, _)>| catalog.blobs(repository, after.map(|after| &after.0), 3));
            assert_eq!(found, blobs);
            universe.digests.iter().for_each(|digest| self.assert_content(catalog, repository, digest));
        }
        for digest in &universe.digests {
            assert_eq!(catalog.is_referenced(digest).unwrap(), self.is_referenced(digest));
            let holders = self.blobs.keys().filter(|(_, held)| held == digest).map(|(of, _)| of.clone());
            assert_eq!(catalog.holders(digest, 10).unwrap(), holders.collect::<Vec<_>>());
        }
    }

    fn assert_listings(&self, catalog: &Catalog) {
        let found =
            all_pages(|after: Option<&RepositoryName>| catalog.repositories(after.map(RepositoryName::as_str), 1));
        assert_eq!(found, self.repositories.keys().cloned().collect::<Vec<_>>());
        let found =
            all_pages(|after: Option<&RepositoryName>| catalog.catalogued(after.map(RepositoryName::as_str), 1));
        let expected: BTreeSet<_> = self.manifests.keys().map(|(of, _)| of.clone()).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    fn assert_content(&self, catalog: &Catalog, repository: &RepositoryName, digest: &Digest) {
        let key = (repository.clone(), digest.clone());
        assert_eq!(catalog.blob(repository, digest).unwrap(), self.blobs.get(&key).copied());
        assert_eq!(catalog.manifest(repository, digest).unwrap().as_ref(), self.manifests.get(&key));
        let tags = self.tags.iter().filter(|((of, _), to)| of == repository && *to == digest);
        let tags: Vec<_> = tags.map(|((_, tag), _)| tag.clone()).collect();
        assert_eq!(catalog.tags_of(repository, digest, None, 10).unwrap(), tags);
        assert_eq!(catalog.referring(repository, digest, 10).unwrap(), self.needing(repository, digest));
        let referrers = self
            .manifests
            .iter()
            .filter(|((of, _), record)| of == repository && record.subject.as_ref() == Some(digest));
        let referrers: Vec<_> = referrers.map(|((_, digest), record)| (digest.clone(), record.clone())).collect();
        let found = all_pages(|after: Option<&(Digest, _)>| {
            catalog.referrers(repository, digest, after.map(|after| &after.0), 1, 0)
        });
        assert_eq!(found, referrers);
    }
}

/// Reads pages until the last.
fn all_pages<T, E: std::fmt::Debug>(page: impl Fn(Option<&T>) -> Result<crate::catalog::Page<T>, E>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let next = page(all.last()).unwrap();
        assert!(!next.more || !next.items.is_empty());
        all.extend(next.items);
        if !next.more {
            return all;
        }
    }
}

/// RFC 9110 section 13.2.2: first `If-Match`, then `If-None-Match`.
fn check(precondition: Option<Precondition>, current: Option<&Digest>) -> Result<(), Refusal> {
    let Some(Precondition { if_match, if_none_match }) = precondition else { return Ok(()) };
    let names = |versions: Option<Versions>| {
        versions.map(|versions| match (versions, current) {
            (_, None) => false,
            (Versions::Any, Some(_)) => true,
            (Versions::Listed(listed), Some(current)) => listed.contains(current),
        })
    };
    if names(if_match) == Some(false) || names(if_none_match) == Some(true) {
        return Err(Refusal::PreconditionFailed);
    }
    Ok(())
}
