//! `If-Match`, `If-None-Match` and `If-Range`, with digests as strong entity tags (RFC 9110 section 13).

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serving::{EntityTag, EntityTags, entity_tags};

use super::error::HttpError;
use super::headers::etag;
use crate::catalog::command::{Precondition, Versions};
use crate::oci::Digest;
use crate::service::Error;

/// Checks the conditions of a GET or HEAD of existing content. True: the client already has it (304). Error: the client
/// wants only another version (412).
pub(crate) fn not_modified(headers: &HeaderMap, digest: &Digest) -> Result<bool, HttpError> {
    match serving::precondition(headers, Some(&etag(digest))) {
        Some(StatusCode::PRECONDITION_FAILED) => Err(HttpError::from_service(Error::PreconditionFailed, None)),
        status => Ok(status.is_some()),
    }
}

/// True if `Range` applies: there is no `If-Range`, or it names this content.
pub(crate) fn range_applies(headers: &HeaderMap, digest: &Digest) -> bool {
    serving::range_applies(headers, Some(&etag(digest)))
}

/// The condition of a PUT or DELETE, if it has one. With `If-Match` on a tag, clients avoid overwriting or deleting
/// each other's push.
pub(crate) fn precondition(headers: &HeaderMap) -> Option<Precondition> {
    let versions = |name, may_be_weak| {
        Some(match entity_tags(headers, name)? {
            EntityTags::Any => Versions::Any,
            EntityTags::Listed(tags) => {
                Versions::Listed(tags.iter().filter(|tag| may_be_weak || !tag.is_weak).filter_map(digest_of).collect())
            }
        })
    };
    // `If-Match` compares strongly: a weak tag names nothing of ours.
    let (if_match, if_none_match) = (versions(&IF_MATCH, false), versions(&IF_NONE_MATCH, true));
    let is_given = if_match.is_some() || if_none_match.is_some();
    is_given.then_some(Precondition { if_match, if_none_match })
}

fn digest_of(tag: &EntityTag) -> Option<Digest> {
    tag.opaque.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}
