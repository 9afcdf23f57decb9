//! What an error looks like: a status and `{"message": ...}`, as skyd's `WriteError` sends it.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

/// An error answer.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    message: String,
    /// What it was on our side; logged, never sent.
    pub(super) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        HttpError { status, message: message.into(), cause: None }
    }

    /// The request is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        HttpError::new(StatusCode::BAD_REQUEST, message)
    }

    /// What is asked for is not here.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        HttpError::new(StatusCode::NOT_FOUND, message)
    }

    /// The request is right, and we failed.
    pub(crate) fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        let message = "internal error".to_owned();
        HttpError { status: StatusCode::INTERNAL_SERVER_ERROR, message, cause: Some(Box::new(cause)) }
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
        response
    }
}
