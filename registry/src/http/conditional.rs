//! `If-Match`, `If-None-Match` and `If-Range`, with digests as strong entity tags (RFC 9110 section 13).

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serving::{EntityTag, EntityTags, entity_tags};

use super::error::HttpError;
use super::headers::etag;
use crate::catalog::command::Precondition;
use crate::oci::{Digest, Reference};
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

/// The precondition of a manifest PUT. With `If-Match` on a tag, clients avoid overwriting each other's push.
pub(crate) fn precondition(headers: &HeaderMap, reference: &Reference) -> Option<Precondition> {
    if let Some(tags) = entity_tags(headers, &IF_MATCH) {
        return Some(match (reference, tags) {
            (Reference::Tag(tag), EntityTags::Any) => Precondition::TagExists(tag.clone()),
            (Reference::Tag(tag), EntityTags::Listed(tags)) => {
                Precondition::TagIs(tag.clone(), tags.iter().filter_map(digest_of).collect())
            }
            (Reference::Digest(digest), _) => Precondition::ManifestExists(digest.clone()),
        });
    }
    let none = entity_tags(headers, &IF_NONE_MATCH) == Some(EntityTags::Any);
    none.then(|| match reference {
        Reference::Tag(tag) => Precondition::TagAbsent(tag.clone()),
        Reference::Digest(digest) => Precondition::ManifestAbsent(digest.clone()),
    })
}

/// `If-Match` compares strongly: a weak tag names nothing of ours.
fn digest_of(tag: &EntityTag) -> Option<Digest> {
    if tag.is_weak {
        return None;
    }
    tag.opaque.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}
