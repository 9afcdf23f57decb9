//! Dispatches requests to handlers. The only place that sets common headers, counts requests and logs failures.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use http::header::EXPECT;
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use serving::metrics::RequestLabels;
use serving::{
    CLIENT_LEFT, ForeignRequest, Holder, Pending, REQUEST_ID, RequestBody, Scheme, inbound_request_id, loggable_method,
};

use super::access_log::{self, Line};
use super::action::Action;
use super::body::Counted;
use super::error::HttpError;
use super::headers::{DOCKER_API_VERSION, value};
use super::request::{Answer, Request};
use super::route::{Route, RouteError};
use super::{App, Door};
use super::{audit, health, home, location, login, token, v2};
use crate::access::{Identity, Need, Right};
use crate::catalog::fact::Visibility;
use crate::service::{Caller, Error};
use crate::telemetry::metrics::Metrics;

/// Handles every request.
pub(super) async fn dispatch(State(door): State<Door>, request: http::Request<Body>) -> Response<Body> {
    let Some(app) = door.app.get() else {
        return health::starting(request.uri().path(), &door.progress);
    };
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().map_or(NO_PEER, |info| info.0.ip());
    let scheme = head.extensions.get::<Scheme>().copied().unwrap_or_default();
    let caller = caller(app, peer, &head.headers);
    let method = head.method;
    let route = Route::parse(head.uri.path());
    let label = route.as_ref().map_or("none", Route::label);
    let expects_continue = head.headers.contains_key(EXPECT);
    let proxies = &app.options.trusted_proxies;
    let page = check_page(app, &route, &method, &head.uri, &head.headers, || {
        proxies.origin(peer, scheme, &head.uri, &head.headers)
    });
    let base = app.options.locations.base(proxies, peer, scheme, &head.uri, &head.headers);
    let mut request = Request::new(caller, (peer, scheme), head.uri, head.headers);
    let (idle, received) = (app.options.idle_body_timeout, app.metrics.http_received_bytes.clone());
    let mut body = RequestBody::new(body, idle, received, expects_continue);
    let line = app.options.access_log.covers(&method).then(|| Line {
        user_agent: access_log::user_agent(&request.headers),
        route: label,
        path: access_log::path(&route, request.uri.path()),
        scheme,
        began,
        caller: request.caller.clone(),
    });
    let mut pending = Pending::new(line, |line: Option<Line>| {
        count(&app.metrics, label, &method, CLIENT_LEFT, began.elapsed());
        if let Some(line) = line {
            line.write_unanswered(&method);
        }
    });
    let answer = match (&route, page) {
        (Ok(_), Err(foreign)) => Err(HttpError::from(foreign)),
        (Ok(route), Ok(())) => match route.action(&method) {
            Some(action) => {
                let admitted = login::admit(app, &action, &mut request).await;
                if let Some(line) = pending.line() {
                    line.caller.identity.clone_from(&request.caller.identity);
                }
                let answer = match admitted {
                    Ok(()) => {
                        if let Need::Repository { repository, right: Right::Push, .. } = action.need() {
                            request.caller.visibility = app.access.visibility_of_new(repository);
                        }
                        handle(app, action, &request, &mut body).await
                    }
                    Err(error) => Err(error),
                };
                if let Some(journal) = &app.options.audit
                    && let Some(entry) = audit::entry_of(&action, &request, &answer)
                {
                    journal.keep(entry).await;
                }
                answer
            }
            None => Err(HttpError::method_not_allowed(route)),
        },
        (Err(error), _) => Err(HttpError::route(error, &method)),
    };
    let path = || access_log::path(&route, request.uri.path());
    let mut response = answer.unwrap_or_else(|error| render(error, &request.caller, label, &method, &path()));
    finish(&mut response, &request.caller.request, &method, base.as_deref());
    let received = body.received();
    body.leave(head.version, &mut response);
    let response = response.map(|body| Body::new(Counted::new(body, app.metrics.http_sent_bytes.clone())));
    let line = pending.answered();
    count(&app.metrics, label, &method, response.status().as_u16(), began.elapsed());
    match line {
        Some(line) => line.write_at_end_of(response, &method, received),
        None => response,
    }
}

/// The address of a request without a connection.
const NO_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The caller of a request, before it has logged in. No other code decides this.
fn caller(app: &App, peer: IpAddr, headers: &HeaderMap) -> Caller {
    let proxies = &app.options.trusted_proxies;
    let inbound = proxies.trust(peer).then(|| inbound_request_id(headers)).flatten();
    let address = proxies.client(peer, headers);
    Caller {
        address,
        identity: Identity::Anonymous,
        holder: if peer == NO_PEER { Holder::SHARED } else { Holder::of(address, proxies) },
        request: inbound.map_or_else(|| app.request_ids.next(), Arc::from),
        visibility: Visibility::Private,
    }
}

/// Refuses what a web page must not request. Health checks may use any name. `asked` is the origin that the client
/// asked for.
fn check_page(
    app: &App,
    route: &Result<Route, RouteError>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    asked: impl FnOnce() -> Option<String>,
) -> Result<(), ForeignRequest> {
    if matches!(route, Ok(Route::Live | Route::Ready)) {
        return Ok(());
    }
    app.options.pages.check_host(uri, headers)?;
    if method.is_safe() {
        return Ok(());
    }
    app.options.pages.check_page(asked().as_deref(), headers)
}

/// Counts a request when the head of its answer is ready. Its body may still be streaming.
fn count(metrics: &Metrics, label: &'static str, method: &Method, status: u16, took: Duration) {
    let labels = RequestLabels { operation: label, method: method.into(), status };
    metrics.http_request_duration.get_or_create(&labels).observe(took.as_secs_f64());
}

/// Takes the permits that the action costs, and calls its handler with them.
async fn handle(app: &App, action: Action<'_>, request: &Request, body: &mut RequestBody) -> Answer {
    use v2::{blobs, discovery, manifests, referrers, uploads};
    let costs = action.costs(&request.query);
    let permits = app.registry.admit(&request.caller, costs, request.content_length()).await;
    let permits = permits.map_err(|error| HttpError::from_service(error, None))?;
    if let Some(pool) = permits.rated() {
        body.hold_to_rate(pool);
    }
    match action {
        Action::Base => Ok(discovery::base()),
        Action::DiscoverExtensions => Ok(discovery::extensions()),
        Action::ListRepositories => discovery::repositories(app, request).await,
        Action::ListTags(name) => discovery::tags(app, request, name).await,
        Action::ListReferrers(name, digest) => referrers::list(app, request, name, digest).await,
        Action::GetManifest(name, reference) => manifests::get(app, request, name, reference).await,
        Action::HeadManifest(name, reference) => manifests::head(app, request, name, reference).await,
        Action::PutManifest(name, reference) => manifests::put(app, request, body, permits, name, reference).await,
        Action::DeleteManifest(name, reference) => manifests::delete(app, request, name, reference).await,
        Action::GetBlob(name, digest) => blobs::get(app, request, name, digest).await,
        Action::HeadBlob(name, digest) => blobs::head(app, request, name, digest).await,
        Action::DeleteBlob(name, digest) => blobs::delete(app, request, name, digest).await,
        Action::BeginUpload(name) => uploads::begin(app, request, body, permits, name).await,
        Action::UploadProgress(name, id) => uploads::progress(app, request, name, id),
        Action::AppendUpload(name, id) => uploads::append(app, request, body, permits, name, id).await,
        Action::CloseUpload(name, id) => uploads::close(app, request, body, permits, name, id).await,
        Action::CancelUpload(name, id) => uploads::cancel(app, request, name, id).await,
        Action::Live => Ok(health::live()),
        Action::Ready => Ok(health::ready(app)),
        Action::Metrics => health::metrics(app, request).await,
        Action::GetToken => token::get(app, request).await,
        Action::PostToken => token::post(app, request, body).await,
        Action::TokenKeys => token::keys(app),
        Action::Home => home::page(app, request).await,
    }
}

/// Turns an error into its answer. Server failures and exhausted limits are logged here, and nowhere else.
fn render(error: HttpError, caller: &Caller, label: &'static str, method: &Method, path: &str) -> Response<Body> {
    if let Some(cause) = &error.cause {
        let (method, is_limit) = (loggable_method(method), matches!(**cause, Error::UsedUp(_)));
        let cause: &dyn std::error::Error = cause.as_ref();
        let reason = cause.source().map(ToString::to_string).unwrap_or_default();
        if is_limit {
            tracing::warn!(request.id = %caller.request, client = %caller.address, operation = label, method, path,
                error = %cause, "request refused");
        } else {
            tracing::error!(request.id = %caller.request, client = %caller.address, operation = label, method, path,
                error = %cause, %reason, "request failed");
        }
    }
    error.into_response(&caller.request)
}

fn finish(response: &mut Response<Body>, id: &str, method: &Method, base: Option<&str>) {
    if let Some(base) = base {
        location::complete(response, base);
    }
    let headers = response.headers_mut();
    headers.insert(DOCKER_API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(REQUEST_ID, value(id));
    if *method == Method::HEAD {
        // The headers describe the body that GET would have sent.
        *response.body_mut() = Body::empty();
    }
}

#[cfg(test)]
mod tests;
