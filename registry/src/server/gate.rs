//! The gate between a connection and the router. It refuses heads over a limit.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use serving::{Pool, Scheme, UsedUp};
use tower::ServiceExt;

use super::Limits;
use super::activity::{Activity, Watched};
use super::arriving::Arriving;
use super::buffers::Share;
use super::place::Place;
use super::shared::Shared;
use crate::resources::Resource;

/// Health checks of the registry and the portal. They need no place among the connections, and take no time.
const HEALTH: [&str; 2] = ["/livez", "/readyz"];

/// Serves the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) shared: Arc<Shared>,
    pub(super) activity: Arc<Activity>,
    pub(super) place: Arc<Place>,
    pub(super) share: Share,
    pub(super) peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Gate {
    type Response = Response<Watched<Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.activity.begin(!http_body::Body::is_end_stream(request.body()));
        let refusal = refuse(&request, &self.shared.limits, self.activity.bare_lf());
        if let Some(refusal) = &refusal {
            self.shared.head_log.refused(&self.shared.metrics, self.peer, Some(&request), refusal.status());
        }
        let Gate { shared, activity, place, share, peer } = self.clone();
        Box::pin(async move {
            let mut in_flight = in_flight;
            in_flight.handler_runs();
            if let Some(refusal) = refusal {
                return Ok(refusal.map(|body| in_flight.watch(body, share, None)));
            }
            let version = request.version();
            if !HEALTH.contains(&request.uri().path())
                && let Err(used_up) = place.admit().await
            {
                return Ok(busy(version, used_up).map(|body| in_flight.watch(body, share, None)));
            }
            let Some(room) = share.request(head_bytes(&request)).await else {
                let busy = busy(version, UsedUp::Pool(Resource::Requests.name()));
                return Ok(busy.map(|body| in_flight.watch(body, share, None)));
            };
            let mut request = request.map(|body| Body::new(Arriving::new(body, activity)));
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(if shared.entry.tls.is_some() { Scheme::Https } else { Scheme::Http });
            name_host(&mut request);
            let mut response = shared.router.clone().oneshot(request).await?;
            drop_needless_length(&mut response);
            if let Some(promise) = shared.entry.tls.as_ref().and_then(|tls| tls.strict_transport.as_ref()) {
                response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, promise.clone());
            }
            if place.is_beyond_the_limit() && version < Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(pool) = response.extensions_mut().remove::<Arc<Pool>>() {
                in_flight.holds(pool);
            }
            Ok(response.map(|body| in_flight.watch(body, share, Some(room))))
        })
    }
}

/// The answer to a head that exceeds a limit or is ambiguous.
fn refuse<B>(request: &Request<B>, limits: &Limits, bare_lf: Option<bool>) -> Option<Response<Body>> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let (status, message) = if target > limits.max_uri_bytes {
        (StatusCode::URI_TOO_LONG, "the request target is too long")
    } else if header_bytes(request.headers()) > limits.max_header_bytes {
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request headers are too large")
    } else if !transfer_encoding_is_understood(request.headers()) {
        (StatusCode::NOT_IMPLEMENTED, "no transfer encoding but chunked is understood")
    } else if bare_lf.is_none() && request.version() < Version::HTTP_2 {
        (StatusCode::BAD_REQUEST, "a request behind a body must wait for that body's answer")
    } else if bare_lf == Some(true) {
        (StatusCode::BAD_REQUEST, "each line of a head must end with CR and LF")
    } else if !host_is_clear(request) {
        (StatusCode::BAD_REQUEST, "a request must have one host")
    } else {
        return None;
    };
    Some(answer(request.version(), status, "UNSUPPORTED", message))
}

/// The answer to a request for whose connection there is no place, or for which others leave no memory.
fn busy(version: Version, used_up: UsedUp) -> Response<Body> {
    let (status, code) = match used_up {
        UsedUp::Share(_) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        UsedUp::Pool(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    };
    let mut response = answer(version, status, code, &used_up.to_string());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// Bytes of a request's head in memory.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + header_bytes(request.headers())
}

/// Removes a Content-Length that must not be there. The router sets it on every answer, but a 204 must have none, and a
/// 304 must not state 0 for content that it does not send (RFC 9110 8.6).
fn drop_needless_length(response: &mut Response<Body>) {
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
}

/// Bytes of the header lines, as HTTP/1.1 writes them.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len()).sum()
}

/// True if the transfer encoding is absent or `chunked`. The HTTP library accepts any list that ends in `chunked` and
/// would pass on gzip, for example, as content. Unknown codings are answered 501 (RFC 9112 6.1).
fn transfer_encoding_is_understood(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    values.next().is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked")) && values.next().is_none()
}

/// With two hosts, servers could choose different ones (RFC 9112 3.2). HTTP/1.0, used by some health checks, requires
/// none. HTTP/2 has another place for it, which `Host` must not contradict (RFC 9113 8.3.1).
fn host_is_clear<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), request.uri().authority()) {
        (None, ..) => request.version() != Version::HTTP_11,
        (Some(_), Some(_), _) => false,
        (Some(host), None, Some(authority)) if request.version() == Version::HTTP_2 => {
            host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
        }
        _ => true,
    }
}

/// Lets `Host` be what the client asked for. HTTP/2 has it in the target, and a target in absolute form replaces `Host`
/// (RFC 9112 3.2.2).
fn name_host<B>(request: &mut Request<B>) {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// An error in the form of the OCI distribution spec ("Error Codes"). It closes the connection, since the request's
/// body is not read.
fn answer(version: Version, status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let json = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
