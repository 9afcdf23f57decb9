//! What an error looks like: a status and `{"message": ...}`, as skyd's `WriteError` sends it.

use std::time::Duration;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::entries::EntryStoreError;

/// An error answer.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
    /// What it was on our side; logged, never sent.
    pub(super) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        HttpError { status, message: message.into(), retry_after: None, cause: None }
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
            EntryStoreError::DiskFull { .. } => {
                HttpError::new(StatusCode::INSUFFICIENT_STORAGE, format!("{action}: the portal's disk is full"))
            }
            EntryStoreError::Io { .. } | EntryStoreError::NewerFormat { .. } | EntryStoreError::Aborted(_) => {
                let cause = Some(error.into());
                HttpError { cause, ..HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, action) }
            }
        }
    }

    /// The same will do after this time.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        HttpError { retry_after: Some(wait), ..self }
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
        if let Some(wait) = self.retry_after {
            // Whole seconds, none of them too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}
