//! `Content-Type`: the uploader's, else by the name, else by the first bytes.

use futures_util::StreamExt;
use http::HeaderValue;

use super::content::Content;
use crate::http::error::HttpError;
use crate::media_type::{SNIFFED, of_bytes, of_name};
use crate::served::Selection;
use crate::skyfile::OpenError;

/// The media type of content, which may have to be read for it.
pub(super) async fn media_type(selection: &Selection<'_>, content: &Content) -> Result<HeaderValue, HttpError> {
    // An invalid header value counts as absent.
    if let Some(declared) = selection.declared_type().and_then(|declared| HeaderValue::from_str(declared).ok()) {
        return Ok(declared);
    }
    if let Some(known) = of_name(&selection.name) {
        return Ok(HeaderValue::from_static(known));
    }
    let mut start = Vec::new();
    let mut stream = content.stream(0, content.size().min(SNIFFED as u64));
    while let Some(bytes) = stream.next().await {
        start.extend_from_slice(&bytes.map_err(OpenError::from)?);
    }
    Ok(HeaderValue::from_static(of_bytes(&start)))
}
