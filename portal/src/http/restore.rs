//! `POST /skynet/restore`: a skyfile with a base sector made by the client.
//!
//! The base sector is not trusted: root, skylink and fanout are computed here and compared.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::json;
use serving::RequestBody;
use skynet_formats::skylink::Skylink;

use super::error::HttpError;
use super::json::json_answer;
use super::request::{Answer, SKYNET_SKYLINK, value};
use crate::Portal;
use crate::skyfile::{Admission, GivenBase, RESTORE_HEADER_SIZE, RestoreError, Skyfiles, WriteError};

/// Reads header, base sector, and the content if it has a fanout.
pub(super) async fn restore(portal: &Portal, body: &mut RequestBody, admission: Admission) -> Answer {
    let (profile, max_metadata) = (portal.options.profile, portal.options.max_metadata);
    let skyfiles = &portal.stores()?.skyfiles;
    let mut rest = BytesMut::new();
    let header = take(body, &mut rest, RESTORE_HEADER_SIZE).await?;
    let header = header.as_ref().try_into().map_err(|_| refused(RestoreError::Body("it ends within the header")))?;
    let bytes = take(body, &mut rest, profile.sector_size().bytes()).await?;
    // Computing the root takes a few milliseconds, also if the client leaves, so the permit goes along.
    let checking = tokio::task::spawn_blocking(move || {
        (GivenBase::check(&header, bytes.to_vec(), profile, max_metadata), admission)
    });
    let (base, admission) = checking.await.map_err(|error| HttpError::internal("unable to restore skyfile", error))?;
    let base = base.map_err(refused)?;
    let skylink = receive_content(skyfiles, body, admission, rest.freeze(), base).await?;
    let mut response = json_answer(&json!({ "skylink": skylink.to_string() }));
    response.headers_mut().insert(SKYNET_SKYLINK, value(&skylink.to_string()));
    Ok(response)
}

async fn receive_content(
    skyfiles: &Skyfiles,
    body: &mut RequestBody,
    admission: Admission,
    first: Bytes,
    base: GivenBase,
) -> Result<Skylink, HttpError> {
    let mut writer = skyfiles.restorer(admission, &base)?;
    writer.write(first).await?;
    while writer.length() <= base.content_length() {
        let Some(bytes) = body.next().await else { break };
        writer.write(bytes?).await?;
    }
    Ok(writer.restore(base).await?)
}

/// The next bytes of the body; fewer if it ends.
async fn take(body: &mut RequestBody, rest: &mut BytesMut, length: usize) -> Result<Bytes, HttpError> {
    while rest.len() < length {
        let Some(bytes) = body.next().await else { break };
        rest.extend_from_slice(&bytes?);
    }
    Ok(rest.split_to(length.min(rest.len())).freeze())
}

fn refused(error: RestoreError) -> HttpError {
    WriteError::from(error).into()
}

#[cfg(test)]
mod tests;
