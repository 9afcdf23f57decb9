//! What an error looks like: a status and `{"message": ...}`, as skyd's `WriteError` sends it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;
use serving::BodyError;
use skynet_formats::proof::PROOF_HEADER;

use crate::entries::EntryStoreError;
use crate::peers::FetchError;
use crate::read_only::ReadOnly;
use crate::skyfile::{OpenError, WriteError};

/// The entries that an answer was found over.
pub(super) const PROOF: HeaderName = HeaderName::from_static(PROOF_HEADER);

/// Who finds all fetches from peers taken tries again after this.
const BUSY: Duration = Duration::from_secs(4);

/// An error answer.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
    /// The entries that say so.
    proof: Option<HeaderValue>,
    /// What it was on our side; logged, never sent.
    pub(super) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        HttpError { status, message: message.into(), retry_after: None, proof: None, cause: None }
    }

    /// The request is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        HttpError::new(StatusCode::BAD_REQUEST, message)
    }

    /// What is asked for is not here.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        HttpError::new(StatusCode::NOT_FOUND, message)
    }

    /// The store of entries failed at an `action`, given in skyd's words.
    pub(crate) fn from_entry_store(action: &str, error: EntryStoreError) -> Self {
        match error {
            EntryStoreError::TooManyEntries { .. } => {
                HttpError::new(StatusCode::INSUFFICIENT_STORAGE, format!("{action}: {error}"))
            }
            EntryStoreError::Record(ref full) if full.is_disk_full() => {
                HttpError::new(StatusCode::INSUFFICIENT_STORAGE, format!("{action}: the portal's disk is full"))
            }
            EntryStoreError::Record(_) | EntryStoreError::Aborted(_) => HttpError::internal(action, error),
        }
    }

    /// The same will do after this time.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        HttpError { retry_after: Some(wait), ..self }
    }

    /// A client can check by this that it is so.
    pub(super) fn with_proof(self, proof: HeaderValue) -> Self {
        HttpError { proof: Some(proof), ..self }
    }

    /// Our fault: `message` is what the client is told of it.
    pub(crate) fn internal(message: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        let error = HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, message);
        HttpError { cause: Some(Box::new(cause)), ..error }
    }

    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        // Internals stay here; the id finds them in the log.
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
            // Whole seconds, none of them too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
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
            BodyError::Idle => StatusCode::REQUEST_TIMEOUT,
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
            WriteError::TooManyUploads => StatusCode::SERVICE_UNAVAILABLE,
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
        HttpError::new(status, format!("failed to upload file to skynet: {message}"))
    }
}

/// A skyfile that only peers have.
fn not_fetched(error: &Arc<FetchError>) -> HttpError {
    let status = match **error {
        FetchError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        FetchError::Malformed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        FetchError::TooLarge { .. } => StatusCode::NOT_FOUND,
        FetchError::Incomplete(_) => StatusCode::BAD_GATEWAY,
        FetchError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        FetchError::Io(_) | FetchError::Aborted => {
            return HttpError::internal("failed to fetch skylink", Arc::clone(error));
        }
    };
    let error = HttpError::new(status, format!("failed to fetch skylink: {error}"));
    if status == StatusCode::SERVICE_UNAVAILABLE { error.retry_after(BUSY) } else { error }
}

impl From<OpenError> for HttpError {
    fn from(error: OpenError) -> Self {
        let message = format!("failed to fetch skylink: {error}");
        let status = match error {
            OpenError::ReadOnly(error) => return error.into(),
            OpenError::Blocked => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            OpenError::NotV1 | OpenError::Proof(_) => StatusCode::BAD_REQUEST,
            // What the skylink names is here, and no skyfile: skyd answers so too.
            OpenError::Layout(_) | OpenError::OutOfBounds | OpenError::Metadata(_) => StatusCode::INTERNAL_SERVER_ERROR,
            OpenError::Fetch(error) => return not_fetched(&error),
            OpenError::Io(_) => return HttpError::internal("failed to fetch skylink", error),
        };
        HttpError::new(status, message)
    }
}
