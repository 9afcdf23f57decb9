//! From a request to its handler and back: the one place that sets common headers, counts and logs failures.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use http::header::EXPECT;
use http::{HeaderValue, Method, Response, StatusCode};
use serving::{Query, RequestBody};

use super::body::Counted;
use super::error::HttpError;
use super::headers::{DOCKER_API_VERSION, REQUEST_ID, value};
use super::request::{Answer, Request};
use super::route::Route;
use super::{App, Door};
use super::{health, home, v2};
use crate::telemetry::labels::{Operation, OperationLabel, RequestLabels};
use crate::telemetry::metrics::Metrics;

/// Handles every request.
pub(super) async fn dispatch(State(door): State<Door>, request: http::Request<Body>) -> Response<Body> {
    let Some(app) = door.0.get() else {
        return health::starting(request.uri().path());
    };
    let started = Instant::now();
    let id = app.request_ids.next();
    let (head, body) = request.into_parts();
    let route = Route::parse(head.uri.path());
    let label = route.as_ref().map_or("none", Route::label);
    let expects_continue = head.headers.contains_key(EXPECT);
    let request = Request { method: head.method, headers: head.headers, query: Query::parse(head.uri.query()) };
    let mut body = RequestBody::new(body, app.options.idle_body_timeout, app.metrics.http_received_bytes.clone());
    let answer = match &route {
        Ok(route) if route.methods().contains(&request.method) => handle(app, route, &request, &mut body).await,
        Ok(route) => Err(HttpError::method_not_allowed(route)),
        Err(error) => Err(HttpError::route(error, &request.method)),
    };
    let mut response = answer.unwrap_or_else(|error| render(error, &id, label, &request.method, head.uri.path()));
    finish(&mut response, &id, &request.method);
    body.leave(expects_continue, head.version, &mut response);
    let response = response.map(|body| Body::new(Counted::new(body, app.metrics.http_sent_bytes.clone())));
    count(&app.metrics, label, &request.method, response.status(), started.elapsed());
    tracing::debug!(request.id = %id, method = %request.method, path = head.uri.path(), status = response.status().as_u16(),
        duration_ms = started.elapsed().as_millis() as u64, "answered");
    response
}

/// Counted when the head of the answer is made; bodies stream on after that.
fn count(metrics: &Metrics, label: &'static str, method: &Method, status: StatusCode, took: Duration) {
    let operation = Operation(label);
    let labels = RequestLabels { operation, method: method.into(), status: status.into() };
    metrics.http_requests.get_or_create(&labels).inc();
    metrics.http_request_duration.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
}

async fn handle(app: &App, route: &Route, request: &Request, body: &mut RequestBody) -> Answer {
    match route {
        Route::Base => Ok(v2::base::base()),
        Route::Extensions => Ok(v2::extensions::discover()),
        Route::Catalog => v2::catalog::list(app, request).await,
        Route::Tags(repository) => v2::tags::list(app, request, repository).await,
        Route::Manifest(repository, reference) => {
            v2::manifests::handle(app, request, body, repository, reference).await
        }
        Route::Blob(repository, digest) => v2::blobs::handle(app, request, repository, digest).await,
        Route::Uploads(repository) => v2::uploads::begin(app, request, body, repository).await,
        Route::Upload(repository, id) => v2::uploads::session(app, request, body, repository, id.as_ref()).await,
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
