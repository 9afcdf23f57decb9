//! Logins: who sends a request, and whether it is admitted.

use http::header::AUTHORIZATION;
use skynet_formats::go_encoding::base64;

use super::App;
use super::action::Action;
use super::challenge::challenge;
use super::error::HttpError;
use super::request::Request;
use crate::access::{Identity, InvalidToken, LoginError, Need, Principal, Verdict};
use crate::service::Error;

/// Logs the caller of a request in, and decides whether it may do this action. An error is the answer. The login stays known
/// then, for records.
pub(super) async fn admit(app: &App, action: &Action<'_>, request: &mut Request) -> Result<(), HttpError> {
    let need = action.need();
    if need == Need::Nothing {
        return Ok(());
    }
    match identify(app, request).await {
        Ok(caller) => request.log_in(caller),
        Err(Failed::Login(error)) => {
            return Err(HttpError::login(error, challenge(app, request, action, &[need], None)));
        }
        Err(Failed::Token(error)) => {
            let how = challenge(app, request, action, &[need], Some("invalid_token"));
            return Err(HttpError::invalid_token(error.to_string(), how));
        }
    }
    let (request, caller) = (&*request, &request.principal);
    let how = |error| challenge(app, request, action, &[need], error);
    match app.access.decide(caller, &need) {
        Verdict::Allowed => Ok(()),
        Verdict::LogIn => Err(HttpError::unauthorized("this needs a login: use `docker login`", how(None))),
        Verdict::NeedsScope => Err(HttpError::unauthorized(NARROW, how(Some("insufficient_scope")))),
        Verdict::Denied => Err(HttpError::denied(&caller.identity)),
        // As if it were not there.
        Verdict::Hidden => Err(HttpError::hidden()),
        Verdict::NotNow => Err(HttpError::from_service(Error::Unavailable, None)),
    }
}

/// What a client is told whose token has too few scopes.
pub(super) const NARROW: &str = "the token is not for this";

/// Why a login does not count.
enum Failed {
    Login(LoginError),
    Token(InvalidToken),
}

impl From<LoginError> for Failed {
    fn from(error: LoginError) -> Self {
        Failed::Login(error)
    }
}

impl From<InvalidToken> for Failed {
    fn from(error: InvalidToken) -> Self {
        Failed::Token(error)
    }
}

/// The caller, by the login that it sent.
async fn identify(app: &App, request: &Request) -> Result<Principal, Failed> {
    // Some clients send an old login to any registry of that name. One that asks for none ignores it, as before.
    if app.access.ignores_logins() {
        return Ok(Principal::of(Identity::Anonymous));
    }
    Ok(match Credential::of(request)? {
        None | Some(Credential::Nobody) => Principal::of(Identity::Anonymous),
        Some(Credential::Password(name, password)) => {
            app.access.log_in(&name, &password, request.caller.holder).await?
        }
        Some(Credential::Token(token)) => app.access.verify_token(token)?,
    })
}

/// What a request says about its sender.
pub(super) enum Credential<'a> {
    /// An empty name and password: clients without a login send it.
    Nobody,
    Password(String, String),
    Token(&'a str),
}

impl<'a> Credential<'a> {
    /// The login in the request, if there is one. Fails if it is ambiguous or malformed.
    pub(super) fn of(request: &'a Request) -> Result<Option<Self>, LoginError> {
        let mut values = request.headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let read = || {
            let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
            let rest = rest.trim();
            if scheme.eq_ignore_ascii_case("bearer") {
                return Some(Credential::Token(rest));
            }
            if !scheme.eq_ignore_ascii_case("basic") {
                return None;
            }
            let text = String::from_utf8(base64(rest.as_bytes())?).ok()?;
            Some(match text.split_once(':')? {
                ("", "") => Credential::Nobody,
                (name, password) => Credential::Password(name.to_owned(), password.to_owned()),
            })
        };
        if values.next().is_some() { Err(LoginError::Refused) } else { read().map(Some).ok_or(LoginError::Refused) }
    }
}

#[cfg(test)]
pub(super) mod tests;
