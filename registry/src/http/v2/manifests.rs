//! Manifests (end-3, 7a, 7b, 9).

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, WARNING};
use http::{HeaderValue, Response, StatusCode};
use serving::{RequestBody, UsedUp};

use crate::http::App;
use crate::http::body::{FileBody, chunks};
use crate::http::conditional::{not_modified, precondition};
use crate::http::error::HttpError;
use crate::http::headers::{DOCKER_CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, digest_value, etag, value, warning};
use crate::http::request::{Answer, Request, in_repository};
use crate::oci::{Digest, InvalidTag, Reference, RepositoryName, Tag};
use crate::resources::Resource;
use crate::service::{Blob, ByteChunks, Error, ManifestInfo, ManifestPush, MemoryPermit, Permits, SMALL_MANIFEST};

/// Handles GET. `Accept` is ignored: a manifest is sent as it was pushed.
pub(in crate::http) async fn get(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    reference: &Reference,
) -> Answer {
    let manifest = app.registry.get_manifest(repository, reference).await.map_err(in_repository(repository))?;
    let body = match manifest.body {
        Blob::Bytes(bytes) => Body::from(bytes),
        Blob::File(file, size) => Body::new(FileBody::range(file, 0..size)),
    };
    answer(request, &manifest.info, body)
}

/// Handles HEAD, without reading the manifest's bytes.
pub(in crate::http) async fn head(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    reference: &Reference,
) -> Answer {
    let info = app.registry.head_manifest(repository, reference).await.map_err(in_repository(repository))?;
    answer(request, &info, Body::empty())
}

/// Handles DELETE: by tag it deletes the tag, by digest the manifest with all its tags.
pub(in crate::http) async fn delete(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    reference: &Reference,
) -> Answer {
    let fixed = app.access.not_to_delete(&request.caller.identity, repository);
    let condition = precondition(&request.headers);
    let deleted = app.registry.delete_manifest(&request.caller, repository, reference, condition, fixed);
    deleted.await.map_err(in_repository(repository))?;
    Ok(super::empty(StatusCode::ACCEPTED))
}

fn answer(request: &Request, info: &ManifestInfo, body: Body) -> Answer {
    let mut response = if not_modified(&request.headers, &info.digest)? {
        super::empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(info.size));
        response
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value(&info.media_type));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_value(&info.digest));
    headers.insert(ETAG, etag(&info.digest));
    Ok(response)
}

/// Handles PUT, with the tags in the query.
pub(in crate::http) async fn put(
    app: &App,
    request: &Request,
    body: &mut RequestBody,
    permits: Permits,
    repository: &RepositoryName,
    reference: &Reference,
) -> Answer {
    let fail = in_repository(repository);
    let limit = app.registry.limits().max_manifest_size;
    let tags = tags(request, reference, app.registry.limits().max_tags_per_put)?;
    let digest = digest_parameter(request, reference)?;
    let (body, memory) = read(app, request, body, permits.manifest(), limit).await.map_err(&fail)?;
    let push = ManifestPush {
        reference: reference.clone(),
        digest,
        tags,
        content_type: request.header(&CONTENT_TYPE).map(str::to_owned),
        precondition: precondition(&request.headers),
        fixed: app.access.not_to_move(&request.caller.identity, repository),
        body,
        memory,
    };
    let pushed = app.registry.put_manifest(&request.caller, repository, push).await.map_err(&fail)?;
    let mut response = super::empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(&format!("/v2/{repository}/manifests/{}", pushed.digest)));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_value(&pushed.digest));
    if let Some(subject) = &pushed.subject {
        headers.insert(OCI_SUBJECT, digest_value(subject));
    }
    if let Some(text) = &pushed.warning {
        headers.insert(WARNING, warning(text));
    }
    for tag in &pushed.tags {
        headers.append(OCI_TAG, value(tag.as_str()));
    }
    Ok(response)
}

/// Reads the whole body. One that gets large without a permit, since its length was not stated, takes one then. Fails
/// as soon as the body exceeds the limit, or comes too slowly for a permit that others wait for.
async fn read(
    app: &App,
    request: &Request,
    body: &mut RequestBody,
    mut permit: Option<MemoryPermit>,
    limit: u64,
) -> Result<(Bytes, Option<MemoryPermit>), Error> {
    let mut whole = Vec::new();
    let mut body = chunks(body);
    while let Some(data) = next(&mut body, permit.as_ref(), whole.len()).await? {
        let length = (whole.len() + data.len()) as u64;
        if length > limit {
            return Err(Error::ManifestTooLarge { limit });
        }
        if length > SMALL_MANIFEST && permit.is_none() {
            let memory = app.registry.manifest_memory(&request.caller, limit).await;
            // A client that has begun to send is not told to slow down.
            permit = Some(memory.map_err(|_| UsedUp::Pool(Resource::LargeManifests.name()))?);
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.into(), permit))
}

/// The next bytes of the body; `None` at its end.
async fn next(
    body: &mut impl ByteChunks,
    permit: Option<&MemoryPermit>,
    received: usize,
) -> Result<Option<Bytes>, Error> {
    let Some(permit) = permit else { return body.next().await.transpose() };
    tokio::select! {
        biased;
        data = body.next() => data.transpose(),
        () = permit.is_wanted(received) => Err(Error::BodySlow),
    }
}

/// The `?tag=` parameters, each tag once, in order. They count only on a push by digest.
fn tags(request: &Request, reference: &Reference, limit: usize) -> Result<Vec<Tag>, HttpError> {
    let mut tags: Vec<Tag> = Vec::new();
    if matches!(reference, Reference::Tag(_)) {
        return Ok(tags);
    }
    for text in request.query.all("tag") {
        let tag: Tag = text.parse().map_err(|error: InvalidTag| {
            HttpError::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", error.to_string())
        })?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        if tags.len() > limit {
            return Err(HttpError::from_service(Error::TooManyTags { limit }, None));
        }
    }
    Ok(tags)
}

/// The digest of `PUT manifests/<tag>?digest=`: regclient tags a sha512 manifest this way if `?tag=` is unsupported.
fn digest_parameter(request: &Request, reference: &Reference) -> Result<Option<Digest>, HttpError> {
    match (reference, request.query.get("digest")) {
        (Reference::Tag(_), Some(text)) => {
            let digest =
                text.parse().map_err(|error: crate::oci::DigestError| HttpError::digest_invalid(error.to_string()))?;
            Ok(Some(digest))
        }
        _ => Ok(None),
    }
}
