//! `GET /skynet/metadata/<skylink>`: the metadata, byte for byte as the skylink commits to it.

use http::HeaderValue;

use super::content::{self, Content, Description};
use super::resolve::open;
use super::{Address, parameters};
use crate::Portal;
use crate::http::request::{Answer, Request};

/// Answers with the JSON as the uploader's portal wrote it.
pub(in crate::http) async fn handle(portal: &Portal, request: &Request, address: &Address) -> Answer {
    let timeout = parameters::timeout(&request.query)?;
    let opened = open(portal, request, address, timeout).await?;
    let description = Description { media_type: HeaderValue::from_static("application/json"), etag: None };
    let content = Content::Held(opened.skyfile.raw_metadata().clone());
    let range = request.header(&http::header::RANGE);
    let mut response = content::respond(&content, description, range, &request.headers);
    opened.describe(&mut response);
    Ok(response)
}
