//! `status`: how a node is, in figures, within seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backends as backend;
use content_store::{ContentStore, StoreError};
use tokio::time::timeout;

use super::reply::{CatalogFigures, Copies, Endpoint, EndpointState, Running, Safe, Safety, State, Status, Stored};
use super::{Item, Output};
use crate::catalog::CatalogState;
use crate::placement::Remote;
use crate::service::{Error, Registry};

/// How long files are counted, and the backend is waited for: the answer has to come within 5 s.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn status(registry: &Arc<Registry>, out: &Output) -> Result<(), Error> {
    let (figures, safety) = tokio::join!(figures(registry), safety(registry));
    let state = Some(state(registry, registry.catalog().state()));
    let (program, open_uploads) = (Some(env!("CARGO_PKG_VERSION").to_owned()), Some(registry.open_uploads() as u64));
    let status = Status { node: Running::Running, state, program, open_uploads, safety, ..figures? };
    out.item(Item::Status(Box::new(status))).await;
    Ok(())
}

/// The status of a stopped node, by its files. Its backend is not asked.
pub async fn of_stopped(registry: &Arc<Registry>) -> Result<Status, Error> {
    let safety = by_records(registry);
    let safe = if safety.safe == Safe::Yes { Safe::NotKnown } else { safety.safe };
    Ok(Status { safety: Safety { safe, ..safety }, ..figures(registry).await? })
}

/// What a running node and a stopped one have in common.
async fn figures(registry: &Arc<Registry>) -> Result<Status, Error> {
    let figures = registry.catalog().status();
    let journal_bytes = registry.reading(|catalog| Ok(catalog.journal_bytes())).await?;
    let (stored, free) = registry.blocking(|store| Ok((stored(store, PATIENCE)?, store.free_space()?))).await?;
    Ok(Status {
        catalog: Some(CatalogFigures {
            sequence: figures.sequence,
            snapshot_sequence: figures.snapshot_sequence,
            journal_bytes,
            index_entries: figures.index_entries,
            rebuilds: figures.rebuilds,
        }),
        stored: Some(stored),
        free_bytes: Some(free),
        reserve_bytes: Some(registry.limits().reserve),
        copies: registry.remote.as_deref().map(copies),
        elsewhere: registry.catalog().elsewhere(),
        notes: registry.notes().to_vec(),
        ..Status::of(Running::Stopped)
    })
}

/// Counts the files of a content store, for as long as `patience` lasts. Blocks.
fn stored(store: &ContentStore, patience: Duration) -> Result<Stored, StoreError> {
    /// Files between two looks at the clock.
    const LOOKS: u64 = 256;
    let started = Instant::now();
    let mut stored = Stored { complete: true, ..Stored::default() };
    for content in store.walk() {
        match content {
            Ok(content) => {
                stored.files += 1;
                stored.bytes += content.length;
            }
            Err(StoreError::Stranger(_)) => {}
            Err(error) => return Err(error),
        }
        if stored.files.is_multiple_of(LOOKS) && started.elapsed() > patience {
            return Ok(Stored { complete: false, ..stored });
        }
    }
    Ok(stored)
}

fn state(registry: &Registry, catalog: CatalogState) -> State {
    match catalog {
        CatalogState::Ready if registry.store().is_troubled() => State::Degraded,
        CatalogState::Ready => State::Ready,
        CatalogState::ReadOnly => State::ReadOnly,
        CatalogState::Rebuilding => State::Rebuilding,
        CatalogState::Closed => State::Stopping,
    }
}

/// That nothing lacks a copy is what the records say; they count for nothing while the backend does not answer.
async fn safety(registry: &Arc<Registry>) -> Safety {
    let safety = by_records(registry);
    match &registry.remote {
        Some(remote) if safety.safe == Safe::Yes && !timeout(PATIENCE, remote.answers()).await.unwrap_or(false) => {
            Safety { safe: Safe::NotKnown, ..safety }
        }
        _ => safety,
    }
}

fn by_records(registry: &Registry) -> Safety {
    let Some(durability) = registry.durability() else {
        return Safety { safe: Safe::NoCopies, backlog: None, backlog_bytes: None, running: 0, trouble: None };
    };
    Safety {
        safe: if durability.backlog.count == 0 { Safe::Yes } else { Safe::No },
        backlog: Some(durability.backlog.count),
        backlog_bytes: Some(durability.backlog.bytes),
        running: durability.running as u64,
        trouble: durability.trouble,
    }
}

/// Where copies go, by the configuration.
fn copies(remote: &Remote) -> Copies {
    let endpoint = |endpoint: backend::EndpointHealth| Endpoint {
        name: endpoint.name,
        state: match endpoint.state {
            backend::EndpointState::Available => EndpointState::Available,
            backend::EndpointState::Resting(_) => EndpointState::Resting,
            backend::EndpointState::Distrusted => EndpointState::Distrusted,
        },
    };
    let endpoints = remote.backend.health().endpoints.into_iter().map(endpoint).collect();
    Copies { wanted: remote.backend.capabilities().copies.max(1), endpoints }
}
