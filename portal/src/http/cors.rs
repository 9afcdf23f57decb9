//! The headers that browsers require before a page of another origin may use the portal. Every answer has them,
//! including errors and 304.
//!
//! The origin is echoed with credentials allowed, as on Skynet's portals, because SDKs send requests with cookies. So a
//! cookie must never authorize a write (see `[portal] api_keys`).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

/// Response headers that scripts may read besides the few that are always readable.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Content-Length, Content-Range, Content-Disposition, Accept-Ranges, ETag, Location, Skynet-Skylink, Skynet-Proof, \
     Skynet-File-Layout, Skynet-Portal-Api, Skynet-Server-Api, Skynet-Requested-Skylink, Skyberth-Gateway, Tus-Resumable, Tus-Version, \
     Tus-Extension, Tus-Max-Size, Upload-Concat, Upload-Length, Upload-Metadata, Upload-Offset, Upload-Expires, \
     X-Request-Id",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// True if a browser asks for permission to send a request.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Adds the headers for `request` to its `answer`.
pub(super) fn allow(request: &HeaderMap, preflight: bool, answer: &mut HeaderMap) {
    answer.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(ORIGIN) else { return };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if preflight {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
}
