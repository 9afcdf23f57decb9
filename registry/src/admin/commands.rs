//! The commands themselves.

use std::sync::Arc;

use backends::{EndpointHealth, EndpointState};
use content_store::ContentStore;

use super::{Command, Output, Reply, fsck, places};
use crate::catalog::Elsewhere;
use crate::gc::collect;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::placement::Remote;
use crate::service::{Error, Registry};
use crate::units::bytes;

/// Entries fetched at once.
const BATCH: usize = 256;

/// Carries out a command; its last reply says how it ended.
pub async fn run(registry: &Arc<Registry>, command: Command, out: &Output) {
    let result = match command {
        Command::Status => status(registry, out).await.map(|()| true),
        Command::Ls { name: None } => list(registry, out).await.map(|()| true),
        Command::Ls { name: Some(name) } => list_one(registry, &name, out).await.map(|()| true),
        Command::Gc { dry_run } => gc(registry, dry_run, out).await.map(|()| true),
        Command::Fsck { repair } => fsck::check(registry, repair, out).await,
    };
    out.end(match result {
        Ok(sound) => Reply::Done(sound),
        Err(error) => Reply::Failed(error.to_string()),
    })
    .await;
}

async fn status(registry: &Arc<Registry>, out: &Output) -> Result<(), Error> {
    let status = registry.catalog().status();
    let journal = registry.reading(|catalog| Ok(catalog.journal_bytes())).await?;
    let free = registry.blocking(ContentStore::free_space).await?;
    let degraded = if registry.store().is_troubled() { ", degraded: the content store's disk fails" } else { "" };
    out.line(format!("state            {:?}{degraded}", status.state)).await;
    out.line(format!("sequence         {} (snapshot at {})", status.sequence, status.snapshot_sequence)).await;
    out.line(format!("journal          {}", bytes(journal))).await;
    out.line(format!(
        "index            {} entries, {} rebuilds since the start",
        status.index_entries, status.rebuilds
    ))
    .await;
    out.line(format!("open uploads     {}", registry.open_uploads())).await;
    if let Some(remote) = &registry.remote {
        out.line(format!("copies           {}", copies(remote))).await;
    }
    if let Some(durability) = registry.durability() {
        let running = match durability.running {
            0 => String::new(),
            running => format!(" ({running} on their way)"),
        };
        out.line(format!("durability       {durability}{running}")).await;
        if let Some(trouble) = durability.trouble {
            out.line(format!("                 last trouble: {trouble}")).await;
        }
    }
    elsewhere(registry, out).await;
    out.line(format!("free disk space  {} ({} are kept free)", bytes(free), bytes(registry.limits().reserve))).await;
    for note in &registry.notes {
        out.line(format!("note             {note}")).await;
    }
    Ok(())
}

/// What is recorded where this node does not go any more.
async fn elsewhere(registry: &Registry, out: &Output) {
    let Elsewhere { content, unpins } = registry.catalog().elsewhere();
    if content > 0 {
        let places = "is also recorded at places that are not configured; copies there do not count";
        out.line(format!("elsewhere        {content} pieces of content: each {places}")).await;
    }
    if unpins > 0 {
        let wait = "wait until their places are configured again: nobody else can remove them there";
        out.line(format!("                 {unpins} removals {wait}")).await;
    }
}

/// `2 of each blob, on http://a:1, http://b:2 (resting)`
fn copies(remote: &Remote) -> String {
    let endpoints = remote.backend.health().endpoints.into_iter().map(|EndpointHealth { name, state }| match state {
        EndpointState::Available => name,
        EndpointState::Resting(_) => format!("{name} (resting)"),
        EndpointState::Distrusted => format!("{name} (not trusted)"),
    });
    let wanted = remote.backend.capabilities().copies.max(1);
    format!("{wanted} of each blob, on {}", endpoints.collect::<Vec<_>>().join(", "))
}

async fn list(registry: &Arc<Registry>, out: &Output) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = registry.repositories(after.take(), BATCH).await?;
        for name in &page.names {
            let tags = registry.tags(name, None, BATCH).await?;
            let more = if tags.more { "+" } else { "" };
            out.line(format!("{name}\t{}{more} tags", tags.tags.len())).await;
        }
        after = page.names.last().map(ToString::to_string);
        if !page.more {
            return Ok(());
        }
    }
}

/// `NAME`, `NAME:TAG` or `NAME@DIGEST`.
async fn list_one(registry: &Arc<Registry>, text: &str, out: &Output) -> Result<(), Error> {
    let (name, reference) = split(text)?;
    if let Some(reference) = reference {
        line(registry, &name, &reference, out).await?;
        return match &reference {
            Reference::Digest(digest) if registry.remote.is_some() => places::list(registry, &name, digest, out).await,
            _ => Ok(()),
        };
    }
    let mut after = None;
    loop {
        let page = registry.tags(&name, after.take(), BATCH).await?;
        for tag in &page.tags {
            line(registry, &name, &Reference::Tag(tag.clone()), out).await?;
        }
        after = page.tags.last().map(ToString::to_string);
        if !page.more {
            break;
        }
    }
    untagged(registry, &name, out).await
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
                    if catalog.tags_of(&repository, &digest, 1)?.is_empty() {
                        untagged.push(digest);
                    }
                }
                Ok((untagged, last))
            })
            .await?;
        for digest in untagged {
            line(registry, name, &Reference::Digest(digest), out).await?;
        }
        if last.is_none() {
            return Ok(());
        }
        after = last;
    }
}

async fn line(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    reference: &Reference,
    out: &Output,
) -> Result<(), Error> {
    let info = registry.stat_manifest(name, reference)?;
    let size = registry.image_size(name, &info.digest).await?;
    let label = match reference {
        Reference::Tag(tag) => format!("{name}:{tag}"),
        Reference::Digest(_) => format!("{name} (untagged)"),
    };
    out.line(format!("{label}\t{}\t{}\t{}", info.digest, bytes(size), info.media_type)).await;
    Ok(())
}

fn split(text: &str) -> Result<(RepositoryName, Option<Reference>), Error> {
    let parsed = if let Some((name, digest)) = text.split_once('@') {
        name.parse().ok().zip(digest.parse().ok().map(|digest| Some(Reference::Digest(digest))))
    } else if let Some((name, tag)) = text.split_once(':') {
        name.parse().ok().zip(tag.parse().ok().map(|tag| Some(Reference::Tag(tag))))
    } else {
        text.parse().ok().map(|name| (name, None))
    };
    parsed.ok_or(Error::RepositoryUnknown)
}

async fn gc(registry: &Arc<Registry>, dry_run: bool, out: &Output) -> Result<(), Error> {
    let done = collect(registry, dry_run).await?;
    let verb = if dry_run { "would remove" } else { "removed" };
    out.line(format!("{verb} {} unreferenced blobs ({})", done.blobs, bytes(done.bytes))).await;
    out.line(format!("{verb} {} files that nobody held", done.files)).await;
    out.line(format!("{verb} {} idle uploads", done.uploads)).await;
    out.line(format!("kept {} unreferenced blobs that are young or being pushed to", done.kept)).await;
    Ok(())
}
