//! The form of an error: a status and `{"message": ...}`, as skyd's `WriteError` sends it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;
use serving::{BodyError, ForeignRequest, UsedUp};
use skynet_formats::proof::PROOF_HEADER;

use crate::entries::EntryStoreError;
use crate::peers::FetchError;
use crate::read_only::ReadOnly;
use crate::skyfile::{OpenError, WriteError};

/// The header with the entries that led to an answer.
pub(super) const PROOF: HeaderName = HeaderName::from_static(PROOF_HEADER);

/// `Retry-After` when what clients share is used up.
const BUSY: Duration = Duration::from_secs(4);

/// `Retry-After` when the disk is full: somebody must free space first.
const FULL: Duration = Duration::from_secs(29);

/// `Retry-After` when a client has its share of all registry entries, which only an operator can change.
const SHARE_USED_UP: Duration = Duration::from_hours(1);

/// An error answer.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
    /// The entries that prove the answer.
    proof: Option<HeaderValue>,
    /// The internal cause; logged, never sent.
    pub(super) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        HttpError { status, message: message.into(), retry_after: None, proof: None, cause: None }
    }

    /// The request is invalid.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        HttpError::new(StatusCode::BAD_REQUEST, message)
    }

    /// The requested thing does not exist here.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        HttpError::new(StatusCode::NOT_FOUND, message)
    }

    /// The store of entries failed at an `action`, given in skyd's words.
    pub(crate) fn from_entry_store(action: &str, error: EntryStoreError) -> Self {
        match error {
            EntryStoreError::TooManyEntries { .. } => {
                HttpError::new(StatusCode::INSUFFICIENT_STORAGE, format!("{action}: {error}"))
            }
            EntryStoreError::TooManyLookups { wait } => {
                HttpError::new(StatusCode::TOO_MANY_REQUESTS, format!("{action}: {error}")).retry_after(wait)
            }
            EntryStoreError::ShareUsedUp { .. } => {
                HttpError::new(StatusCode::TOO_MANY_REQUESTS, format!("{action}: {error}")).retry_after(SHARE_USED_UP)
            }
            EntryStoreError::Record(ref full) if full.is_disk_full() => {
                HttpError::new(StatusCode::INSUFFICIENT_STORAGE, format!("{action}: the portal's disk is full"))
            }
            EntryStoreError::Record(_) | EntryStoreError::Aborted(_) => HttpError::internal(action, error),
        }
    }

    /// Tells the client that the same request may succeed after this time.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        HttpError { retry_after: Some(wait), ..self }
    }

    /// Tells the client when to come back if the disk is full.
    pub(crate) fn retry_if_full(self) -> Self {
        if self.status == StatusCode::INSUFFICIENT_STORAGE { self.retry_after(FULL) } else { self }
    }

    /// A pool is used up, or the client's share of it.
    pub(crate) fn used_up(action: &str, used_up: UsedUp) -> Self {
        let status = match used_up {
            UsedUp::Share(_) => StatusCode::TOO_MANY_REQUESTS,
            UsedUp::Pool(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        HttpError::new(status, format!("{action}: {used_up}")).retry_after(BUSY)
    }

    /// Adds a proof with which a client can check the answer.
    pub(super) fn with_proof(self, proof: HeaderValue) -> Self {
        HttpError { proof: Some(proof), ..self }
    }

    /// An internal fault; the client is told only `message`.
    pub(crate) fn internal(message: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        let error = HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, message);
        HttpError { cause: Some(Box::new(cause)), ..error }
    }

    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        // The cause is not sent; the request's id finds it in the log.
        let message = match self.cause {
            Some(_) => format!("{} (request {request_id})", self.message),
            None => self.message,
        };
        let mut response = Response::new(Body::from(format!("{}\n", json!({ "message": message }))));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Skynet portal\""));
        }
        if let Some(proof) = self.proof {
            headers.insert(PROOF, proof);
        }
        if let Some(wait) = self.retry_after {
            // Rounded up to whole seconds, so that no client retries too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}

impl From<ForeignRequest> for HttpError {
    fn from(refused: ForeignRequest) -> Self {
        HttpError::new(StatusCode::FORBIDDEN, refused.to_string())
    }
}

impl From<ReadOnly> for HttpError {
    fn from(error: ReadOnly) -> Self {
        HttpError::new(StatusCode::FORBIDDEN, error.to_string())
    }
}

impl From<BodyError> for HttpError {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::Idle | BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        HttpError::new(status, error.to_string())
    }
}

impl From<WriteError> for HttpError {
    fn from(error: WriteError) -> Self {
        let message = error.to_string();
        let status = match error {
            WriteError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            WriteError::UsedUp(used_up) => return HttpError::used_up("failed to upload file to skynet", used_up),
            WriteError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            WriteError::Blocked => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            WriteError::Restore(_) => {
                return HttpError::bad_request(format!("unable to restore skyfile: {message}"));
            }
            WriteError::MetadataTooLarge { .. } | WriteError::Assemble(_) => StatusCode::BAD_REQUEST,
            WriteError::Failed | WriteError::Io(_) => {
                return HttpError::internal("failed to upload file to skynet", error);
            }
        };
        HttpError::new(status, format!("failed to upload file to skynet: {message}")).retry_if_full()
    }
}

/// The answer when a skyfile that only peers have could not be fetched.
fn not_fetched(error: &Arc<FetchError>) -> HttpError {
    let status = match **error {
        FetchError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        FetchError::Malformed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        FetchError::TooLarge { .. } | FetchError::MetadataTooLarge { .. } => StatusCode::NOT_FOUND,
        FetchError::Incomplete(_) => StatusCode::BAD_GATEWAY,
        FetchError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        FetchError::Io(_) | FetchError::Aborted => {
            return HttpError::internal("failed to fetch skylink", Arc::clone(error));
        }
    };
    let error = HttpError::new(status, format!("failed to fetch skylink: {error}"));
    if status == StatusCode::SERVICE_UNAVAILABLE { error.retry_after(BUSY) } else { error.retry_if_full() }
}

impl From<OpenError> for HttpError {
    fn from(error: OpenError) -> Self {
        let message = format!("failed to fetch skylink: {error}");
        let status = match error {
            OpenError::ReadOnly(error) => return error.into(),
            OpenError::Blocked => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            OpenError::NotV1 | OpenError::Proof(_) => StatusCode::BAD_REQUEST,
            // The sector of the skylink exists but is no skyfile: this is skyd's status too.
            OpenError::Layout(_) | OpenError::OutOfBounds | OpenError::Metadata(_) => StatusCode::INTERNAL_SERVER_ERROR,
            OpenError::Fetch(error) => return not_fetched(&error),
            OpenError::Io(_) => return HttpError::internal("failed to fetch skylink", error),
        };
        HttpError::new(status, message)
    }
}
