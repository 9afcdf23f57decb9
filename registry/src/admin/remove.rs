//! `rm`: the operator's DELETE. `registry.delete` limits only clients.

use std::sync::Arc;

use tracing::field::display;

use super::reply::Removed;
use super::{BATCH, Item, Output, Target};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::service::{Error, Registry};

pub(super) async fn remove(registry: &Arc<Registry>, target: Target, out: &Output) -> Result<(), Error> {
    let Target { repository, reference } = target;
    let (tag, digest, manifests) = match reference {
        None => (None, None, remove_all(registry, &repository).await?),
        Some(reference) => {
            registry.remove_manifest(None, &repository, &reference, Default::default()).await?;
            match reference {
                Reference::Tag(tag) => (Some(tag), None, 0),
                Reference::Digest(digest) => (None, Some(digest), 1),
            }
        }
    };
    let (shown_tag, shown_digest) = (tag.as_ref().map(display), digest.as_ref().map(display));
    tracing::info!(%repository, tag = shown_tag, digest = shown_digest, manifests, "removed by the operator");
    out.item(Item::Removed(Removed { repository, tag, digest, manifests })).await;
    Ok(())
}

/// Removes all manifests with their tags, and those pushed meanwhile. Blobs are left to a collection, since a push may
/// be about to need them. After a crash the same command removes the rest.
async fn remove_all(registry: &Arc<Registry>, repository: &RepositoryName) -> Result<u64, Error> {
    let name = repository.clone();
    if registry.reading(move |catalog| Ok(catalog.repository(&name)?)).await?.is_none() {
        return Err(Error::RepositoryUnknown);
    }
    let mut removed = 0;
    loop {
        let name = repository.clone();
        let page = registry.reading(move |catalog| Ok(catalog.manifests(&name, None, BATCH)?)).await?;
        if page.items.is_empty() {
            return Ok(removed);
        }
        for (digest, _) in page.items {
            removed += u64::from(remove_one(registry, repository, digest).await?);
        }
    }
}

/// Returns `false` if the manifest was already gone.
async fn remove_one(registry: &Arc<Registry>, repository: &RepositoryName, digest: Digest) -> Result<bool, Error> {
    match registry.remove_manifest(None, repository, &Reference::Digest(digest), Default::default()).await {
        Ok(()) => Ok(true),
        Err(Error::ManifestUnknown) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{Fixture, TestLog};

    /// The lines had `Some(Tag("t1"))`, and the client 127.0.0.1.
    #[tokio::test]
    async fn a_removal_by_the_operator_is_logged_without_a_client() {
        let (log, fixture) = (TestLog::new(), Fixture::new(Duration::from_hours(1)));
        let blob = fixture.push_blob(b"five!").await;
        let manifest = fixture.push_manifest(&blob, 5).await;
        log.take();
        let (out, mut items) = Output::new();
        let reference = Some(Reference::Digest(manifest.clone()));
        let target = Target { repository: fixture.repository.clone(), reference };
        remove(&fixture.registry, target, &out).await.unwrap();
        assert!(items.recv().await.is_some());
        let lines = log.take();
        let last = lines.last().expect("a line");
        let shown = (&last["message"], &last["digest"]);
        assert_eq!(shown, (&"removed by the operator".into(), &manifest.as_str().into()));
        let deleted = lines.iter().find(|line| line["message"] == "a manifest was deleted").expect("a line");
        assert_eq!((deleted.get("client"), deleted.get("request.id")), (None, None), "{deleted}");
    }
}
