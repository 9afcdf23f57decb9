//! `GET` and `HEAD` of a skylink: a file, a path in a directory, an archive of it.

mod address;
mod archive;
mod content;
mod disposition;
mod error_page;
mod etag;
mod format;
mod isolation;
mod media_type;
mod parameters;
mod raw_metadata;
mod resolve;

use std::sync::Arc;

use axum::body::Body;
use data_encoding::HEXLOWER;
use futures_util::StreamExt;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use skynet_formats::metadata::Metadata;

pub(crate) use address::{Address, below};
#[cfg(any(test, fuzzing))]
pub(super) use isolation::is_active;
pub(super) use isolation::restrict;
pub(super) use raw_metadata::handle as metadata;

use self::archive::Entry;
use self::content::{Content, Description};
use self::disposition::{Disposition, content_disposition};
use self::format::Format;
use self::parameters::Parameters;
use self::resolve::Opened;
use super::error::HttpError;
use super::request::{Answer, Request, value};
use crate::Portal;
use crate::served::{Selection, serve_path};

const LAYOUT: HeaderName = HeaderName::from_static("skynet-file-layout");

/// Answers with the content at an address.
pub(super) async fn handle(portal: &Portal, request: &Request, address: &Address) -> Answer {
    let mut parameters = Parameters::parse(&request.query, &request.headers)?;
    // Content pushed to a registry by any client must not be opened in a browser.
    parameters.attachment |= portal.is_gateway();
    let opened = resolve::open(portal, request, address, parameters.timeout).await?;
    let download = Download { portal, request, address, parameters, opened };
    let mut response = download.answer().await?;
    download.opened.describe(&mut response);
    Ok(response)
}

/// A download with its open skyfile.
struct Download<'a> {
    portal: &'a Portal,
    request: &'a Request,
    address: &'a Address,
    parameters: Parameters,
    opened: Opened,
}

impl Download<'_> {
    async fn answer(&self) -> Answer {
        let metadata = self.opened.skyfile.metadata();
        let mut path = asked_path(self.address, metadata)?;
        // With a format, paths are literal, so that uploads with useless default paths can also be downloaded.
        if self.parameters.format == Format::Unspecified {
            let served = serve_path(metadata, &path);
            if path == "/" && served != path && self.wants_slash(metadata) {
                return Ok(self.redirect_to_slash());
            }
            path = served;
        }
        match Selection::new(metadata, self.opened.skyfile.size(), &path) {
            Ok(selection) => self.selected(&path, selection).await,
            Err(_) => self.missing(&path).await,
        }
    }

    /// An app without the slash would look for its files beside the skylink. A single file has none to look for.
    fn wants_slash(&self, metadata: &Metadata) -> bool {
        let is_app = metadata.subfiles.len() > 1 && self.address.lacks_slash();
        is_app && !self.parameters.attachment && self.request.method == Method::GET
    }

    fn redirect_to_slash(&self) -> Response<Body> {
        let query = self.request.raw_query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let location = format!("{}{query}", self.address.with_slash());
        redirect(StatusCode::PERMANENT_REDIRECT, HeaderValue::from_str(&location).ok())
    }

    async fn selected(&self, path: &str, selection: Selection<'_>) -> Answer {
        let format = match self.parameters.format {
            Format::Unspecified if selection.is_directory() => Format::Zip,
            format => format,
        };
        let etag = value(&etag::etag(self.opened.skyfile.skylink(), path, format));
        let mut response = match archive::media_type(format) {
            Some(media_type) => self.archived(&selection, format, media_type, etag).await?,
            None => self.shown(&selection, etag).await?,
        };
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            self.describe(format, &selection.name, response.headers_mut());
        }
        Ok(response)
    }

    /// Answers with the bytes themselves.
    async fn shown(&self, selection: &Selection<'_>, etag: HeaderValue) -> Answer {
        let content = Content::selected(&self.opened.skyfile, selection);
        let media_type = match self.portal.is_gateway() {
            true => HeaderValue::from_static("application/octet-stream"),
            false => media_type::media_type(selection, &content).await?,
        };
        Ok(self.isolated(&media_type.clone(), || {
            let description = Description { media_type, etag: Some(etag) };
            content::respond(&content, description, self.parameters.range.as_deref(), &self.request.headers)
        }))
    }

    async fn archived(
        &self,
        selection: &Selection<'_>,
        format: Format,
        media_type: HeaderValue,
        etag: HeaderValue,
    ) -> Answer {
        if let Some(status) = serving::precondition(&self.request.headers, Some(&etag)) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response.headers_mut().insert(ETAG, etag);
            return Ok(response);
        }
        let files = selection.archived(self.opened.skyfile.size());
        let files =
            files.map_err(|error| HttpError::not_found(format!("failed to serve skyfile as archive: {error}")))?;
        let archives = &self.portal.archives;
        let permit = archives.take(self.request.holder).await;
        let permit = permit.map_err(|used_up| HttpError::used_up("failed to serve skyfile as archive", used_up))?;
        let entries = files.into_iter().map(|(file, pieces)| Entry::new(&file, pieces)).collect();
        let skyfile = self.opened.skyfile.content().clone();
        let open = move |piece: crate::served::Piece| skyfile.stream(piece.first, piece.length);
        let body = archive::archive(format, entries, open);
        // The permit is free again when the last byte is sent, or the client leaves.
        let body = body.inspect(move |_| _ = &permit);
        let mut response = Response::new(Body::from_stream(body));
        // The connection ends if it reads too slowly while others want the permit.
        response.extensions_mut().insert(Arc::clone(archives));
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response.headers_mut().insert(ETAG, etag);
        Ok(response)
    }

    /// Answers that the path does not exist; the skyfile may have an error page.
    async fn missing(&self, path: &str) -> Answer {
        match error_page::error_page(&self.opened.skyfile, StatusCode::NOT_FOUND).await? {
            Some((page, media_type)) => Ok(self.isolated(&media_type, || page)),
            None => Err(HttpError::not_found(format!("failed to download contents for path: {path}"))),
        }
    }

    /// Sends a browser that navigates to active content to the skylink's own host (see [`isolation`]).
    fn isolated(&self, media_type: &HeaderValue, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
        let active = media_type.to_str().map_or(true, isolation::is_active);
        if self.address.is_own_origin() || !active {
            return answer();
        }
        let Download { portal, request, address, opened, .. } = self;
        let leaves = isolation::is_navigation(&request.headers) && !self.parameters.attachment;
        let own = leaves.then(|| isolation::own_url(request, &portal.options, opened.asked, address.rest()));
        let mut response = match own.flatten() {
            Some(url) => {
                let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, Some(url));
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            None => answer(),
        };
        isolation::vary(response.headers_mut());
        response
    }

    fn describe(&self, format: Format, name: &str, headers: &mut http::HeaderMap) {
        let is_archive = archive::media_type(format).is_some();
        let disposition =
            if is_archive || self.parameters.attachment { Disposition::Attachment } else { Disposition::Inline };
        headers.insert(CONTENT_DISPOSITION, content_disposition(disposition, name, format.extension()));
        if self.portal.is_gateway() {
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        if self.parameters.include_layout {
            headers.insert(LAYOUT, value(&HEXLOWER.encode(&self.opened.skyfile.layout().encode())));
        }
    }
}

/// skyd decodes `+` as a space. If only the literal name exists, the literal name is used.
fn asked_path(address: &Address, metadata: &Metadata) -> Result<String, HttpError> {
    let invalid = || HttpError::bad_request("error parsing skylink: invalid URL escape in the path");
    let (path, literal) = (address.path().ok_or_else(invalid)?, address.literal_path().ok_or_else(invalid)?);
    let has = |path: &str| metadata.subfiles.contains_key(path.trim_start_matches('/'));
    Ok(if !has(&path) && has(&literal) { literal } else { path })
}

fn redirect(status: StatusCode, location: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
