//! Resumable uploads at a portal (TUS 1.0.0, as skyd speaks it).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::stream::Stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use skynet_formats::go_encoding::base64;
use skynet_formats::skylink::Skylink;

use super::client::{Client, Progress};
use super::problem::Problem;
use crate::BackendError;

/// Retries of an upload locked by another request, because an interrupted request keeps the lock for a moment.
const LOCKED_TRIES: u32 = 20;

/// Pause between those retries.
const LOCKED_PAUSE: Duration = Duration::from_millis(250);

/// The longest answer of the calls here, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// The name of an upload at a portal. The portal chose it, and it is only checked to be safe in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TusId(Box<str>);

impl FromStr for TusId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
        let valid = (1..=200).contains(&text.len()) && text.bytes().all(safe);
        if valid { Ok(TusId(text.into())) } else { Err(()) }
    }
}

impl fmt::Display for TusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of an upload in the answer to `HEAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TusState {
    /// Bytes that the portal has acknowledged.
    pub(super) offset: u64,
    /// Bytes that it expects in all, where it says so.
    pub(super) length: Option<u64>,
    /// The skylink of an upload that is complete.
    pub(super) skylink: Option<Skylink>,
}

fn request(client: &Client, method: Method, id: &TusId) -> RequestBuilder {
    client.request(method, &format!("/skynet/tus/{id}")).header("Tus-Resumable", "1.0.0")
}

/// Begins an upload of this many bytes.
pub(super) async fn create(
    client: &Client,
    length: u64,
    file_name: &str,
    metadata: &[u8],
) -> Result<TusId, BackendError> {
    const ACTION: &str = "begin an upload";
    let encoded = |value: &[u8]| BASE64.encode(value);
    let fields = [("filename", file_name.as_bytes()), ("skyfilemetadata", metadata)];
    let fields = fields.map(|(name, value)| format!("{name} {}", encoded(value))).join(",");
    let mut request = client
        .request(Method::POST, "/skynet/tus")
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", length)
        .header("Upload-Metadata", fields)
        .header(CONTENT_LENGTH, 0);
    if client.is_bare() {
        // The portal would say how much this account may upload.
        request = request.header("SkynetMaxUploadSize", length);
    }
    let response = client.send(ACTION, request, 0, StatusCode::CREATED).await?;
    // Only its name is used: the portal's address is the configured one, even if its answer names another.
    let id = text(response.headers(), LOCATION.as_str()).and_then(id_in);
    id.ok_or_else(|| client.error(ACTION, Problem::Malformed("name of the upload")).misbehaves())
}

/// The name in the URL of an upload.
pub(super) fn id_in(location: &str) -> Option<TusId> {
    location.split(['?', '#']).next()?.rsplit('/').next()?.parse().ok()
}

/// The progress of an upload; [`BackendError::NotFound`] if the portal has none of that name.
pub(super) async fn state(client: &Client, id: &TusId) -> Result<TusState, BackendError> {
    const ACTION: &str = "ask for an upload";
    let mut tries = 0;
    let response = loop {
        let response = client.send_any(ACTION, request(client, Method::HEAD, id), 0).await?;
        tries += 1;
        if response.status() != StatusCode::LOCKED || tries >= LOCKED_TRIES {
            break response;
        }
        tokio::time::sleep(LOCKED_PAUSE).await;
    };
    if !response.status().is_success() {
        return Err(client.refusal(ACTION, response).await);
    }
    let number = |name| text(response.headers(), name).and_then(|value| value.trim().parse::<u64>().ok());
    let malformed = || client.error(ACTION, Problem::Malformed("offset")).misbehaves();
    let offset = number("upload-offset").ok_or_else(malformed)?;
    Ok(TusState { offset, length: number("upload-length"), skylink: skylink(response.headers()) })
}

/// Sends bytes from an offset on, and returns the new offset.
pub(super) async fn patch(
    client: &Client,
    id: &TusId,
    offset: u64,
    length: u64,
    bytes: impl Stream<Item = Result<Bytes, BackendError>> + Send + 'static,
) -> Result<u64, BackendError> {
    const ACTION: &str = "send a part of an upload";
    let progress = Progress::new();
    let request = request(client, Method::PATCH, id)
        .header("Upload-Offset", offset)
        .header(CONTENT_TYPE, "application/offset+octet-stream")
        .header(CONTENT_LENGTH, length)
        .body(Body::wrap_stream(progress.watch(bytes)));
    let response = client.send_streamed(ACTION, request, &progress, StatusCode::NO_CONTENT).await?;
    let malformed = || client.error(ACTION, Problem::Malformed("offset")).misbehaves();
    let reached = text(response.headers(), "upload-offset").and_then(|value| value.trim().parse::<u64>().ok());
    match reached {
        Some(reached) if reached > offset && reached <= offset + length => Ok(reached),
        Some(reached) if reached == offset => Err(client.error(ACTION, Problem::NoProgress(offset)).unavailable(None)),
        _ => Err(malformed()),
    }
}

/// The skylink of an upload at a bare skyd.
pub(super) async fn skylink_of_bare(client: &Client, id: &TusId) -> Result<Skylink, BackendError> {
    const ACTION: &str = "ask for the skylink of an upload";
    let request = client.request(Method::GET, &format!("/skynet/upload/tus/{id}"));
    let response = client.send(ACTION, request, 0, StatusCode::OK).await?;
    let body = client.short_body(ACTION, response, MAX_ANSWER).await?;
    skylink_in(&body).ok_or_else(|| client.error(ACTION, Problem::Malformed("skylink")).misbehaves())
}

/// The skylink in the JSON that answers an upload.
pub(super) fn skylink_in(body: &[u8]) -> Option<Skylink> {
    #[derive(Deserialize)]
    struct Answer {
        skylink: String,
    }
    Skylink::from_uri(&serde_json::from_slice::<Answer>(body).ok()?.skylink).ok()
}

/// The skylink in `Skynet-Skylink`, to which portals copy it, or in the metadata, where skyd puts it.
pub(super) fn skylink(headers: &HeaderMap) -> Option<Skylink> {
    if let Some(copied) = text(headers, "skynet-skylink") {
        return Skylink::from_uri(copied).ok();
    }
    let fields = text(headers, "upload-metadata")?.split(',');
    let value = fields.filter_map(|field| field.trim().split_once(' ')).find(|(name, _)| *name == "Skylink")?.1;
    let decoded = base64(value.trim().as_bytes())?;
    Skylink::from_uri(std::str::from_utf8(&decoded).ok()?).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINK: &str = "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA";

    #[test]
    fn a_skylink_is_found_where_portals_and_skyd_put_it() {
        let of = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            skylink(&headers).map(|skylink| skylink.to_string())
        };
        assert_eq!(of("skynet-skylink", LINK).as_deref(), Some(LINK));
        let metadata = format!("filename YQ==,Skylink {},SiaPath Yg==", BASE64.encode(LINK.as_bytes()));
        assert_eq!(of("upload-metadata", &metadata).as_deref(), Some(LINK));
        for bad in ["", "Skylink", "Skylink ", "Skylink !", "Skylink YQ==", "skylink YQ=="] {
            assert_eq!(of("upload-metadata", bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_name_cannot_lead_elsewhere(text in "[a-zA-Z0-9+_-]{0,20}|.{0,30}") {
            if let Ok(id) = text.parse::<TusId>() {
                prop_assert_eq!(id.to_string(), text.as_str());
                prop_assert!(!text.is_empty() && !text.contains(['/', '.', '%', '?', '#', '\\', ' ']));
            }
        }
    }
}
