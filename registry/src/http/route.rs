//! The grammar of all paths on one page: parses a path into a [`Route`].
//!
//! Repository names contain slashes and may contain every word of the API (`a/manifests/b`, `tags/list`). So paths are
//! parsed from the right. `action` decides what a method does there.

use std::fmt;

use content_store::UploadId;
use percent_encoding::percent_decode_str;

use crate::oci::{Digest, DigestError, Reference, RepositoryName};

/// The path of a request, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/` (end-1)
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/_oci/ext/discover`, for the registry or one repository
    Extensions,
    /// `/v2/<name>/tags/list` (end-8)
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<tag-or-digest>` (end-3, 7, 9)
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>` (end-2, 10)
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/` (end-4, 11)
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>` (end-5, 6, 13, 14); `None` for an id that this registry cannot have made
    Upload(RepositoryName, Option<UploadId>),
    /// `/v2/<name>/referrers/<digest>` (end-12)
    Referrers(RepositoryName, Digest),
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/token`
    Token,
    /// `/.well-known/jwks.json`
    TokenKeys,
    /// `/`
    Home,
}

/// Why a path is not a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteError {
    /// No such path.
    NotFound,
    /// The path of an operation, with an invalid repository name.
    NameInvalid,
    /// An invalid digest.
    DigestInvalid(DigestError),
    /// A reference that is neither a tag nor a digest.
    TagInvalid,
}

impl Route {
    /// Parses a request's raw path.
    pub(crate) fn parse(path: &str) -> Result<Self, RouteError> {
        match path {
            "/" => return Ok(Route::Home),
            "/livez" => return Ok(Route::Live),
            "/readyz" => return Ok(Route::Ready),
            "/metrics" => return Ok(Route::Metrics),
            "/token" => return Ok(Route::Token),
            "/.well-known/jwks.json" => return Ok(Route::TokenKeys),
            "/v2" | "/v2/" => return Ok(Route::Base),
            _ => {}
        }
        let rest = path.strip_prefix("/v2/").ok_or(RouteError::NotFound)?;
        match rest {
            "_catalog" | "_catalog/" => return Ok(Route::Catalog),
            "_oci/ext/discover" => return Ok(Route::Extensions),
            _ if rest.starts_with('_') => return Err(RouteError::NotFound),
            _ => {}
        }
        let segments: Vec<&str> = rest.split('/').collect();
        match segments.as_slice() {
            [name @ .., "tags", "list"] => Ok(Route::Tags(repository(name)?)),
            [name @ .., "manifests", last] => Ok(Route::Manifest(repository(name)?, reference(last)?)),
            [name @ .., "referrers", last] => Ok(Route::Referrers(repository(name)?, digest(last)?)),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Route::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => Ok(Route::Upload(repository(name)?, id.parse().ok())),
            [name @ .., "blobs", last] => Ok(Route::Blob(repository(name)?, digest(last)?)),
            [name @ .., "_oci", "ext", "discover"] => repository(name).map(|_| Route::Extensions),
            _ => Err(RouteError::NotFound),
        }
    }

    /// A constant name of the route, for metrics and logs.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Route::Base => "base",
            Route::Catalog => "catalog",
            Route::Extensions => "extensions",
            Route::Tags(_) => "tags",
            Route::Manifest(..) => "manifest",
            Route::Blob(..) => "blob",
            Route::Uploads(_) => "uploads",
            Route::Upload(..) => "upload",
            Route::Referrers(..) => "referrers",
            Route::Live => "livez",
            Route::Ready => "readyz",
            Route::Metrics => "metrics",
            Route::Token => "token",
            Route::TokenKeys => "token-keys",
            Route::Home => "home",
        }
    }
}

/// Writes the route's path. All paths are written by this code.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Base => f.write_str("/v2/"),
            Route::Catalog => f.write_str("/v2/_catalog"),
            Route::Extensions => f.write_str("/v2/_oci/ext/discover"),
            Route::Tags(name) => write!(f, "/v2/{name}/tags/list"),
            Route::Manifest(name, reference) => write!(f, "/v2/{name}/manifests/{reference}"),
            Route::Blob(name, digest) => write!(f, "/v2/{name}/blobs/{digest}"),
            Route::Uploads(name) => write!(f, "/v2/{name}/blobs/uploads/"),
            Route::Upload(name, Some(id)) => write!(f, "/v2/{name}/blobs/uploads/{id}"),
            Route::Upload(name, None) => write!(f, "/v2/{name}/blobs/uploads/unknown"),
            Route::Referrers(name, digest) => write!(f, "/v2/{name}/referrers/{digest}"),
            Route::Live => f.write_str("/livez"),
            Route::Ready => f.write_str("/readyz"),
            Route::Metrics => f.write_str("/metrics"),
            Route::Token => f.write_str("/token"),
            Route::TokenKeys => f.write_str("/.well-known/jwks.json"),
            Route::Home => f.write_str("/"),
        }
    }
}

/// Parses a name, decoding it once, after the raw path was routed. An encoded slash can so be part of a name (Portainer
/// sends it), but never of the path's structure. A name that was encoded twice still contains `%`, which is invalid, as
/// are dot segments.
fn repository(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    let name = decode(&segments.join("/")).ok_or(RouteError::NameInvalid)?;
    name.parse().map_err(|_| RouteError::NameInvalid)
}

/// Decodes a segment once. Clients also send `sha256%3A...`.
fn decode(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn digest(segment: &str) -> Result<Digest, RouteError> {
    let text = decode(segment).ok_or(RouteError::DigestInvalid(DigestError::Malformed))?;
    text.parse().map_err(RouteError::DigestInvalid)
}

fn reference(segment: &str) -> Result<Reference, RouteError> {
    let text = decode(segment).ok_or(RouteError::TagInvalid)?;
    match text.contains(':') {
        true => text.parse().map(Reference::Digest).map_err(RouteError::DigestInvalid),
        false => text.parse().map(Reference::Tag).map_err(|_| RouteError::TagInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn names_may_hold_the_words_of_the_api() {
        let tag = || Reference::Tag("v1".parse().unwrap());
        assert_eq!(Route::parse("/v2/a/manifests/b/manifests/v1"), Ok(Route::Manifest(name("a/manifests/b"), tag())));
        assert_eq!(
            Route::parse("/v2/x/blobs/uploads/manifests/v1"),
            Ok(Route::Manifest(name("x/blobs/uploads"), tag()))
        );
        assert_eq!(Route::parse("/v2/tags/list/tags/list"), Ok(Route::Tags(name("tags/list"))));
        assert_eq!(Route::parse("/v2/x/blobs/uploads/tags/list"), Ok(Route::Tags(name("x/blobs/uploads"))));
    }

    #[test]
    fn uploads_with_and_without_slash() {
        assert_eq!(Route::parse("/v2/a/blobs/uploads"), Ok(Route::Uploads(name("a"))));
        assert_eq!(Route::parse("/v2/a/blobs/uploads/"), Ok(Route::Uploads(name("a"))));
        assert_eq!(Route::parse("/v2/a/blobs/uploads/nonsense"), Ok(Route::Upload(name("a"), None)));
    }

    #[test]
    fn digests_are_decoded_once() {
        let encoded = format!("/v2/a/blobs/{}", DIGEST.replace(':', "%3A"));
        assert_eq!(Route::parse(&encoded), Ok(Route::Blob(name("a"), DIGEST.parse().unwrap())));
        let twice = format!("/v2/a/blobs/{}", DIGEST.replace(':', "%253A"));
        assert!(matches!(Route::parse(&twice), Err(RouteError::DigestInvalid(_))));
    }

    #[test]
    fn bad_names_digests_and_tags_are_told_apart() {
        for path in
            ["/v2/A/tags/list", "/v2/a%2Fb%/tags/list", "/v2//tags/list", "/v2/a/../b/tags/list", "/v2/tags/list"]
        {
            assert_eq!(Route::parse(path), Err(RouteError::NameInvalid), "{path}");
        }
        assert_eq!(Route::parse("/v2/a/manifests/.x"), Err(RouteError::TagInvalid));
        assert!(matches!(Route::parse("/v2/a/manifests/sha256:00"), Err(RouteError::DigestInvalid(_))));
        for path in ["/v2/_x", "/v2/a", "/v3", "/v2/_catalog/x", "/x"] {
            assert_eq!(Route::parse(path), Err(RouteError::NotFound), "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_is_part_of_a_name_and_never_of_the_structure() {
        for path in ["/v2/a%2Fb/tags/list", "/v2/a%2fb/tags/list", "/v2/%61/b/tags/list"] {
            assert_eq!(Route::parse(path), Ok(Route::Tags(name("a/b"))), "{path}");
        }
        let manifest = Route::Manifest(name("a/b/c"), Reference::Tag("v1".parse().unwrap()));
        assert_eq!(Route::parse("/v2/a%2Fb/c/manifests/v1"), Ok(manifest));
        for path in ["/v2/a%2Ftags%2Flist", "/v2/a/tags%2Flist", "/v2%2Fa/tags/list", "/v2/a/blobs%2Fuploads/"] {
            assert_eq!(Route::parse(path), Err(RouteError::NotFound), "{path}");
        }
        for name in ["a%252Fb", "a%25", "a/%2e%2e/b", "a%2F..%2Fb", "%2e%2e%2fb", "a%2F", "%2Fa", "a%00b", "a%ffb"] {
            assert_eq!(Route::parse(&format!("/v2/{name}/tags/list")), Err(RouteError::NameInvalid), "{name}");
        }
    }

    #[test]
    fn the_catalog_has_a_slash_at_its_end_or_none() {
        assert_eq!(Route::parse("/v2/_catalog/"), Ok(Route::Catalog));
    }

    /// Every word of the API, so that random paths are often routes, and the characters that attackers put between
    /// them.
    fn segments() -> impl Strategy<Value = String> {
        let digest_as_sent = DIGEST.replace(':', "%3A");
        let words = [
            "v2",
            "a",
            "b-1",
            "tags",
            "list",
            "manifests",
            "blobs",
            "uploads",
            "referrers",
            "_oci",
            "ext",
            "discover",
            "_catalog",
            "latest",
            "",
            ".",
            "..",
            "%2e%2e",
            "a%2fb",
            "%00",
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            DIGEST,
        ];
        let mut words = words.map(str::to_owned).to_vec();
        words.push(digest_as_sent);
        prop_oneof![8 => prop::sample::select(words), 1 => ".{0,6}", 1 => "[%a-f0-9:]{0,8}"]
    }

    proptest! {
        #[test]
        fn what_is_a_route_prints_as_a_path_of_the_same_route(parts in prop::collection::vec(segments(), 0..8)) {
            for path in [format!("/v2/{}", parts.join("/")), format!("/{}", parts.join("/"))] {
                if let Ok(route) = Route::parse(&path) {
                    prop_assert_eq!(Route::parse(&route.to_string()), Ok(route.clone()), "{}", path);
                    prop_assert!(!route.allow().is_empty() && !route.label().is_empty());
                    prop_assert!(!route.to_string().contains("..") && route.to_string().is_ascii());
                }
            }
        }

        #[test]
        fn every_path_of_valid_parts_is_its_route(
            name in "[a-z0-9]{1,3}(/(tags|list|manifests|blobs|uploads|referrers|[a-z0-9]{1,3})){0,5}",
            tag in "(list|uploads|discover|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,9})",
            id: [u8; 16],
        ) {
            let name: RepositoryName = name.parse().unwrap();
            let digest: Digest = DIGEST.parse().unwrap();
            for route in [
                Route::Tags(name.clone()),
                Route::Manifest(name.clone(), Reference::Tag(tag.parse().unwrap())),
                Route::Manifest(name.clone(), Reference::Digest(digest.clone())),
                Route::Blob(name.clone(), digest.clone()),
                Route::Uploads(name.clone()),
                Route::Upload(name.clone(), Some(UploadId::from_random(id))),
                Route::Referrers(name.clone(), digest),
            ] {
                prop_assert_eq!(Route::parse(&route.to_string()), Ok(route));
            }
        }

        #[test]
        fn no_path_panics(path in ".{0,80}") {
            let _ = Route::parse(&path);
        }
    }
}
