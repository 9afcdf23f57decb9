//! Restores lost lists of unit roots: from an address that commits to them, from a copy of the list at the backend, or
//! from the content itself.

use std::sync::Arc;

use backends::skynet::SectorRoots;
use backends::{Backend as _, BackendError, Content, Locator, UnitProof};
use futures_util::TryStreamExt as _;
use skynet_formats::sector::SectorRoot;

use super::{Origin, give_up};
use crate::catalog::UnitRootsList;
use crate::content::unit_roots::{ROOT_BYTES, roots_of, with_roots};
use crate::content::{Error, LocalContent};

/// The content with the roots that its address at the backend commits to; the list is stored locally again. `None` if
/// the address does not commit to roots. After an error a retry may succeed.
pub(super) async fn from_address(
    here: &LocalContent,
    origin: &Origin,
    content: &Content,
    locator: &Locator,
) -> Result<Option<Content>, BackendError> {
    let Some(proofs) = origin.backend.unit_proofs() else { return Ok(None) };
    match proofs.unit_proof(content, locator).await {
        Ok(Some(proof)) => Ok(keep_proof(here, content, proof).await),
        Ok(None) => Ok(None),
        Err(error) if error.is_retryable() => Err(error),
        Err(error) => {
            tracing::warn!(digest = %content.digest(), %error, "the backend cannot supply the content's unit roots");
            Ok(None)
        }
    }
}

/// The content with the roots from a copy of their list, which has the recorded digest. `None` if the list has no copy
/// any more. After an error a retry may succeed.
pub(super) async fn from_placed_list(
    here: &LocalContent,
    origin: &Origin,
    content: &Content,
) -> Result<Option<Content>, BackendError> {
    let recorded = here.catalog.unit_roots(content.digest()).ok().flatten();
    let Some(UnitRootsList { list, .. }) = recorded.filter(|recorded| recorded.units == content.units()) else {
        return Ok(None);
    };
    let Ok(bytes) = Content::new(list.clone(), content.units() * ROOT_BYTES) else { return Ok(None) };
    let mut passing = None;
    for placement in here.catalog.standing_places(&list).unwrap_or_default() {
        let error = match read(origin, &bytes, &placement.locator).await {
            Ok(read) => return Ok(keep_again(here, content, roots_of(&read).into()).await),
            Err(error) => error,
        };
        tracing::warn!(digest = %content.digest(), %list, %error, "the list of unit roots cannot be read");
        let asked = here.catalog.wanted().map(|wanted| wanted.among(&placement.locator)).unwrap_or_default();
        if error.is_retryable() {
            passing = Some(error);
        } else if matches!(error, BackendError::NotFound | BackendError::Corrupt { .. })
            && let Err(trouble) = give_up(here, origin, &list, &placement, asked).await
        {
            tracing::warn!(%list, error = %trouble, "the loss of a list of unit roots cannot be recorded");
        }
    }
    passing.map_or(Ok(None), Err)
}

/// Reads a list and verifies it. Fails if it is too long.
async fn read(origin: &Origin, list: &Content, locator: &Locator) -> Result<Vec<u8>, BackendError> {
    let stream = origin.verified.get(list, locator, 0..list.length()).await?;
    let bytes = stream.try_fold(Vec::new(), |mut bytes, piece| async move {
        bytes.extend_from_slice(&piece);
        match bytes.len() as u64 > list.length() {
            true => Err(BackendError::Corrupt { start: 0, end: list.length() }),
            false => Ok(bytes),
        }
    });
    bytes.await
}

/// The content with this proof. If it consists of roots, their list is stored locally again.
async fn keep_proof(here: &LocalContent, content: &Content, proof: Arc<dyn UnitProof>) -> Option<Content> {
    let content = content.clone().with_proof(proof).ok()?;
    match SectorRoots::of_content(&content) {
        Some(roots) => keep_again(here, &content, Arc::clone(roots.roots())).await,
        None => Some(content),
    }
}

/// Stores the list locally again, if it matches the recorded digest.
async fn keep_again(here: &LocalContent, content: &Content, roots: Arc<[SectorRoot]>) -> Option<Content> {
    let digest = content.digest();
    let kept = async {
        if !here.are_recorded(digest, &roots)? {
            return Err(Error::Internal("the unit roots differ from the recorded ones"));
        }
        here.record_unit_roots(digest, &roots).await.map(drop)
    };
    match kept.await {
        Ok(()) => with_roots(digest, content.length(), roots).ok(),
        Err(error) => {
            tracing::error!(%digest, %error, "the unit roots from the backend are invalid");
            None
        }
    }
}
