//! `ls`: lists repositories, or the tags and manifests of one repository.

use std::sync::Arc;

use super::image::{self, manifest};
use super::reply::Repository;
use super::{BATCH, Item, Output, Target};
use crate::catalog::fact::Visibility;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::service::{Error, MayPull, Registry};

pub(super) async fn list(registry: &Arc<Registry>, target: Option<Target>, out: &Output) -> Result<(), Error> {
    match target {
        None => repositories(registry, out).await,
        Some(Target { repository, reference: None }) => manifests(registry, &repository, out).await,
        Some(Target { repository, reference: Some(reference) }) => {
            image::describe(registry, &repository, &reference, out).await
        }
    }
}

async fn repositories(registry: &Arc<Registry>, out: &Output) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = registry.repositories(after.take(), BATCH, MayPull::only(|_| true)).await?;
        for name in &page.names {
            let tags = registry.tags(name, None, BATCH).await?;
            let (counted, more_tags) = (tags.tags.len() as u64, tags.more);
            let private = registry.catalog().repository(name)? == Some(Visibility::Private);
            out.item(Item::Repository(Repository { name: name.clone(), tags: counted, more_tags, private })).await;
        }
        after = page.names.last().map(ToString::to_string);
        if !page.more {
            return Ok(());
        }
    }
}

/// Lists the manifests of each tag, then those without a tag.
async fn manifests(registry: &Arc<Registry>, name: &RepositoryName, out: &Output) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = registry.tags(name, after.take(), BATCH).await?;
        for tag in &page.tags {
            let found = manifest(registry, name, &Reference::Tag(tag.clone()), true).await?;
            out.item(Item::Manifest(found)).await;
        }
        after = page.tags.last().map(ToString::to_string);
        if !page.more {
            return untagged(registry, name, out).await;
        }
    }
}

async fn untagged(registry: &Arc<Registry>, name: &RepositoryName, out: &Output) -> Result<(), Error> {
    let mut after: Option<Digest> = None;
    loop {
        let (repository, from) = (name.clone(), after.take());
        let (untagged, last) = registry
            .reading(move |catalog| {
                let page = catalog.manifests(&repository, from.as_ref(), BATCH)?;
                let last = page.items.last().map(|(digest, _)| digest.clone()).filter(|_| page.more);
                let mut untagged = Vec::new();
                for (digest, _) in page.items {
                    if catalog.tags_of(&repository, &digest, None, 1)?.is_empty() {
                        untagged.push(digest);
                    }
                }
                Ok((untagged, last))
            })
            .await?;
        for digest in untagged {
            let found = manifest(registry, name, &Reference::Digest(digest), false).await?;
            out.item(Item::Manifest(found)).await;
        }
        if last.is_none() {
            return Ok(());
        }
        after = last;
    }
}
