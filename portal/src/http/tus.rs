//! `/skynet/tus`: resumable uploads (TUS 1.0, <https://tus.io/protocols/resumable-upload>).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use content_store::UploadId;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serving::{BodyError, RequestBody};
use skynet_formats::skylink::Skylink;

use super::error::HttpError;
use super::request::{Answer, Request, SKYNET_SKYLINK, value};
use super::skyfile::uploaded;
use crate::Portal;
use crate::tus::{Concatenation, Record, Status, TusError, UploadMetadata};

const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue =
    HeaderValue::from_static("creation,creation-with-upload,termination,concatenation,expiration");
const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// `Retry-After` of busy uploads.
const RETRY_AFTER: Duration = Duration::from_secs(4);

/// Adds the answer to OPTIONS besides the methods.
pub(super) fn advertise(portal: &Portal, headers: &mut HeaderMap) {
    headers.insert(TUS_VERSION, VERSION);
    headers.insert(TUS_EXTENSION, EXTENSIONS);
    if let Ok(stores) = portal.stores() {
        headers.insert(TUS_MAX_SIZE, stores.uploads.max_upload().into());
    }
}

/// Adds the headers that every answer has, including errors.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(TUS_RESUMABLE, VERSION);
}

/// POST: a new upload, perhaps with its first bytes, or a final upload made of parts.
pub(super) async fn create(portal: &Arc<Portal>, request: &Request, body: &mut RequestBody) -> Answer {
    if let Some(refusal) = refuse_version(request) {
        return Ok(refusal);
    }
    // Some HTTP clients send another type than that of TUS with any POST. Their body is ignored then.
    let with_bytes = request.header(&CONTENT_TYPE) == Some(OFFSET_OCTET_STREAM);
    let status = match new_upload(request)? {
        NewUpload::Final(..) if with_bytes => return Err(TusError::ModifyFinal.into()),
        NewUpload::Final(parts, metadata) => {
            portal.stores()?.uploads.concatenate(request.holder, parts, metadata).await?
        }
        NewUpload::Bytes { partial, length, metadata } => {
            let made = portal.stores()?.uploads.create(request.holder, partial, length, metadata).await?;
            match with_bytes {
                true => append(portal, request, body, &made.id, 0).await?,
                false => made,
            }
        }
    };
    let mut response = answer(StatusCode::CREATED, &status);
    response.headers_mut().insert(LOCATION, value(&location(portal, request, &status.id)));
    Ok(response)
}

/// HEAD, PATCH and DELETE of an upload; also a POST that names one of these methods.
pub(super) async fn upload(
    portal: &Arc<Portal>,
    request: &Request,
    body: &mut RequestBody,
    id: Option<&UploadId>,
) -> Answer {
    if let Some(refusal) = refuse_version(request) {
        return Ok(refusal);
    }
    let id = id.ok_or(TusError::Unknown)?;
    let method = match request.method {
        Method::POST => request.header(&METHOD_OVERRIDE).unwrap_or_default(),
        ref method => method.as_str(),
    };
    match method {
        "HEAD" => {
            let (status, record) = portal.stores()?.uploads.status(id).await?;
            Ok(described(portal, request, &status, &record))
        }
        "PATCH" => patch(portal, request, body, id).await,
        "DELETE" => {
            portal.stores()?.uploads.terminate(id).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")),
    }
}

async fn patch(portal: &Arc<Portal>, request: &Request, body: &mut RequestBody, id: &UploadId) -> Answer {
    if request.header(&CONTENT_TYPE) != Some(OFFSET_OCTET_STREAM) {
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "missing or invalid Content-Type header"));
    }
    let offset = number(request, &UPLOAD_OFFSET)?;
    let status = append(portal, request, body, id, offset).await?;
    Ok(answer(StatusCode::NO_CONTENT, &status))
}

async fn append(
    portal: &Arc<Portal>,
    request: &Request,
    body: &mut RequestBody,
    id: &UploadId,
    offset: u64,
) -> Result<Status, HttpError> {
    let uploads = &portal.stores()?.uploads;
    body.hold_to_rate(uploads.bodies());
    Ok(uploads.append(request.holder, id, offset, content_length(request), body).await?)
}

/// GET `/skynet/upload/tus/:id`: the skylink of an upload, in skyd's form.
pub(super) async fn skylink(portal: &Arc<Portal>, id: Option<&UploadId>) -> Answer {
    let found = match id {
        Some(id) => match portal.stores()?.uploads.skylink(id).await {
            Err(TusError::Unknown) => None,
            found => found?,
        },
        None => None,
    };
    found.map(uploaded).ok_or_else(|| HttpError::not_found("failed to fetch skylink for upload"))
}

enum NewUpload {
    Bytes { partial: bool, length: u64, metadata: UploadMetadata },
    Final(Vec<UploadId>, UploadMetadata),
}

/// `SkynetMaxUploadSize` is ignored. It comes from the front of a portal, and here any client could send it.
fn new_upload(request: &Request) -> Result<NewUpload, HttpError> {
    let concatenation = Concatenation::parse(text(request, &UPLOAD_CONCAT)?)
        .map_err(|error| HttpError::bad_request(error.to_string()))?;
    let metadata = UploadMetadata::parse(text(request, &UPLOAD_METADATA)?.unwrap_or_default())
        .map_err(|error| HttpError::bad_request(error.to_string()))?;
    let partial = match concatenation {
        Concatenation::Final(parts) => return Ok(NewUpload::Final(parts, metadata)),
        Concatenation::Partial => true,
        Concatenation::None => false,
    };
    if request.headers.contains_key(UPLOAD_DEFER_LENGTH) {
        return Err(HttpError::bad_request("uploads with deferred size are not supported"));
    }
    Ok(NewUpload::Bytes { partial, length: number(request, &UPLOAD_LENGTH)?, metadata })
}

/// A header that may occur at most once, and must be text.
fn text<'a>(request: &'a Request, name: &HeaderName) -> Result<Option<&'a str>, HttpError> {
    let mut values = request.headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(HttpError::bad_request(format!("invalid {name} header"))),
    }
}

fn number(request: &Request, name: &HeaderName) -> Result<u64, HttpError> {
    let digits = text(request, name)?.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| HttpError::bad_request(format!("missing or invalid {name} header")))
}

fn content_length(request: &Request) -> Option<u64> {
    request.header(&CONTENT_LENGTH)?.parse().ok()
}

/// HEAD may come without a version, because people use it to look at uploads.
fn refuse_version(request: &Request) -> Option<Response<Body>> {
    let version = request.headers.get(TUS_RESUMABLE);
    if version == Some(&VERSION) || (version.is_none() && request.method == Method::HEAD) {
        return None;
    }
    let message = "missing, invalid or unsupported Tus-Resumable header";
    let mut response = HttpError::new(StatusCode::PRECONDITION_FAILED, message).into_response("");
    response.headers_mut().insert(TUS_VERSION, VERSION);
    Some(response)
}

fn location(portal: &Portal, request: &Request, id: &UploadId) -> String {
    format!("{}/skynet/tus/{id}", request.portal_url(&portal.options))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn answer(code: StatusCode, status: &Status) -> Response<Body> {
    let mut response = empty(code);
    let headers = response.headers_mut();
    headers.insert(UPLOAD_OFFSET, status.offset.into());
    if let Some(expires) = status.expires {
        headers.insert(UPLOAD_EXPIRES, value(&httpdate::fmt_http_date(expires)));
    }
    if let Some(skylink) = &status.skylink {
        headers.insert(SKYNET_SKYLINK, skylink_value(skylink));
    }
    response
}

/// The answer to HEAD: bare skyd has the skylink in the metadata, portals copied it to a header of its own.
fn described(portal: &Portal, request: &Request, status: &Status, record: &Record) -> Response<Body> {
    let mut response = answer(StatusCode::OK, status);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(UPLOAD_LENGTH, record.length.into());
    let concatenation = match &record.concatenation {
        Concatenation::None => None,
        Concatenation::Partial => Some("partial".to_owned()),
        Concatenation::Final(parts) => {
            let urls: Vec<String> = parts.iter().map(|id| location(portal, request, id)).collect();
            Some(format!("final;{}", urls.join(" ")))
        }
    };
    if let Some(concatenation) = concatenation {
        headers.insert(UPLOAD_CONCAT, value(&concatenation));
    }
    let metadata = match &status.skylink {
        Some(skylink) => record.metadata.clone().with("Skylink", &skylink.to_string()),
        None => record.metadata.clone(),
    };
    let metadata = metadata.to_header();
    if !metadata.is_empty() {
        headers.insert(UPLOAD_METADATA, value(&metadata));
    }
    response
}

fn skylink_value(skylink: &Skylink) -> HeaderValue {
    value(&skylink.to_string())
}

/// tus-js-client gives up on any 4xx but 409 and 423. Every error that a retry may fix is therefore one of these or a
/// 5xx.
impl From<TusError> for HttpError {
    fn from(error: TusError) -> Self {
        let message = error.to_string();
        let status = match error {
            TusError::Store(error) => return error.into(),
            TusError::Unknown => StatusCode::NOT_FOUND,
            TusError::Busy | TusError::Finishing => StatusCode::LOCKED,
            TusError::WrongOffset(_) => StatusCode::CONFLICT,
            TusError::TooLarge { .. } | TusError::BeyondLength(_) => StatusCode::PAYLOAD_TOO_LARGE,
            TusError::ModifyFinal => StatusCode::FORBIDDEN,
            TusError::NotPartial
            | TusError::PartIncomplete
            | TusError::PartUsed
            | TusError::UploadMetadata(_)
            | TusError::NotUtf8(_)
            | TusError::Metadata(_)
            | TusError::MetadataLength { .. }
            | TusError::MetadataTooLong { .. }
            | TusError::Body(BodyError::Broken) => StatusCode::BAD_REQUEST,
            // A used-up share, too: SDKs would give up after 429.
            TusError::Body(BodyError::Idle | BodyError::Slow) | TusError::UsedUp(_) => StatusCode::SERVICE_UNAVAILABLE,
            TusError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            TusError::Damaged(_) | TusError::Staging(_) | TusError::Io { .. } | TusError::Panicked(_) => {
                return HttpError::internal("the upload failed", error);
            }
        };
        let answer = HttpError::new(status, message);
        let passes = matches!(status, StatusCode::LOCKED | StatusCode::SERVICE_UNAVAILABLE);
        if passes { answer.retry_after(RETRY_AFTER) } else { answer.retry_if_full() }
    }
}

#[cfg(test)]
mod tests;
