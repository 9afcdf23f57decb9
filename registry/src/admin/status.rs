//! `status`: the state of a node in figures, within seconds.
//!
//! [`Safety`] is what `--safe` judges: the records, as placement's `Durability` sums them up, and whether the backend
//! answers now. `cli/operate` turns it into an exit code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backends as backend;
use content_store::{ContentStore, StoreError};
use tokio::time::{sleep, timeout};

use super::reply::{CatalogFigures, Copies, Endpoint, EndpointState, Running, Safe, Safety, State, Status, Stored};
use super::{Item, Output};
use crate::catalog::CatalogState;
use crate::placement::{self, Remote};
use crate::service::{Error, Registry};
use crate::units::count;

/// Longest time to count files, and to wait for the backend. The answer must come within 5 s.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pause between two looks whether samples of copies are there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn status(registry: &Arc<Registry>, out: &Output) -> Result<(), Error> {
    let (figures, safety) = tokio::join!(figures(registry), safety(registry));
    let state = Some(state(registry, registry.catalog().state()));
    let (program, open_uploads) = (Some(env!("CARGO_PKG_VERSION").to_owned()), Some(registry.open_uploads() as u64));
    let mut status = Status { node: Running::Running, state, program, open_uploads, safety, ..figures? };
    if let Some(kept) = registry.content.kept.asked_for() {
        let minutes = count(kept.as_secs() / 60, "minute");
        status
            .notes
            .push(format!("a backup has kept all files of content for {minutes}: none is collected or evicted"));
    }
    out.item(Item::Status(Box::new(status))).await;
    Ok(())
}

/// The part of a stopped node's status that is read from its records. It does not contact the backend.
pub async fn of_records(registry: &Arc<Registry>) -> Result<Status, Error> {
    let safety = by_records(registry);
    let safe = if safety.safe == Safe::Yes { Safe::NotKnown } else { safety.safe };
    Ok(Status { safety: Safety { safe, ..safety }, ..records(registry).await? })
}

/// The part of a status that is read from files. On a working disk it blocks for at most two seconds.
pub fn of_files(store: &ContentStore, reserve_bytes: u64) -> Status {
    let (stored, trouble) = stored(store, PATIENCE);
    let (stored, reserve_bytes) = (Some(stored), Some(reserve_bytes));
    Status { stored, free_bytes: store.free_space().ok(), reserve_bytes, trouble, ..Status::of(Running::Stopped) }
}

/// The whole status of a running node.
async fn figures(registry: &Arc<Registry>) -> Result<Status, Error> {
    let reserve = registry.limits().reserve;
    let files = registry.blocking(move |store| Ok(of_files(store, reserve)));
    let (records, files) = tokio::try_join!(records(registry), files)?;
    Ok(files.with_records(records))
}

async fn records(registry: &Arc<Registry>) -> Result<Status, Error> {
    let figures = registry.catalog().status();
    let journal_bytes = registry.reading(|catalog| Ok(catalog.journal_bytes())).await?;
    Ok(Status {
        catalog: Some(CatalogFigures {
            sequence: figures.sequence,
            snapshot_sequence: figures.snapshot_sequence,
            journal_bytes,
            index_entries: figures.index_entries,
            rebuilds: figures.rebuilds,
        }),
        copies: registry.remote.as_deref().map(copies),
        elsewhere: registry.catalog().elsewhere(),
        notes: registry.notes().to_vec(),
        ..Status::of(Running::Stopped)
    })
}

/// Counts the files of a content store for at most `patience`. Also returns why some were left out. Blocks.
fn stored(store: &ContentStore, patience: Duration) -> (Stored, Option<String>) {
    let started = Instant::now();
    let (mut stored, mut trouble) = (Stored { complete: true, ..Stored::default() }, None);
    for content in store.walk() {
        match content {
            Ok(content) => {
                stored.files += 1;
                stored.bytes += content.length;
            }
            Err(StoreError::Stranger(_)) => {}
            Err(error) => {
                stored.complete = false;
                trouble
                    .get_or_insert_with(|| format!("some files cannot be counted: {:#}", anyhow::Error::from(error)));
            }
        }
        if started.elapsed() > patience {
            stored.complete = false;
            break;
        }
    }
    (stored, trouble)
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

/// Whether all content was read back from its endpoints, by the records. That is unknown if one of them does not say now
/// who it is, or was not asked for a sample of its copies since it came up.
async fn safety(registry: &Arc<Registry>) -> Safety {
    let safety = by_records(registry);
    let Some(remote) = registry.remote.as_ref().filter(|_| safety.safe == Safe::Yes) else { return safety };
    let asked = async {
        // Another identity makes other copies count.
        let answered = placement::ask_all(registry.content(), remote).await;
        while answered && !remote.is_sampled() {
            sleep(LOOK_EVERY).await;
        }
        answered
    };
    let asked = timeout(PATIENCE + PATIENCE, asked).await;
    match (asked, by_records(registry)) {
        (Ok(true), safety) => safety,
        (_, Safety { safe: Safe::Yes, .. }) => Safety { safe: Safe::NotKnown, sampled: remote.is_sampled(), ..safety },
        (_, safety) => safety,
    }
}

fn by_records(registry: &Registry) -> Safety {
    let Some(durability) = registry.durability() else {
        return Safety::of(Safe::NoCopies);
    };
    Safety {
        safe: if durability.is_safe() { Safe::Yes } else { Safe::No },
        not_read_back: Some(durability.not_read_back),
        only_here: Some(durability.only_here),
        missing: Some(durability.missing),
        in_doubt: Some(durability.in_doubt),
        sampled: registry.remote.as_ref().is_some_and(|remote| remote.is_sampled()),
        audited_seconds_ago: registry.remote.as_ref().and_then(|remote| remote.audited_seconds_ago()),
        backlog: Some(durability.backlog.count),
        backlog_bytes: Some(durability.backlog.bytes),
        running: durability.running as u64,
        trouble: durability.trouble,
    }
}

/// The endpoints where copies go, by the configuration.
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
    Copies { wanted: remote.backend.copies().max(1), endpoints }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = ContentStore::open(folder.path()).unwrap();
        let blobs = folder.path().join("blobs");
        std::fs::remove_dir_all(&blobs).unwrap();
        // A file in place of the directory stands for a failing disk, since root could read any directory.
        std::fs::write(&blobs, "x").unwrap();
        let (stored, trouble) = stored(&store, PATIENCE);
        assert!(!stored.complete);
        assert!(trouble.unwrap().starts_with("some files cannot be counted: "));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_that_keeps_files_is_told() {
        let fixture = crate::testing::Fixture::new(Duration::ZERO);
        let notes = async || {
            let (out, mut replies) = Output::new();
            status(&fixture.registry, &out).await.unwrap();
            match replies.recv().await {
                Some(super::super::Reply::Item(Item::Status(status))) => status.notes.join(";"),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(notes().await, "");
        let kept = fixture.registry.content.keep_files();
        assert!(notes().await.contains("a backup has kept all files of content for 0 minutes"));
        drop(kept);
        assert_eq!(notes().await, "");
    }
}
