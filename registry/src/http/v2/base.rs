//! `GET /v2/` (end-1): this is a registry.

use axum::body::Body;
use http::Response;
use serde_json::json;

/// 200: anonymous access is all there is.
pub(in crate::http) fn base() -> Response<Body> {
    super::json("application/json", &json!({}))
}
