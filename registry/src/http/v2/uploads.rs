//! Uploads (end-4a, 4b, 4c, 5, 6, 11, 13, 14).

use std::sync::Arc;

use axum::body::Body;
use content_store::UploadId;
use http::header::{LOCATION, RANGE};
use http::{HeaderValue, Response, StatusCode};
use serving::RequestBody;

use crate::access::{Need, Right, Verdict};
use crate::http::App;
use crate::http::action::Action;
use crate::http::body::{OwnChunks, chunks};
use crate::http::challenge::challenge;
use crate::http::error::HttpError;
use crate::http::headers::{
    DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, OCI_CHUNK_MAX_LENGTH, blob_location, digest_value, upload_location,
    upload_range, value,
};
use crate::http::login::NARROW;
use crate::http::request::{Answer, Request, in_repository};
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::service::{Chunk, Error, IncomingBody, MayPull, Permits, Progress, Start, Started};

/// Handles POST: begins a session, mounts a blob, or stores a whole blob.
pub(in crate::http) async fn begin(
    app: &App,
    request: &Request,
    body: &mut RequestBody,
    permits: Permits,
    repository: &RepositoryName,
) -> Answer {
    let fail = in_repository(repository);
    if let Some(digest) = request.query.get("digest") {
        let digest = parse_digest(digest)?;
        let body = incoming(request, Chunk::Stream, OwnChunks::take(body), permits).map_err(&fail)?;
        let closed = app.registry.upload_at_once(&request.caller, repository, digest, body).await;
        return Ok(stored(repository, &closed.map_err(fail)?.digest));
    }
    let start = start(app, request)?;
    check_source(app, request, repository, &start)?;
    match app.registry.begin_upload(&request.caller, repository, start).await.map_err(fail)? {
        Started::Mounted(digest) => Ok(stored(repository, &digest)),
        Started::Session(progress) => Ok(session_at(app, StatusCode::ACCEPTED, repository, &progress)),
    }
}

/// Refuses a mount whose source the caller may pull, but not with this token. If it may not, it gets a session instead, as if
/// the blob were not there.
fn check_source(app: &App, request: &Request, repository: &RepositoryName, start: &Start) -> Result<(), HttpError> {
    let Start::Mount(_, Some(from), _) = start else { return Ok(()) };
    let source = Need::Repository { repository: from, right: Right::Pull, tag: None };
    if app.access.decide(&request.principal, &source) != Verdict::NeedsScope {
        return Ok(());
    }
    let action = Action::BeginUpload(repository);
    let how = challenge(app, request, &action, &[action.need(), source], Some("insufficient_scope"));
    Err(HttpError::unauthorized(NARROW, how))
}

/// The repositories that the caller may pull with this login.
fn pullable(app: &App, request: &Request) -> MayPull {
    let (access, caller) = (Arc::clone(&app.access), request.principal.clone());
    MayPull::only(move |repository| {
        access.decide(&caller, &Need::Repository { repository, right: Right::Pull, tag: None }) == Verdict::Allowed
    })
}

fn start(app: &App, request: &Request) -> Result<Start, HttpError> {
    let query = &request.query;
    if let Some(mount) = query.get("mount") {
        // A source with an invalid name cannot have the blob, so the client gets a session.
        return Ok(match query.get("from").filter(|from| !from.is_empty()).map(str::parse) {
            None => Start::Mount(parse_digest(mount)?, None, pullable(app, request)),
            Some(Ok(from)) => Start::Mount(parse_digest(mount)?, Some(from), pullable(app, request)),
            Some(Err(_)) => parse_digest(mount).map(|_| Start::Session(None))?,
        });
    }
    match query.get("digest-algorithm") {
        None => Ok(Start::Session(None)),
        Some(name) => match Algorithm::from_name(name) {
            Some(algorithm) => Ok(Start::Session(Some(algorithm))),
            None => Err(HttpError::digest_invalid(Error::AlgorithmUnsupported(shorten(name)).to_string())),
        },
    }
}

/// Handles GET: reports the session's offset.
pub(in crate::http) fn progress(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    id: Option<&UploadId>,
) -> Answer {
    let id = require_id(repository, id)?;
    let progress = app.registry.upload_progress(&request.caller, repository, id).map_err(in_repository(repository))?;
    Ok(session_at(app, StatusCode::NO_CONTENT, repository, &progress))
}

/// Handles DELETE: cancels the session.
pub(in crate::http) async fn cancel(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    id: Option<&UploadId>,
) -> Answer {
    let id = require_id(repository, id)?;
    app.registry.cancel_upload(&request.caller, repository, id).await.map_err(in_repository(repository))?;
    Ok(super::empty(StatusCode::NO_CONTENT))
}

/// Handles PATCH: appends a chunk.
pub(in crate::http) async fn append(
    app: &App,
    request: &Request,
    body: &mut RequestBody,
    permits: Permits,
    repository: &RepositoryName,
    id: Option<&UploadId>,
) -> Answer {
    let (fail, id) = (in_repository(repository), require_id(repository, id)?);
    let chunk = request.chunk(|| app.registry.upload_progress(&request.caller, repository, id)).map_err(&fail)?;
    let body = incoming(request, chunk, chunks(body), permits).map_err(&fail)?;
    let progress = app.registry.append_upload(&request.caller, repository, id, body).await.map_err(&fail)?;
    Ok(session_at(app, StatusCode::ACCEPTED, repository, &progress))
}

/// Handles PUT: appends the last chunk, and closes the session with the digest of the whole.
pub(in crate::http) async fn close(
    app: &App,
    request: &Request,
    body: &mut RequestBody,
    permits: Permits,
    repository: &RepositoryName,
    id: Option<&UploadId>,
) -> Answer {
    let (fail, id) = (in_repository(repository), require_id(repository, id)?);
    let mut digests = request.query.all("digest");
    let digest = match (digests.next(), digests.next()) {
        (Some(digest), None) => parse_digest(digest)?,
        (None, _) => return Err(HttpError::digest_invalid("the closing PUT needs ?digest=")),
        (Some(_), Some(_)) => return Err(HttpError::digest_invalid("the closing PUT accepts only one ?digest=")),
    };
    let chunk = request.chunk(|| app.registry.upload_progress(&request.caller, repository, id)).map_err(&fail)?;
    let body = incoming(request, chunk, OwnChunks::take(body), permits).map_err(&fail)?;
    let closed = app.registry.close_upload(&request.caller, repository, id, digest, body).await;
    Ok(stored(repository, &closed.map_err(&fail)?.digest))
}

fn incoming<B>(request: &Request, chunk: Chunk, bytes: B, permits: Permits) -> Result<IncomingBody<B>, Error> {
    Ok(IncomingBody { chunk, length: request.content_length(), bytes, permit: permits.body()? })
}

/// The session id. One that this registry cannot have made is answered like any unknown id.
fn require_id<'a>(repository: &RepositoryName, id: Option<&'a UploadId>) -> Result<&'a UploadId, HttpError> {
    id.ok_or_else(|| HttpError::from_service(Error::UploadUnknown, Some(repository)))
}

/// An answer with the session's location and offset.
fn session_at(app: &App, status: StatusCode, repository: &RepositoryName, progress: &Progress) -> Response<Body> {
    let mut response = super::empty(status);
    let headers = response.headers_mut();
    headers.insert(LOCATION, upload_location(repository, &progress.id));
    headers.insert(RANGE, upload_range(progress.offset));
    headers.insert(DOCKER_UPLOAD_UUID, value(progress.id.as_str()));
    if app.options.chunk_max_length > 0 {
        headers.insert(OCI_CHUNK_MAX_LENGTH, HeaderValue::from(app.options.chunk_max_length));
    }
    response
}

/// 201 with the location of the stored blob.
fn stored(repository: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = super::empty(StatusCode::CREATED);
    response.headers_mut().insert(LOCATION, blob_location(repository, digest));
    response.headers_mut().insert(DOCKER_CONTENT_DIGEST, digest_value(digest));
    response
}

fn parse_digest(text: &str) -> Result<Digest, HttpError> {
    text.parse().map_err(|error: crate::oci::DigestError| HttpError::digest_invalid(error.to_string()))
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}
