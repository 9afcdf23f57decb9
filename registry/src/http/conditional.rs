//! `If-None-Match`, `If-Match` and `If-Range` against digests as strong entity tags (RFC 9110 section 13).

use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use serving::entity_tags;

use super::headers::etag;
use crate::catalog::command::Precondition;
use crate::oci::{Digest, Reference};

/// True if the client has the content already: answer 304.
pub(crate) fn not_modified(headers: &HeaderMap, digest: &Digest) -> bool {
    let tag = etag(digest);
    entity_tags(headers, &IF_NONE_MATCH).any(|candidate| candidate == "*" || candidate.as_bytes() == tag.as_bytes())
}

/// True if `Range` counts: there is no `If-Range`, or it names this content. A date never does.
pub(crate) fn range_applies(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.get(IF_RANGE).is_none_or(|value| *value == etag(digest))
}

/// The precondition of a manifest PUT; a tag guarded by `If-Match` is how clients keep from overwriting each other.
pub(crate) fn precondition(headers: &HeaderMap, reference: &Reference) -> Option<Precondition> {
    if headers.contains_key(IF_MATCH) {
        let tags: Vec<&str> = entity_tags(headers, &IF_MATCH).collect();
        return Some(match reference {
            Reference::Tag(tag) if tags.contains(&"*") => Precondition::TagExists(tag.clone()),
            Reference::Tag(tag) => Precondition::TagIs(tag.clone(), tags.into_iter().filter_map(digest_of).collect()),
            Reference::Digest(digest) => Precondition::ManifestExists(digest.clone()),
        });
    }
    let none = entity_tags(headers, &IF_NONE_MATCH).any(|tag| tag == "*");
    none.then(|| match reference {
        Reference::Tag(tag) => Precondition::TagAbsent(tag.clone()),
        Reference::Digest(digest) => Precondition::ManifestAbsent(digest.clone()),
    })
}

fn digest_of(tag: &str) -> Option<Digest> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}
