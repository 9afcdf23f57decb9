//! Logs a line for each request, when the last byte of its answer has been sent.

use std::time::Instant;

use axum::body::Body;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, Method, Response};
use serving::{Scheme, Sent, loggable, loggable_method, on_end};

use super::headers::{DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID};
use super::route::{Route, RouteError};
use crate::access::Identity;
use crate::service::Caller;

/// Most bytes logged of an invalid path, and of a user agent.
const MAX_PATH: usize = 256;
const MAX_USER_AGENT: usize = 128;

/// The parts of a log line that are known before the answer.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) caller: Caller,
    pub(super) user_agent: String,
    pub(super) route: &'static str,
    pub(super) path: String,
    pub(super) scheme: Scheme,
    pub(super) began: Instant,
}

/// The path for the log: the parsed route, or an invalid path as received. The query is never logged.
pub(super) fn path(route: &Result<Route, RouteError>, raw: &str) -> String {
    match route {
        Ok(route) => route.to_string(),
        Err(_) => loggable(raw.as_bytes(), MAX_PATH),
    }
}

/// The client's user agent, shortened for the log.
pub(super) fn user_agent(headers: &HeaderMap) -> String {
    headers.get(USER_AGENT).map_or_else(String::new, |value| loggable(value.as_bytes(), MAX_USER_AGENT))
}

/// The parts of a log line that are known with the answer's head.
struct Answered {
    upload: Option<String>,
    digest: Option<String>,
    status: u16,
    received: u64,
}

impl Line {
    /// Logs the line when the answer's body has ended. Answers of a push have its session and digest in their headers.
    /// These are logged, so that the lines of one push can be found.
    pub(super) fn write_at_end_of(self, response: Response<Body>, method: &Method, received: u64) -> Response<Body> {
        let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let answer = Answered {
            upload: text(DOCKER_UPLOAD_UUID),
            digest: text(DOCKER_CONTENT_DIGEST),
            status: response.status().as_u16(),
            received,
        };
        let shown = loggable_method(method);
        on_end(response, method, move |sent| self.write(&shown, Some(&answer), sent))
    }

    /// Logs the line of a request whose client left before the answer.
    pub(super) fn write_unanswered(self, method: &Method) {
        self.write(&loggable_method(method), None, Sent { bytes: 0, complete: false });
    }

    fn write(self, method: &str, answer: Option<&Answered>, sent: Sent) {
        let user = Some(&self.caller.identity).filter(|identity| **identity != Identity::Anonymous);
        tracing::info!(
            target: "skyberth::access",
            { request.id = %self.caller.request, client = %self.caller.address,
            user = user.map(tracing::field::display), user_agent = self.user_agent,
            tls = (self.scheme == Scheme::Https).then_some(true), method, route = self.route, path = self.path,
            status = answer.map(|answer| answer.status), received_bytes = answer.map(|answer| answer.received),
            sent_bytes = sent.bytes, duration_ms = self.began.elapsed().as_millis() as u64,
            upload.id = answer.and_then(|answer| answer.upload.as_deref()),
            digest = answer.and_then(|answer| answer.digest.as_deref()), cut = (!sent.complete).then_some(true) },
            "request"
        );
    }
}

#[cfg(test)]
mod tests;
