//! From a request to its handler and back: the one place that sets common headers, counts, logs failures and deals with
//! bodies that nobody read.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Method, Response, Version};

use super::App;
use super::body::RequestBody;
use super::error::HttpError;
use super::headers::{DOCKER_API_VERSION, REQUEST_ID, value};
use super::query::Query;
use super::request::{Answer, Request};
use super::route::Route;
use super::{health, home, v2};

/// Longest request target that is read (spec of our own edge table; nginx's default is the same).
const MAX_URI: usize = 8 * 1024;

/// Handles every request.
pub(super) async fn dispatch(State(app): State<Arc<App>>, request: http::Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let id = app.request_ids.next();
    let (head, body) = request.into_parts();
    let route = Route::parse(head.uri.path());
    let label = route.as_ref().map_or("none", Route::label);
    let too_long = head.uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_URI);
    let expects_continue = head.headers.contains_key(EXPECT);
    let mut request = Request {
        method: head.method,
        headers: head.headers,
        query: Query::parse(head.uri.query()),
        body: RequestBody::new(body, app.options.idle_body_timeout),
    };
    let answer = match &route {
        _ if too_long => Err(HttpError::new(http::StatusCode::URI_TOO_LONG, "UNSUPPORTED", "the request target is too long")),
        Ok(route) if route.methods().contains(&request.method) => handle(&app, route, &mut request).await,
        Ok(route) => Err(HttpError::method_not_allowed(route)),
        Err(error) => Err(HttpError::route(error, &request.method)),
    };
    let mut response = answer.unwrap_or_else(|error| render(error, &id, label, &request.method, head.uri.path()));
    finish(&mut response, &id, &request.method);
    leave_body(request.body, expects_continue, head.version, &mut response);
    app.metrics.record_request(label, &request.method, response.status(), started.elapsed());
    tracing::debug!(request.id = %id, method = %request.method, path = head.uri.path(), status = response.status().as_u16(),
        duration_ms = started.elapsed().as_millis() as u64, "answered");
    response
}

async fn handle(app: &App, route: &Route, request: &mut Request) -> Answer {
    match route {
        Route::Base => Ok(v2::base::base()),
        Route::Extensions => v2::extensions::discover(),
        Route::Catalog => v2::catalog::list(app, request).await,
        Route::Tags(repository) => v2::tags::list(app, request, repository).await,
        Route::Manifest(repository, reference) => v2::manifests::handle(app, request, repository, reference).await,
        Route::Blob(repository, digest) => v2::blobs::handle(app, request, repository, digest).await,
        Route::Uploads(repository) => v2::uploads::begin(app, request, repository).await,
        Route::Upload(repository, id) => v2::uploads::session(app, request, repository, id.as_ref()).await,
        Route::Referrers(repository, digest) => v2::referrers::list(app, request, repository, digest).await,
        Route::Live => Ok(health::live()),
        Route::Ready => Ok(health::ready(app)),
        Route::Metrics => health::metrics(app),
        Route::Home => home::page(app, request).await,
    }
}

/// Turns an error into its answer. What is our fault is logged here, and nowhere else.
fn render(error: HttpError, id: &str, label: &'static str, method: &Method, path: &str) -> Response<Body> {
    if let Some(cause) = &error.cause {
        let cause: &dyn std::error::Error = cause.as_ref();
        let reason = cause.source().map(ToString::to_string).unwrap_or_default();
        tracing::error!(request.id = %id, operation = label, %method, path, error = %cause, %reason, "request failed");
    }
    error.into_response(id)
}

fn finish(response: &mut Response<Body>, id: &str, method: &Method) {
    let headers = response.headers_mut();
    headers.insert(DOCKER_API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(REQUEST_ID, value(id));
    if *method == Method::HEAD {
        // The headers speak of the body that GET would have sent.
        *response.body_mut() = Body::empty();
    }
}

/// A body that was not read to its end would be taken for the next request: the connection closes, and what the client is
/// still sending is read for a while, so that it sees our answer.
fn leave_body(body: RequestBody, expects_continue: bool, version: Version, response: &mut Response<Body>) {
    if body.is_ended() {
        return;
    }
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // A client that asked whether to send has sent nothing yet.
    if !expects_continue {
        tokio::spawn(body.drain());
    }
}
