//! Tokens by distribution's specification: GET with Basic authentication, POST with a form (OAuth 2), and the public keys.

use axum::body::Body;
use futures_util::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use serving::{Query, RequestBody};

use super::App;
use super::body::chunks;
use super::challenge::BASIC;
use super::error::HttpError;
use super::health::text;
use super::login::Credential;
use super::request::{Answer, Request, in_no_repository};
use crate::access::{Identity, LoginError, Principal, Scopes};
use crate::units;

/// Most bytes of a form.
const MAX_FORM: usize = 64 * 1024;

/// Handles GET: `service`, `scope`, `offline_token`.
pub(super) async fn get(app: &App, request: &Request) -> Answer {
    let caller = match Credential::of(request) {
        Ok(Some(Credential::Password(name, password))) => log_in(app, request, &name, &password).await?,
        Ok(None | Some(Credential::Nobody)) => Principal::of(Identity::Anonymous),
        // A token can't be changed into another.
        Ok(Some(Credential::Token(_))) | Err(_) => return Err(HttpError::login(LoginError::Refused, BASIC)),
    };
    // A `+` in a query is a space here, as clients encode several scopes.
    let query = Query::parse(request.uri.query());
    answer(app, &caller, &query, query.get("offline_token") == Some("true"))
}

/// Handles POST: `grant_type=password` or `refresh_token`, with `scope` and `access_type`.
pub(super) async fn post(app: &App, request: &Request, body: &mut RequestBody) -> Answer {
    let is_form = request.header(&CONTENT_TYPE).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    });
    if !is_form {
        return Err(refused("unsupported_grant_type", "the body must be a form"));
    }
    let form = Query::parse(Some(&read(body).await?));
    let caller = match form.get("grant_type") {
        Some("password") => {
            match (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default()) {
                ("", "") => Principal::of(Identity::Anonymous),
                (name, password) => log_in(app, request, name, password).await?,
            }
        }
        Some("refresh_token") => {
            let token = form.get("refresh_token").unwrap_or_default();
            let identity = app.access.verify_refresh_token(token);
            Principal::of(identity.map_err(|_| HttpError::login(LoginError::Refused, BASIC))?)
        }
        _ => return Err(refused("unsupported_grant_type", "grant_type must be password or refresh_token")),
    };
    answer(app, &caller, &form, form.get("access_type") == Some("offline"))
}

/// Handles GET of the public keys.
pub(super) fn keys(app: &App) -> Answer {
    let keys = app.access.token_keys().ok_or_else(none_here)?;
    Ok(text(StatusCode::OK, "application/json", format!("{keys}\n")))
}

async fn log_in(app: &App, request: &Request, name: &str, password: &str) -> Result<Principal, HttpError> {
    let login = app.access.log_in(name, password, request.caller.holder).await;
    login.map_err(|error| HttpError::login(error, BASIC))
}

fn answer(app: &App, caller: &Principal, asked: &Query, with_refresh: bool) -> Answer {
    let scopes = Scopes::parse(asked.all("scope"));
    let issued = app.access.issue_token(caller, &scopes, with_refresh).ok_or_else(none_here)?;
    // Clients of either specification read their own name for it.
    let mut body = json!({
        "token": issued.token, "access_token": issued.token, "token_type": "Bearer", "expires_in": issued.expires_in,
        "issued_at": units::time(issued.issued_at), "scope": issued.scopes,
    });
    if let Some(refresh) = issued.refresh {
        body["refresh_token"] = refresh.into();
    }
    let mut response = no_store(text(StatusCode::OK, "application/json", format!("{body}\n")));
    // For the audit journal.
    response.extensions_mut().insert(caller.clone());
    Ok(response)
}

/// Tokens are kept in no cache.
fn no_store(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn read(body: &mut RequestBody) -> Result<String, HttpError> {
    let mut whole = Vec::new();
    let mut body = chunks(body);
    while let Some(bytes) = body.next().await {
        whole.extend_from_slice(&bytes.map_err(in_no_repository)?);
        if whole.len() > MAX_FORM {
            return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "the form is too large"));
        }
    }
    String::from_utf8(whole).map_err(|_| refused("invalid_request", "the form is not text"))
}

/// 400, with a code of OAuth 2.
fn refused(code: &'static str, why: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", format!("{code}: {why}"))
}

/// 404 on a node that issues no tokens.
fn none_here() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "this node issues no tokens")
}

#[cfg(test)]
mod tests;
