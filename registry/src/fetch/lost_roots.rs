//! The unit roots of content whose list is lost here: from the backend, which commits to them or has the list too, or
//! from the content itself.

use std::sync::Arc;

use backends::{Backend as _, BackendError, Content, Locator, UnitRoot};
use futures_util::TryStreamExt as _;

use super::{Origin, give_up};
use crate::catalog::UnitRootsList;
use crate::content::unit_roots::{ROOT_BYTES, roots_of, with_roots};
use crate::content::{Error, LocalContent};

/// The content with its roots, to which its place at the backend commits, and which from now on are here again; `None`
/// if it does not. An error means that it may tell them later.
pub(super) async fn from_address(
    here: &LocalContent,
    origin: &Origin,
    content: &Content,
    locator: &Locator,
) -> Result<Option<Content>, BackendError> {
    match origin.backend.unit_roots(content, locator).await {
        Ok(Some(roots)) => Ok(keep_again(here, content, roots).await),
        Ok(None) => Ok(None),
        Err(error) if error.is_retryable() => Err(error),
        Err(error) => {
            tracing::warn!(digest = %content.digest(), %error, "the backend does not give the roots of the content's units");
            Ok(None)
        }
    }
}

/// The same by the list of them, which was placed like other content and has the digest that was recorded; `None` if it
/// has no place, or is not there any more. An error means that it may come later.
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
        if error.is_retryable() {
            passing = Some(error);
        } else if matches!(error, BackendError::NotFound | BackendError::Corrupt { .. })
            && let Err(trouble) = give_up(here, origin, &list, &placement).await
        {
            tracing::warn!(%list, error = %trouble, "it cannot be recorded that a list of unit roots is lost");
        }
    }
    passing.map_or(Ok(None), Err)
}

/// Verified, and no longer than it should be.
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

/// What was recorded once says what the list must be.
async fn keep_again(here: &LocalContent, content: &Content, roots: Arc<[UnitRoot]>) -> Option<Content> {
    let digest = content.digest();
    let kept = async {
        if !here.are_recorded(digest, &roots)? {
            return Err(Error::Internal("they are not those that were recorded"));
        }
        here.record_unit_roots(digest, &roots).await.map(drop)
    };
    match kept.await {
        Ok(()) => with_roots(digest, content.length(), roots).ok(),
        Err(error) => {
            tracing::error!(%digest, %error, "the unit roots that the backend has cannot be used");
            None
        }
    }
}
