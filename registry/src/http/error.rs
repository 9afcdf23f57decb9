//! The only table from errors to status, OCI code and headers (spec, "Error Codes").
//!
//! 4xx answers tell the client what it can do, with the codes of the specification. 5xx answers have a code of the CNCF
//! registry and the request id, and no internals; the dispatcher logs their cause once. Docker retries a push after
//! `UNAVAILABLE` and `UNKNOWN`, and gives up after `DENIED` and `UNSUPPORTED`.
//!
//! `service/blobs` decides earlier whether missing content is unknown or only unavailable.

use axum::body::Body;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::json;
use serving::{ForeignRequest, UsedUp};

use super::headers::{upload_location, upload_range, value};
use super::route::{Route, RouteError};
use crate::access::{Identity, LoginError, whole_seconds};
use crate::oci::RepositoryName;
use crate::service::{Error, Progress};

/// Seconds after which a client should retry if the node is busy or out of space.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Most errors listed in one answer. A manifest of 4 MiB can cause a hundred thousand.
const MAX_ENTRIES: usize = 1000;

/// One entry of `errors` in the body.
#[derive(Debug)]
struct Entry {
    code: &'static str,
    message: String,
    detail: Option<serde_json::Value>,
}

/// An error answer.
#[derive(Debug)]
pub(crate) struct HttpError {
    pub(crate) status: StatusCode,
    entries: Vec<Entry>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The cause, for the log. Set only if the client can do nothing but retry.
    pub(crate) cause: Option<Box<Error>>,
    /// True if the caller has no right to this, or showed a wrong login.
    pub(crate) is_denial: bool,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let entries = vec![Entry { code, message: message.into(), detail: None }];
        HttpError { status, entries, headers: Vec::new(), cause: None, is_denial: false }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn because(mut self, cause: Error) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// 400 for an invalid `n`.
    pub(crate) fn page_size_invalid(text: &str) -> Self {
        let text: String = text.chars().take(40).collect();
        HttpError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", format!("n must be a number of results, not {text:?}"))
    }

    /// 405, with the methods that the route accepts.
    pub(crate) fn method_not_allowed(route: &Route) -> Self {
        let allowed = route.allow();
        let error =
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", format!("this path accepts only {allowed}"));
        error.with(ALLOW, value(&allowed))
    }

    /// 401, with the challenge that says how to log in.
    pub(crate) fn unauthorized(message: impl Into<String>, challenge: HeaderValue) -> Self {
        HttpError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).with(WWW_AUTHENTICATE, challenge)
    }

    /// 403 for a user without the right.
    pub(crate) fn denied(user: &Identity) -> Self {
        HttpError::new(StatusCode::FORBIDDEN, "DENIED", format!("{user} may not do this here")).into_denial()
    }

    /// The answer to a caller that may not even know whether it is there.
    pub(crate) fn hidden() -> Self {
        HttpError::from_service(Error::RepositoryUnknown, None).into_denial()
    }

    /// 401 for a token that does not count.
    pub(crate) fn invalid_token(message: impl Into<String>, challenge: HeaderValue) -> Self {
        HttpError::unauthorized(message, challenge).into_denial()
    }

    fn into_denial(self) -> Self {
        HttpError { is_denial: true, ..self }
    }

    /// The error for a login that failed. A throttled or busy one may be retried.
    pub(crate) fn login(error: LoginError, challenge: HeaderValue) -> Self {
        let after = match error {
            LoginError::Refused => return HttpError::unauthorized(error.to_string(), challenge).into_denial(),
            LoginError::Throttled(wait) => HeaderValue::from(whole_seconds(&wait)),
            LoginError::Busy(_) => RETRY_SECONDS,
        };
        HttpError::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", error.to_string()).with(RETRY_AFTER, after)
    }

    /// 416 for a pull.
    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let message = format!("the requested range is outside the blob's {size} bytes");
        let error = HttpError::new(StatusCode::RANGE_NOT_SATISFIABLE, "UNSUPPORTED", message);
        error.with(CONTENT_RANGE, value(&format!("bytes */{size}")))
    }

    /// 400 for an invalid digest, or an unknown algorithm.
    pub(crate) fn digest_invalid(message: impl Into<String>) -> Self {
        HttpError::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    /// The error for an invalid path. The status depends on whether the request reads or writes.
    pub(crate) fn route(error: &RouteError, method: &Method) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match error {
            RouteError::NotFound => HttpError::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path in this API"),
            RouteError::NameInvalid => {
                let status = if reads { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
                HttpError::new(status, "NAME_INVALID", crate::oci::InvalidRepositoryName.to_string())
            }
            RouteError::DigestInvalid(error) => HttpError::digest_invalid(error.to_string()),
            RouteError::TagInvalid if *method == Method::PUT => {
                HttpError::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", crate::oci::InvalidTag.to_string())
            }
            // The old conformance suite requests an invalid tag and expects 404.
            RouteError::TagInvalid => {
                HttpError::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", crate::oci::InvalidTag.to_string())
            }
        }
    }

    /// Adds the session's location and offset to the error of an upload.
    fn with_progress(self, repository: Option<&RepositoryName>, progress: &Progress) -> Self {
        match repository {
            Some(repository) => self
                .with(LOCATION, upload_location(repository, &progress.id))
                .with(RANGE, upload_range(progress.offset)),
            None => self,
        }
    }

    /// The error for each service error: the table.
    pub(crate) fn from_service(error: Error, repository: Option<&RepositoryName>) -> Self {
        use StatusCode as S;
        let message = error.to_string();
        let plain = |status, code| HttpError::new(status, code, message.clone());
        match &error {
            Error::RepositoryUnknown => plain(S::NOT_FOUND, "NAME_UNKNOWN"),
            Error::BlobUnknown => plain(S::NOT_FOUND, "BLOB_UNKNOWN"),
            Error::ManifestUnknown => plain(S::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Error::UploadUnknown => plain(S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Error::ChunkOutOfOrder(progress) | Error::ContentRangeInvalid(progress) => {
                plain(S::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID").with_progress(repository, progress)
            }
            Error::UploadBusy(progress) => {
                plain(S::CONFLICT, "BLOB_UPLOAD_INVALID").with_progress(repository, progress)
            }
            Error::ChunkSizeInvalid { progress, .. } => {
                plain(S::BAD_REQUEST, "SIZE_INVALID").with_progress(repository, progress)
            }
            Error::DigestMismatch { .. } | Error::AlgorithmUnsupported(_) => plain(S::BAD_REQUEST, "DIGEST_INVALID"),
            Error::ManifestInvalid(_) | Error::DescriptorSize { .. } => plain(S::BAD_REQUEST, "MANIFEST_INVALID"),
            Error::ReferencesMissing { digests, children } => HttpError {
                status: S::BAD_REQUEST,
                entries: digests.iter().take(MAX_ENTRIES).map(|digest| missing(digest, *children)).collect(),
                headers: Vec::new(),
                cause: None,
                is_denial: false,
            },
            Error::BlobTooLarge { .. } | Error::ManifestTooLarge { .. } | Error::TooManyReferences { .. } => {
                plain(S::PAYLOAD_TOO_LARGE, "SIZE_INVALID")
            }
            Error::TooManyTags { .. } => plain(S::URI_TOO_LONG, "MANIFEST_INVALID"),
            Error::BlobReferenced(_) | Error::DeleteDisabled => {
                plain(S::METHOD_NOT_ALLOWED, "UNSUPPORTED").with(ALLOW, HeaderValue::from_static("GET, HEAD"))
            }
            Error::TagFixed(_) => plain(S::FORBIDDEN, "DENIED").into_denial(),
            Error::PreconditionFailed => plain(S::PRECONDITION_FAILED, "DENIED"),
            Error::BodyBroken => plain(S::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Error::BodyIdle | Error::BodySlow => plain(S::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID"),
            Error::DiskFull | Error::NoNewUploads => {
                plain(S::INSUFFICIENT_STORAGE, "UNAVAILABLE").with(RETRY_AFTER, RETRY_SECONDS).because(error)
            }
            Error::UsedUp(UsedUp::Share(_)) => {
                plain(S::TOO_MANY_REQUESTS, "TOOMANYREQUESTS").with(RETRY_AFTER, RETRY_SECONDS).because(error)
            }
            // This is no failure: clients have used up what they share.
            Error::UsedUp(UsedUp::Pool(_))
            | Error::StoreTroubled
            | Error::Storage(_)
            | Error::StagingFull
            | Error::ReadOnly
            | Error::Unavailable
            | Error::BackendUnavailable
            | Error::InDoubt => {
                plain(S::SERVICE_UNAVAILABLE, "UNAVAILABLE").with(RETRY_AFTER, RETRY_SECONDS).because(error)
            }
            Error::ContentDamaged(_) | Error::Internal(_) => {
                HttpError::new(S::INTERNAL_SERVER_ERROR, "UNKNOWN", "internal error on this node").because(error)
            }
        }
    }

    /// Renders the answer. For HEAD the dispatcher drops the body later.
    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        let ours = self.status.is_server_error();
        let errors: Vec<_> = self
            .entries
            .into_iter()
            .map(|entry| {
                let mut error = json!({ "code": entry.code, "message": entry.message });
                if let Some(detail) = entry.detail {
                    error["detail"] = detail;
                } else if ours {
                    error["detail"] = json!({ "request_id": request_id });
                }
                error
            })
            .collect();
        let body = json!({ "errors": errors }).to_string();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = Body::from(body);
        response
    }
}

impl From<ForeignRequest> for HttpError {
    fn from(refused: ForeignRequest) -> Self {
        HttpError::new(StatusCode::FORBIDDEN, "DENIED", refused.to_string())
    }
}

fn missing(digest: &crate::oci::Digest, child: bool) -> Entry {
    let message = match child {
        true => {
            format!("child {digest} is not in this repository; push with --all, or set registry.reference_checks=false")
        }
        false => format!("blob {digest} is not in this repository; push it first"),
    };
    Entry { code: "MANIFEST_BLOB_UNKNOWN", message, detail: Some(json!({ "digest": digest })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Docker gave up at `DENIED`, and blamed its own request for content that was only elsewhere.
    #[test]
    fn what_may_work_later_is_unavailable() {
        for (error, status) in [
            (Error::DiskFull, 507),
            (Error::NoNewUploads, 507),
            (Error::BackendUnavailable, 503),
            (Error::InDoubt, 503),
            (Error::ReadOnly, 503),
            (Error::StagingFull, 503),
            (Error::StoreTroubled, 503),
            (Error::UsedUp(UsedUp::Pool("open uploads")), 503),
            (Error::Unavailable, 503),
        ] {
            let answer = HttpError::from_service(error, None);
            assert_eq!((answer.status.as_u16(), answer.entries[0].code), (status, "UNAVAILABLE"), "{answer:?}");
            assert!(answer.headers.iter().any(|(name, _)| name == RETRY_AFTER), "{answer:?}");
        }
        let share = HttpError::from_service(Error::UsedUp(UsedUp::Share("open uploads")), None);
        assert_eq!((share.status.as_u16(), share.entries[0].code), (429, "TOOMANYREQUESTS"));
    }
}
