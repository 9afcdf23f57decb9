//! Logins: who sends a request, and whether it is admitted.

use data_encoding::BASE64;
use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::App;
use super::action::Action;
use super::error::HttpError;
use super::request::Request;
use crate::access::{Identity, LoginError, Need, Verdict};

/// How to log in. Browsers show the realm.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"Skyberth\", charset=\"UTF-8\"");

/// The caller of a request that may do this action; else the answer.
pub(super) async fn admit(app: &App, action: &Action<'_>, request: &Request) -> Result<Identity, HttpError> {
    let need = action.need();
    if need == Need::Nothing {
        return Ok(Identity::Anonymous);
    }
    let identity = identify(app, request).await.map_err(|error| HttpError::login(error, BASIC))?;
    match app.access.decide(&identity, &need) {
        Verdict::Allowed => Ok(identity),
        Verdict::LogIn => Err(HttpError::unauthorized("this needs a login: use `docker login`", BASIC)),
    }
}

/// The caller, by the login that it sent.
async fn identify(app: &App, request: &Request) -> Result<Identity, LoginError> {
    // Some clients send an old login to any registry of that name. One that asks for none ignores it, as before.
    if !request.headers.contains_key(AUTHORIZATION) || app.access.ignores_logins() {
        return Ok(Identity::Anonymous);
    }
    match Credential::of(request).ok_or(LoginError::Refused)? {
        Credential::Nobody => Ok(Identity::Anonymous),
        Credential::Password(name, password) => app.access.log_in(&name, &password, request.caller.holder).await,
    }
}

/// What a request says about its sender.
enum Credential {
    /// An empty name and password: clients without a login send it.
    Nobody,
    Password(String, String),
}

impl Credential {
    /// `None` if it is ambiguous or malformed.
    fn of(request: &Request) -> Option<Self> {
        let mut values = request.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(BASE64.decode(rest.trim().as_bytes()).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        Some(match (name, password) {
            ("", "") => Credential::Nobody,
            _ => Credential::Password(name.to_owned(), password.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests;
