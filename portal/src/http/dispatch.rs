//! From a request to its handler and back: the one place that sets common headers, counts and logs failures.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, State};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, EXPECT, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serving::metrics::RequestLabels;
use serving::{
    CLIENT_LEFT, Holder, Pending, Query, REQUEST_ID, RequestBody, Scheme, Sent, inbound_request_id, is_local_program,
    loggable, loggable_method, on_end,
};
use skynet_formats::GATEWAY_HEADER;

use super::error::HttpError;
use super::request::{Answer, Request, SKYNET_SKYLINK, value};
use super::route::Route;
use super::{
    access, blocklist, cors, download, health, identity, pins, raw_reads, registry, resolve, restore, root, skyfile,
    stats, trustless_file, tus,
};
use crate::skyfile::Admission;
use crate::{Portal, Resource};

const PORTAL_API: HeaderName = HeaderName::from_static("skynet-portal-api");
const SERVER_API: HeaderName = HeaderName::from_static("skynet-server-api");
/// Tells a registry that this is a gateway, which only serves content of a registry and keeps no copies.
const GATEWAY: HeaderName = HeaderName::from_static(GATEWAY_HEADER);

/// Most bytes of a path or user agent in the log.
const MAX_LOGGED_PATH: usize = 256;
const MAX_LOGGED_AGENT: usize = 128;

/// Handles every request.
pub(super) async fn dispatch(State(portal): State<Arc<Portal>>, request: http::Request<Body>) -> Response<Body> {
    let began = Instant::now();
    let (mut head, body) = request.into_parts();
    name_host(&mut head);
    let path = head.uri.path();
    let expects_continue = head.headers.contains_key(EXPECT);
    let preflight = cors::is_preflight(&head.method, &head.headers);
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let proxies = &portal.options.trusted_proxies;
    let client = peer.map(|peer| proxies.client(peer, &head.headers));
    let is_trusted = peer.is_some_and(|peer| proxies.trust(peer));
    let inbound = is_trusted.then(|| inbound_request_id(&head.headers)).flatten();
    let id = inbound.unwrap_or_else(next_request_id);
    let is_local_program = client.is_some_and(|client| is_local_program(client, &head.uri, &head.headers));
    let raw_query = head.uri.query().map(str::to_owned);
    let query = Query::parse(raw_query.as_deref());
    let holder = client.map_or(Holder::SHARED, |client| Holder::of(client, proxies));
    let scheme = head.extensions.get::<Scheme>().copied().unwrap_or_default();
    let (method, headers) = (head.method, head.headers);
    let request = Request { client, holder, scheme, method, headers, query, is_local_program, raw_query };
    let route = Route::at(request.host(), &portal.options.hostname, path);
    let label = route.as_ref().map_or("none", Route::label);
    let is_probe = matches!(route, Some(Route::Live));
    let named = portal.options.pages.check_host(&head.uri, &request.headers);
    let is_tus = route.as_ref().is_some_and(Route::is_tus);
    let is_shared = !route.as_ref().is_some_and(Route::is_own_origin);
    let (idle, received) = (portal.options.idle_body_timeout, portal.metrics.received_bytes.clone());
    let mut body = RequestBody::new(body, idle, received, expects_continue);
    let line = portal.options.access_log.covers(&request.method).then(|| Line::new(&id, path, label, began, &request));
    let pending = Pending::new(line, |line: Option<Line>| {
        count(&portal, label, &request.method, CLIENT_LEFT, began);
        if let Some(line) = line {
            line.write(None, Sent { bytes: 0, complete: false });
        }
    });
    let answer = match (route, named) {
        (_, Err(foreign)) if !is_probe => Err(HttpError::from(foreign)),
        _ if preflight => Ok(empty(StatusCode::NO_CONTENT)),
        (Some(route), _) => answer(&portal, &route, &request, &mut body).await,
        (None, _) => Err(HttpError::not_found("404 - Refer to API.md")),
    };
    let mut response = answer.unwrap_or_else(|error| render(error, &id, label, &request.method, path));
    finish(&portal, &request, preflight, &id, &mut response);
    if is_shared {
        download::restrict(response.headers_mut());
    }
    if is_tus {
        tus::mark(response.headers_mut());
    }
    let received = body.received();
    body.leave(head.version, &mut response);
    let line = pending.answered();
    count(&portal, label, &request.method, response.status().as_u16(), began);
    match line {
        Some(line) => line.write_at_end_of(response, &request.method, received),
        None => response,
    }
}

fn count(portal: &Portal, label: &'static str, method: &Method, status: u16, began: Instant) {
    let labels = RequestLabels { operation: label, method: method.into(), status };
    portal.metrics.request_duration.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
}

async fn answer(portal: &Arc<Portal>, route: &Route, request: &Request, body: &mut RequestBody) -> Answer {
    if request.method == Method::OPTIONS {
        return Ok(options(portal, route));
    }
    if !route.methods().contains(&request.method) {
        let mut response = HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed").into_response("");
        response.headers_mut().insert(ALLOW, allowed(route));
        return Ok(response);
    }
    if !request.method.is_safe() {
        // Checked here for all routes, so that no handler can forget it. A gateway refuses all writes.
        portal.stores()?;
        access::authorize_write(portal, request)?;
        if access::takes_away(route) {
            access::authorize_removal(portal, request)?;
        }
    }
    let admission = admit(portal, request, body, route.costs(&request.method)).await?;
    match route {
        Route::Root => Ok(root::page(portal)),
        Route::Live => Ok(health::live()),
        Route::Metrics => health::metrics(portal, request).await,
        Route::Stats => Ok(stats::stats(portal)),
        Route::Identity => identity::prove(portal, request),
        Route::Portals => Ok(stats::portals(portal, request)),
        Route::Registry if request.method == Method::POST => registry::post(portal, request, body).await,
        Route::Registry => registry::get(portal, request).await,
        Route::RegistryMulti => registry::post_multi(portal, request, body).await,
        Route::EntryHealth => registry::health(portal, request).await,
        Route::Resolve(skylink) => resolve::resolve(portal, request, skylink).await,
        Route::Skyfile => skyfile::upload(portal, request, body, granted(admission)?).await,
        Route::Restore => restore::restore(portal, body, granted(admission)?).await,
        Route::Blocklist if request.method == Method::POST => blocklist::post(portal, body).await,
        Route::Blocklist => Ok(blocklist::get(portal)),
        Route::SectorBytes => raw_reads::root(portal, request).await,
        Route::BaseSector(skylink) => raw_reads::base_sector(portal, request, skylink).await,
        Route::Trustless(skylink) => raw_reads::trustless(portal, request, skylink).await,
        Route::TrustlessFile(skylink) => trustless_file::read(portal, request, skylink).await,
        Route::Pin(skylink) => pins::pin(portal, request, skylink).await,
        Route::Unpin(skylink) => pins::unpin(portal, request, skylink).await,
        Route::SkylinkHealth(skylink) => pins::health(portal, request, skylink).await,
        Route::Download(address) => download::handle(portal, request, address).await,
        Route::Metadata(address) => download::metadata(portal, request, address).await,
        Route::Tus => tus::create(portal, request, body).await,
        Route::TusUpload(id) => tus::upload(portal, request, body, id.as_ref()).await,
        Route::TusSkylink(id) => tus::skylink(portal, id.as_ref()).await,
        Route::LeftOut(why) => Err(HttpError::not_found(*why)),
    }
}

/// Takes the permit that an upload in one request needs before its body is read.
async fn admit(
    portal: &Portal,
    request: &Request,
    body: &mut RequestBody,
    costs: &[Resource],
) -> Result<Option<Admission>, HttpError> {
    if !costs.contains(&Resource::Uploads) {
        return Ok(None);
    }
    let skyfiles = &portal.stores()?.skyfiles;
    let admission = skyfiles.admit(request.holder).await?;
    body.hold_to_rate(skyfiles.uploads());
    Ok(Some(admission))
}

fn granted(admission: Option<Admission>) -> Result<Admission, HttpError> {
    admission
        .ok_or_else(|| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "the costs of an upload do not include it"))
}

/// Copies the host from the URI, where HTTP/2 has it.
fn name_host(head: &mut http::request::Parts) {
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host);
    }
}

/// Answers an OPTIONS that is not a CORS preflight.
fn options(portal: &Portal, route: &Route) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(ALLOW, allowed(route));
    if route.is_tus() {
        tus::advertise(portal, response.headers_mut());
    }
    response
}

fn allowed(route: &Route) -> HeaderValue {
    let names: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
    value(&names.join(", "))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Turns an error into its answer. Faults of the portal are logged here, and nowhere else.
fn render(error: HttpError, id: &str, label: &'static str, method: &Method, path: &str) -> Response<Body> {
    if let Some(cause) = &error.cause {
        let reason = cause.source().map(ToString::to_string).unwrap_or_default();
        let (method, path) = (loggable_method(method), loggable(path.as_bytes(), MAX_LOGGED_PATH));
        tracing::error!(request.id = %id, operation = label, method, path, error = %cause, %reason, "request failed");
    }
    error.into_response(id)
}

fn finish(portal: &Portal, request: &Request, preflight: bool, id: &str, response: &mut Response<Body>) {
    let url = value(&request.portal_url(&portal.options));
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, value(id));
    headers.insert(PORTAL_API, url.clone());
    headers.insert(SERVER_API, url);
    if portal.is_gateway() {
        headers.insert(GATEWAY, HeaderValue::from_static("read-only"));
    }
    cors::allow(&request.headers, preflight, headers);
    if request.method == Method::HEAD {
        // The headers describe the body that GET would have sent. If its length is unknown, HEAD states none either.
        let length = response.body().size_hint().exact().filter(|length| *length > 0);
        if let Some(length) = length {
            response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        *response.body_mut() = Body::from_stream(futures_util::stream::empty::<std::io::Result<Bytes>>());
    }
}

/// A line of the access log: what is known of a request before its answer.
struct Line {
    id: String,
    client: Option<IpAddr>,
    user_agent: Option<String>,
    scheme: Scheme,
    method: String,
    path: String,
    route: &'static str,
    began: Instant,
}

/// What is known with the answer.
struct Answered {
    status: u16,
    received: u64,
    skylink: Option<String>,
}

impl Line {
    fn new(id: &str, path: &str, route: &'static str, began: Instant, request: &Request) -> Self {
        let user_agent = request.headers.get(USER_AGENT);
        Line {
            id: id.to_owned(),
            client: request.client,
            user_agent: user_agent.map(|value| loggable(value.as_bytes(), MAX_LOGGED_AGENT)),
            scheme: request.scheme,
            method: loggable_method(&request.method),
            path: loggable(path.as_bytes(), MAX_LOGGED_PATH),
            route,
            began,
        }
    }

    /// Writes the line when the answer's body has ended.
    fn write_at_end_of(self, response: Response<Body>, method: &Method, received: u64) -> Response<Body> {
        let skylink = response.headers().get(SKYNET_SKYLINK).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let answer = Answered { status: response.status().as_u16(), received, skylink };
        on_end(response, method, move |sent| self.write(Some(&answer), sent))
    }

    /// `answer` is absent if the request ended before it.
    fn write(self, answer: Option<&Answered>, sent: Sent) {
        tracing::info!(
            target: "portal::access",
            { request.id = self.id, client = self.client.map(tracing::field::display), user_agent = self.user_agent,
            tls = (self.scheme == Scheme::Https).then_some(true), method = self.method, route = self.route,
            path = self.path, status = answer.map(|answer| answer.status),
            received_bytes = answer.map(|answer| answer.received), sent_bytes = sent.bytes,
            duration_ms = self.began.elapsed().as_millis() as u64,
            skylink = answer.and_then(|answer| answer.skylink.as_deref()), cut = (!sent.complete).then_some(true) },
            "request"
        );
    }
}

/// Unique in this process, which is enough for its log.
fn next_request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("p-{:x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
