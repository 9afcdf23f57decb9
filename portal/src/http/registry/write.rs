//! Writing: signed entries, one or several.

use std::time::Instant;

use axum::body::Body;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use serving::RequestBody;
use skynet_formats::entry::SignedEntry;

use super::parse;
use crate::Portal;
use crate::entries::EntryStoreError;
use crate::http::access;
use crate::http::body::read_whole;
use crate::http::error::HttpError;
use crate::http::request::{Answer, Request};
use crate::registry::{PutEntryError, put_entries};

/// Most bytes of a body. The longest form of an entry, with every byte a number and spaces between them, has 2 KiB.
const BODY_LIMIT: usize = 16 * 1024;
/// Most bytes of a body with several entries: the limit of nginx on Skynet's portals.
const MULTI_BODY_LIMIT: usize = 128 * 1024;

const NOT_TAKEN: &str = "Unable to update the registry";

/// `POST /skynet/registry`. The body is parsed as JSON for any `Content-Type`, because skynet-js sends it as a form.
pub(crate) async fn post(portal: &Portal, request: &Request, body: &mut RequestBody) -> Answer {
    // Before the body is parsed: verifying signatures would be the main cost of a flood.
    pace(portal, request, 1)?;
    let entry = parse::entry(&read_whole(body, BODY_LIMIT).await?)?;
    put(portal, request, vec![entry]).await
}

/// `POST /skynet/registrymulti`: an entry for each of several hosts. This portal is the only host, and accepts all of
/// them. As in skyd, a refusal does not undo the entries stored before it.
pub(crate) async fn post_multi(portal: &Portal, request: &Request, body: &mut RequestBody) -> Answer {
    pace(portal, request, 1)?;
    let body = read_whole(body, MULTI_BODY_LIMIT).await?;
    let parsing = tokio::task::spawn_blocking(move || parse::entries(&body));
    let aborted = |error| HttpError::from_entry_store(NOT_TAKEN, EntryStoreError::from(error));
    let entries = parsing.await.map_err(aborted)??;
    pace(portal, request, entries.len() - 1)?;
    put(portal, request, entries).await
}

/// Counts the writes against the client's rate.
fn pace(portal: &Portal, request: &Request, writes: usize) -> Result<(), HttpError> {
    portal.stores()?.registry_writes.take(request.address(), writes, Instant::now()).map_err(|wait| {
        let message = "too many registry updates from this address, try again later";
        HttpError::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(wait)
    })
}

async fn put(portal: &Portal, request: &Request, entries: Vec<SignedEntry>) -> Answer {
    put_entries(portal, entries, Some(access::client(portal, request)), request.is_from_peer()).await.map_err(
        |error| match error {
            PutEntryError::ReadOnly(error) => error.into(),
            PutEntryError::Refused(refusal) => HttpError::bad_request(format!("{NOT_TAKEN}: {refusal}")),
            PutEntryError::Store(error) => HttpError::from_entry_store(NOT_TAKEN, error),
        },
    )?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
