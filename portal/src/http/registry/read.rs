//! Reading: the current entry, and its number of copies.

use http::StatusCode;
use serde_json::json;
use skynet_formats::entry::{EntryAnswer, EntryId, SignedEntry};

use super::parse;
use crate::Portal;
use crate::http::error::HttpError;
use crate::http::json::json_answer;
use crate::http::request::{Answer, Request};
use crate::http::timeout::timeout;
use crate::registry::read_entry;

const MAX_TIMEOUT_SECONDS: u64 = 300;

/// `GET /skynet/registry`.
pub(crate) async fn get(portal: &Portal, request: &Request) -> Answer {
    match look_up(portal, request, parse::wanted(&request.query)?).await? {
        Some(entry) => Ok(json_answer(&EntryAnswer::from(&entry))),
        None => Err(HttpError::not_found("unable to read from the registry: registry entry not found")),
    }
}

/// `GET /skynet/health/entry`: zeros if there is no such entry. This portal counts as the only host.
pub(crate) async fn health(portal: &Portal, request: &Request) -> Answer {
    let entry = look_up(portal, request, parse::wanted_of_health(&request.query)?).await?;
    let copies = u64::from(entry.is_some());
    Ok(json_answer(&json!({
        "numbestentries": copies,
        "numbestentriesbeforecutoff": copies,
        "numbestprimaryentries": 0,
        "numentries": copies,
        "revisionnumber": entry.map_or(0, |entry| entry.entry().revision()),
    })))
}

async fn look_up(portal: &Portal, request: &Request, id: EntryId) -> Result<Option<SignedEntry>, HttpError> {
    let timeout = timeout(&request.query, MAX_TIMEOUT_SECONDS)?;
    let Ok(found) =
        tokio::time::timeout(timeout, read_entry(portal, id, Some(request.address()), request.is_from_peer())).await
    else {
        let message = "unable to read from the registry: registry entry not found within given time";
        return Err(HttpError::new(StatusCode::NOT_FOUND, message));
    };
    found.map_err(|error| HttpError::from_entry_store("unable to read from the registry", error))
}
