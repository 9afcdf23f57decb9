//! What a request does: one [`Action`] for each operation of the API, from its route and method.
//!
//! `Route::action` is the only table of methods. The dispatcher matches on its result, and `Allow` is derived from it.

use content_store::UploadId;
use http::Method;

use super::route::Route;
use crate::oci::{Digest, Reference, RepositoryName};

/// Every method that some route accepts, in the order of `Allow`.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// An operation, with the names in its path. HEAD is an action of its own only where it does less work than GET.
/// Elsewhere it is handled as GET, and the dispatcher drops the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// Confirms that this is a registry.
    Base,
    /// Lists extensions.
    DiscoverExtensions,
    /// Lists repositories.
    ListRepositories,
    /// Lists a repository's tags.
    ListTags(&'a RepositoryName),
    /// Lists the manifests whose subject is a digest.
    ListReferrers(&'a RepositoryName, &'a Digest),
    /// Pulls a manifest.
    GetManifest(&'a RepositoryName, &'a Reference),
    /// Describes a manifest.
    HeadManifest(&'a RepositoryName, &'a Reference),
    /// Pushes a manifest. If pushed by tag, the tag points to it.
    PutManifest(&'a RepositoryName, &'a Reference),
    /// Deletes a tag, or a manifest with all its tags.
    DeleteManifest(&'a RepositoryName, &'a Reference),
    /// Pulls a blob.
    GetBlob(&'a RepositoryName, &'a Digest),
    /// Describes a blob.
    HeadBlob(&'a RepositoryName, &'a Digest),
    /// Deletes a blob.
    DeleteBlob(&'a RepositoryName, &'a Digest),
    /// Begins an upload, mounts a blob from another repository, or uploads a whole blob. The query decides which.
    BeginUpload(&'a RepositoryName),
    /// Reports the offset of an upload.
    UploadProgress(&'a RepositoryName, Option<&'a UploadId>),
    /// Appends to an upload.
    AppendUpload(&'a RepositoryName, Option<&'a UploadId>),
    /// Ends an upload, whose bytes become a blob.
    CloseUpload(&'a RepositoryName, Option<&'a UploadId>),
    /// Cancels an upload.
    CancelUpload(&'a RepositoryName, Option<&'a UploadId>),
    /// Reports that the process runs.
    Live,
    /// Reports whether the node is ready.
    Ready,
    /// Returns the metrics.
    Metrics,
    /// Issues a token for the login of the request.
    GetToken,
    /// Issues a token for the login in a form.
    PostToken,
    /// Returns the public keys of tokens.
    TokenKeys,
    /// Returns the page for browsers.
    Home,
}

impl Route {
    /// The operation that `method` requests on this route; `None` if the route does not accept the method.
    pub(crate) fn action(&self, method: &Method) -> Option<Action<'_>> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Route::Manifest(name, reference) => match *method {
                Method::GET => Some(Action::GetManifest(name, reference)),
                Method::HEAD => Some(Action::HeadManifest(name, reference)),
                Method::PUT => Some(Action::PutManifest(name, reference)),
                Method::DELETE => Some(Action::DeleteManifest(name, reference)),
                _ => None,
            },
            Route::Blob(name, digest) => match *method {
                Method::GET => Some(Action::GetBlob(name, digest)),
                Method::HEAD => Some(Action::HeadBlob(name, digest)),
                Method::DELETE => Some(Action::DeleteBlob(name, digest)),
                _ => None,
            },
            Route::Uploads(name) => (*method == Method::POST).then_some(Action::BeginUpload(name)),
            Route::Upload(name, id) => match *method {
                Method::GET | Method::HEAD => Some(Action::UploadProgress(name, id.as_ref())),
                Method::PATCH => Some(Action::AppendUpload(name, id.as_ref())),
                Method::PUT => Some(Action::CloseUpload(name, id.as_ref())),
                Method::DELETE => Some(Action::CancelUpload(name, id.as_ref())),
                _ => None,
            },
            Route::Base => reads.then_some(Action::Base),
            Route::Extensions => reads.then_some(Action::DiscoverExtensions),
            Route::Catalog => reads.then_some(Action::ListRepositories),
            Route::Tags(name) => reads.then_some(Action::ListTags(name)),
            Route::Referrers(name, digest) => reads.then_some(Action::ListReferrers(name, digest)),
            Route::Live => reads.then_some(Action::Live),
            Route::Ready => reads.then_some(Action::Ready),
            Route::Metrics => reads.then_some(Action::Metrics),
            Route::Token => match *method {
                Method::GET | Method::HEAD => Some(Action::GetToken),
                Method::POST => Some(Action::PostToken),
                _ => None,
            },
            Route::TokenKeys => reads.then_some(Action::TokenKeys),
            Route::Home => reads.then_some(Action::Home),
        }
    }

    /// The methods that this route accepts, as `Allow` lists them.
    pub(crate) fn allow(&self) -> String {
        let taken = METHODS.iter().filter(|method| self.action(method).is_some());
        taken.map(Method::as_str).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Route {
        Route::parse(path).unwrap()
    }

    #[test]
    fn each_route_allows_the_methods_that_it_takes() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (path, allowed) in [
            ("/v2/", "GET, HEAD"),
            ("/v2/_catalog", "GET, HEAD"),
            ("/v2/_oci/ext/discover", "GET, HEAD"),
            ("/v2/a/tags/list", "GET, HEAD"),
            ("/v2/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
            (&format!("/v2/a/blobs/{digest}"), "GET, HEAD, DELETE"),
            ("/v2/a/blobs/uploads/", "POST"),
            ("/v2/a/blobs/uploads/x", "GET, HEAD, PUT, PATCH, DELETE"),
            (&format!("/v2/a/referrers/{digest}"), "GET, HEAD"),
            ("/livez", "GET, HEAD"),
            ("/readyz", "GET, HEAD"),
            ("/metrics", "GET, HEAD"),
            ("/token", "GET, HEAD, POST"),
            ("/.well-known/jwks.json", "GET, HEAD"),
            ("/", "GET, HEAD"),
        ] {
            assert_eq!(route(path).allow(), allowed, "{path}");
        }
    }

    #[test]
    fn methods_that_no_route_takes_do_nothing() {
        for method in ["OPTIONS", "TRACE", "CONNECT", "get", "PURGE"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            for path in ["/", "/v2/a/manifests/v1", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/x"] {
                assert_eq!(route(path).action(&method), None, "{method} {path}");
            }
        }
    }

    #[test]
    fn a_write_is_never_taken_for_a_read() {
        let (name, tag) = ("a".parse().unwrap(), Reference::Tag("v1".parse().unwrap()));
        let manifest = route("/v2/a/manifests/v1");
        assert_eq!(manifest.action(&Method::PUT), Some(Action::PutManifest(&name, &tag)));
        assert_eq!(manifest.action(&Method::DELETE), Some(Action::DeleteManifest(&name, &tag)));
        assert_eq!(manifest.action(&Method::HEAD), Some(Action::HeadManifest(&name, &tag)));
        assert_eq!(route("/v2/a/blobs/uploads/x").action(&Method::DELETE), Some(Action::CancelUpload(&name, None)));
        assert_eq!(route("/v2/a/blobs/uploads/").action(&Method::GET), None);
    }
}
