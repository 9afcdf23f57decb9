//! One look at a piece of content: places it if it lacks a copy, and reads it back if that is due.

use std::sync::Arc;

use backends::{Backend, BackendError, Content, FileSource, Locator, Put, Source, SourceError};
use content_store::hasher::Hasher;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use super::{Remote, attempts, resume};
use crate::catalog::Placement;
use crate::catalog::command::Command;
use crate::content::{Error, LocalContent};
use crate::fetch;
use crate::oci::Digest;

/// What to do next with the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Done,
    /// Look again at this time, in milliseconds since the Unix epoch.
    LookAt(u64),
}

/// Looks at a digest, and does what is due.
pub(super) async fn look_at(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    digest: &Digest,
    stop: &CancellationToken,
) -> Result<Next, Trouble> {
    place_if_lacking(here, remote, digest, stop).await?;
    read_back_if_due(here, remote, digest, stop).await
}

/// Places content that lacks a copy. It waits for another task that stores the content, and stops one that removes it.
/// The outcome of that removal is then unknown: [`super::unpin`] explains why nothing is lost.
async fn place_if_lacking(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    digest: &Digest,
    stop: &CancellationToken,
) -> Result<(), Trouble> {
    let _move = remote.moves.lock(digest).await;
    let catalog = &here.catalog;
    let Some(size) = catalog.is_lacking(digest).map_err(Error::from)? else {
        return Ok(attempts::settle(here, remote, digest).await?);
    };
    if !remote.may_place(catalog, digest).map_err(Error::from)? {
        return Ok(());
    }
    remote.removals.break_off(digest).await;
    let source = source_of(here, remote, (digest, size), stop).await?;
    let placements = catalog.placements(digest).map_err(Error::from)?;
    let stored = locate_and_put(here, remote, &source, &placements).await;
    let locator = examine_if_damaged(stored, here, &source, stop).await?;
    here.metrics.placed_bytes.inc_by(size);
    // It may have turned out to be another endpoint just now.
    remote.follow(catalog).await;
    let command = Command::RecordPlaced { digest: digest.clone(), locator };
    catalog.commit(vec![command]).await.map_err(Error::from)?;
    attempts::forget(remote, digest).await;
    Ok(())
}

/// The local file. If it is missing, a list of roots is computed again, and other content is fetched.
async fn source_of(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    (digest, size): (&Digest, u64),
    stop: &CancellationToken,
) -> Result<Arc<dyn Source>, Trouble> {
    let trouble = match local_source(here, digest, size, stop).await {
        Ok(source) => return Ok(source),
        Err(trouble @ Trouble::Local(Error::Missing | Error::Damaged(_))) => trouble,
        Err(trouble) => return Err(trouble),
    };
    let is_missing = matches!(trouble, Trouble::Local(Error::Missing));
    if here.make_list_again(digest, stop).await? || (is_missing && bring_back(here, remote, digest, size).await?) {
        return local_source(here, digest, size, stop).await;
    }
    Err(trouble)
}

/// The local file, with the data to verify it.
async fn local_source(
    here: &Arc<LocalContent>,
    digest: &Digest,
    size: u64,
    stop: &CancellationToken,
) -> Result<Arc<dyn Source>, Trouble> {
    let content = here.with_computed_roots(digest, size, stop).await?;
    let (store, name) = (here.store.clone(), digest.clone());
    let opening = tokio::task::spawn_blocking(move || store.open_content(&name, size));
    let file = opening.await?.map_err(Error::of_file)?;
    Ok(Arc::new(FileSource::new(file, content)))
}

/// Fetches content that has no local file and too few copies. It may be at configured endpoints, even without a record,
/// for example after an endpoint's address changed. True if it is local from now on.
async fn bring_back(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    digest: &Digest,
    size: u64,
) -> Result<bool, Trouble> {
    if here.catalog.standing_places(digest).map_err(Error::from)?.is_empty() {
        let wanted = remote.wanted_now();
        let placements = here.catalog.placements(digest).map_err(Error::from)?;
        let stands = |placement: &Placement| !placement.unpin_pending && wanted.is_mine(&placement.locator);
        let Some(Placement { locator, .. }) = placements.into_iter().find(stands) else { return Ok(false) };
        let content = here.for_reading(digest, size).await?;
        let found = match remote.backend.stat(&content, &locator).await {
            Ok(found) => found,
            Err(BackendError::NotFound) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let command = Command::RecordPlaced {
            digest: digest.clone(),
            locator: Locator { endpoints: found.endpoints, ..locator },
        };
        here.catalog.commit(vec![command]).await.map_err(Error::from)?;
    }
    fetch::bring_back(here, &remote.origin, digest, size).await.map_err(|error| match error {
        fetch::Error::Unavailable => BackendError::Unavailable {
            retry_after: None,
            cause: "the content has no local file and cannot be fetched now".into(),
        }
        .into(),
        fetch::Error::Local(error) => Trouble::Local(error),
    })
}

/// True if a removal of it may still take effect at the backend.
fn is_being_removed(remote: &Remote, placements: &[Placement]) -> bool {
    let wanted = remote.wanted_now();
    let removing = |placement: &Placement| placement.unpin_pending || placement.after_unpin.is_some();
    placements.iter().filter(|placement| wanted.is_mine(&placement.locator)).any(removing)
}

async fn locate_and_put(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    source: &Arc<dyn Source>,
    placements: &[Placement],
) -> Result<Locator, Trouble> {
    if let Some(known) = remote.backend.locate(Arc::clone(source)).await? {
        // Any endpoint that is asked for it may have it.
        let known = Locator { endpoints: backends::endpoints(&*remote.backend), ..known };
        fetch::remember_place(&remote.tokens, source.content().digest(), &known).await?;
    }
    let wanted = remote.wanted_now();
    match (is_being_removed(remote, placements), placements.iter().any(|placement| wanted.is_missing(placement))) {
        (true, _) => put(remote, source, Put::Renew, None).await,
        // What seems to be there may be the damaged copy.
        (false, true) => put(remote, source, Put::Renew, Some(here)).await,
        (false, false) => put(remote, source, Put::IfAbsent, Some(here)).await,
    }
}

/// Stores content. [`Put::Renew`]: a copy that seems to exist may be about to be removed. Otherwise an acknowledged but
/// unrecorded upload is found by its address. With a `recorder`, each copy is recorded as soon as it is made.
async fn put(
    remote: &Arc<Remote>,
    source: &Arc<dyn Source>,
    put: Put,
    recorder: Option<&Arc<LocalContent>>,
) -> Result<Locator, Trouble> {
    let (tokens, digest) = (remote.tokens.clone(), source.content().digest().clone());
    let catalog = recorder.map(|here| here.catalog.clone());
    let opening = tokio::task::spawn_blocking(move || resume::Upload::open(&tokens, &digest, catalog));
    let upload = opening.await?;
    Ok(remote.backend.put(Arc::clone(source), put, &upload).await?)
}

/// Examines the local file if its bytes do not match.
async fn examine_if_damaged<T>(
    outcome: Result<T, Trouble>,
    here: &Arc<LocalContent>,
    source: &Arc<dyn Source>,
    stop: &CancellationToken,
) -> Result<T, Trouble> {
    if let Err(Trouble::Backend(BackendError::Source(SourceError::Damaged { .. }))) = &outcome {
        examine_local_file(here, source.content().digest(), source.content().length(), stop).await?;
    }
    outcome
}

/// Reads back content whole if that is due, once no removal of it can still take effect.
async fn read_back_if_due(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    digest: &Digest,
    stop: &CancellationToken,
) -> Result<Next, Trouble> {
    let catalog = &here.catalog;
    let wanted = remote.wanted_now();
    let placements = catalog.placements(digest).map_err(Error::from)?;
    let due = placements.into_iter().find(|placement| wanted.counts(placement) > 0 && !wanted.is_read_back(placement));
    let (Some(placement), Some(size)) = (due, catalog.referenced_size(digest).map_err(Error::from)?) else {
        return Ok(Next::Done);
    };
    let settled = placement.after_unpin.map_or(0, |at| at.saturating_add(remote.settings.settle.as_millis() as u64));
    if settled > remote.clock.now_ms() {
        return Ok(Next::LookAt(settled));
    }
    let placement = match placement.after_unpin {
        Some(_) => place_again(here, remote, placement, (digest, size), stop).await?,
        None => Some(placement),
    };
    let Some(placement) = placement else { return Ok(Next::LookAt(remote.clock.now_ms())) };
    // The digest alone decides whether all of it is right.
    let content = here.for_reading(digest, size).await?;
    let among = wanted.readers(&placement.locator);
    match read_whole(here, &*remote.readers(&among), &content, &placement.locator).await {
        Ok(true) => {
            let (digest, placed, locator) = (digest.clone(), placement.sequence, placement.locator);
            let command = Command::RecordReadBack { digest, locator, placed, among };
            catalog.commit(vec![command]).await.map_err(Error::from)?;
            Ok(Next::Done)
        }
        outcome @ (Ok(false) | Err(BackendError::NotFound | BackendError::Corrupt { .. })) => {
            fetch::give_up(here, &remote.origin, digest, &placement, among).await?;
            here.metrics.read_back_failures.inc();
            if !matches!(outcome, Err(BackendError::NotFound)) {
                examine_local_file(here, digest, size, stop).await?;
            }
            Err(outcome.err().map_or(Trouble::ReadBackDiffers, Trouble::Backend))
        }
        Err(error) => Err(error.into()),
    }
}

/// Examines content after wrong bytes were found. If the local file is damaged, it is quarantined. Otherwise the roots
/// may have been computed from a damaged file, and are computed again.
async fn examine_local_file(
    here: &Arc<LocalContent>,
    digest: &Digest,
    size: u64,
    stop: &CancellationToken,
) -> Result<(), Trouble> {
    if here.put_aside(digest).await?.is_some() {
        return Ok(());
    }
    match here.renew_unit_roots(digest, size, stop).await {
        Err(Error::Missing) => Ok(()),
        renewed => Ok(renewed?),
    }
}

/// Places content again, since an earlier removal may have taken acknowledged copies. Each endpoint is asked for it,
/// pins it again, and gets it again if it is missing. `None` if the placement is no longer in force.
async fn place_again(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    placement: Placement,
    (digest, size): (&Digest, u64),
    stop: &CancellationToken,
) -> Result<Option<Placement>, Trouble> {
    let _move = remote.moves.lock(digest).await;
    let catalog = &here.catalog;
    let placements = || catalog.placements(digest).map_err(Error::from);
    if !placements()?.contains(&placement) {
        return Ok(None);
    }
    let source = match local_source(here, digest, size, stop).await {
        // The backend's copy is the only one.
        Err(Trouble::Local(Error::Missing)) => return Ok(Some(placement)),
        source => source?,
    };
    let locator = examine_if_damaged(put(remote, &source, Put::IfAbsent, None).await, here, &source, stop).await?;
    let command = Command::RecordPlaced { digest: digest.clone(), locator };
    catalog.commit(vec![command]).await.map_err(Error::from)?;
    attempts::forget(remote, digest).await;
    Ok(placements()?.into_iter().find(|found| found.locator.same_place(&placement.locator) && !found.unpin_pending))
}

pub(super) async fn read_whole(
    here: &Arc<LocalContent>,
    from: &dyn Backend,
    content: &Content,
    locator: &Locator,
) -> Result<bool, BackendError> {
    let mut bytes = from.get(content, locator, 0..content.length()).await?;
    let (mut hasher, mut length) = (Hasher::new(content.algorithm()), 0);
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        length += piece.len() as u64;
        if length > content.length() {
            return Ok(false);
        }
        here.metrics.read_back_bytes.inc_by(piece.len() as u64);
        hasher.update(&piece);
    }
    Ok(length == content.length() && hasher.finish() == *content.digest())
}
