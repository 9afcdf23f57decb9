//! `POST /skynet/skyfile`: uploads in one request.

mod disposition;
mod multipart;
mod params;

#[cfg(test)]
mod tests;

use futures_util::StreamExt;
use serde_json::json;
use serving::RequestBody;
use skynet_formats::skylink::{Skylink, Target};

use super::error::HttpError;
use super::json::json_answer;
use super::request::{Answer, Request, SKYNET_SKYLINK, value};
use crate::Portal;
use crate::skyfile::Admission;
use params::UploadParams;

/// Accepts a raw body as one file, or a form as one file or a directory.
pub(super) async fn upload(portal: &Portal, request: &Request, body: &mut RequestBody, admission: Admission) -> Answer {
    let skyfiles = &portal.stores()?.skyfiles;
    let UploadParams { mut metadata, dry_run, boundary } = UploadParams::parse(request)?;
    let mut writer = skyfiles.upload(admission, dry_run)?;
    if let Some(boundary) = boundary {
        let max_metadata = portal.options.max_metadata;
        multipart::receive(body, boundary, max_metadata, &mut metadata, &mut writer).await?;
    } else {
        while let Some(bytes) = body.next().await {
            writer.write(bytes?).await?;
        }
        metadata.length = writer.length();
    }
    metadata.validate().map_err(|error| HttpError::bad_request(format!("failed to upload file to skynet: {error}")))?;
    let skylink = writer.finish(metadata.to_bytes()).await?;
    Ok(uploaded(skylink))
}

/// The answer to an upload, as SDKs read it.
pub(crate) fn uploaded(skylink: Skylink) -> http::Response<axum::body::Body> {
    let root = match skylink.target() {
        Target::Sector { root, .. } => root.to_string(),
        Target::Entry(id) => data_encoding::HEXLOWER.encode(&id),
    };
    let body = json!({ "skylink": skylink.to_string(), "merkleroot": root, "bitfield": skylink.bitfield() });
    let mut response = json_answer(&body);
    response.headers_mut().insert(SKYNET_SKYLINK, value(&skylink.to_string()));
    response
}
