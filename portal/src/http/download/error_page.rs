//! `errorpages`: a directory's own error pages.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::content::Content;
use super::media_type::media_type;
use crate::http::error::HttpError;
use crate::served::Selection;
use crate::skyfile::Skyfile;

/// The page of this status and its type, if the skyfile has one.
pub(super) async fn error_page(
    skyfile: &Skyfile,
    status: StatusCode,
) -> Result<Option<(Response<Body>, HeaderValue)>, HttpError> {
    let Some(path) = skyfile.metadata().error_pages.get(&status.as_u16()) else { return Ok(None) };
    let Ok(selection) = Selection::new(skyfile.metadata(), skyfile.size(), path) else { return Ok(None) };
    let content = Content::selected(skyfile, &selection);
    let media_type = media_type(&selection, &content).await?;
    let mut response = Response::new(Body::from_stream(content.stream(0, content.size())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(content.size()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(Some((response, media_type)))
}
