//! Header names and values of the distribution spec.

use content_store::UploadId;
use http::{HeaderName, HeaderValue};

use crate::oci::{Digest, RepositoryName};

pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const DOCKER_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(crate) const OCI_CHUNK_MAX_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-max-length");

/// A header value from texts that are already valid.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A `Warning` in the form that the spec allows: code 299, no agent, no date. Our texts have no quotes and stay far
/// below 4096 bytes.
pub(crate) fn warning(text: &str) -> HeaderValue {
    value(&format!("299 - \"{text}\""))
}

/// The value of `Docker-Content-Digest`.
pub(crate) fn digest_value(digest: &Digest) -> HeaderValue {
    value(digest.as_str())
}

/// The digest as a strong entity tag. Content never changes under its digest.
pub(crate) fn etag(digest: &Digest) -> HeaderValue {
    value(&format!("\"{digest}\""))
}

/// The path of an upload session. It is relative, so it is valid behind any proxy.
pub(crate) fn upload_location(repository: &RepositoryName, id: &UploadId) -> HeaderValue {
    value(&format!("/v2/{repository}/blobs/uploads/{id}"))
}

/// The path of a blob, relative like [`upload_location`].
pub(crate) fn blob_location(repository: &RepositoryName, digest: &Digest) -> HeaderValue {
    value(&format!("/v2/{repository}/blobs/{digest}"))
}

/// The `Range` of a session: `0-` and its last byte. An empty session also has `0-0`, which clients can parse.
pub(crate) fn upload_range(offset: u64) -> HeaderValue {
    value(&format!("0-{}", offset.saturating_sub(1)))
}
