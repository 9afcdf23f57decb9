//! Logs in to a registry as its challenge requires: Basic, or Bearer with tokens for each request's scope.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{Request, Response, Target, address};

/// Lifetime of a token if the issuer does not state one.
const LIFE: Duration = Duration::from_mins(1);
/// A token is not used in its last seconds, since the request must arrive in time.
const MARGIN: Duration = Duration::from_secs(5);
/// Most tokens in the cache. One more empties it.
const TOKENS: usize = 1000;

/// A name and its password.
#[derive(Clone)]
pub struct Account {
    name: String,
    password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Account({})", self.name)
    }
}

impl Account {
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Account { name: name.into(), password: password.into() }
    }

    /// An account whose password is in this environment variable, or else in the next line of standard input.
    pub fn with_password(name: &str, variable: &str) -> anyhow::Result<Self> {
        if let Ok(password) = std::env::var(variable) {
            return Ok(Account::new(name, password));
        }
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("the password on standard input")?;
        Ok(Account::new(name, line.trim_end_matches(['\r', '\n'])))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    fn basic(&self) -> String {
        format!("Basic {}", base64(format!("{}:{}", self.name, self.password).as_bytes()))
    }
}

/// The login scheme of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// No login.
    None,
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// The scheme of one registry, found at the first request, and its tokens so far.
#[derive(Debug)]
pub struct Login {
    pub account: Option<Account>,
    scheme: Mutex<Option<Scheme>>,
    tokens: Mutex<HashMap<String, (String, Instant)>>,
}

impl Login {
    pub fn new(account: Option<Account>) -> Self {
        Login { account, scheme: Mutex::default(), tokens: Mutex::default() }
    }

    /// The `Authorization` of a request, if it needs one.
    pub fn authorization(&self, target: &Target, method: &str, path: &str) -> anyhow::Result<Option<String>> {
        match self.scheme(target)? {
            Scheme::None => Ok(None),
            Scheme::Basic => Ok(self.account.as_ref().map(Account::basic)),
            Scheme::Bearer { realm, service } => {
                let scopes = scopes(method, path);
                Ok(Some(format!("Bearer {}", self.token(target, &realm, service.as_deref(), &scopes)?)))
            }
        }
    }

    /// Finds the registry's scheme with one request.
    pub fn scheme(&self, target: &Target) -> anyhow::Result<Scheme> {
        let mut known = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scheme) = &*known {
            return Ok(scheme.clone());
        }
        let scheme = challenged(&target.anonymous().send(&Request::get("/v2/"))?)?;
        *known = Some(scheme.clone());
        Ok(scheme)
    }

    fn token(&self, target: &Target, realm: &str, service: Option<&str>, scopes: &[String]) -> anyhow::Result<String> {
        let key = scopes.join(" ");
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, end)) = tokens.get(&key)
            && *end > Instant::now()
        {
            return Ok(token.clone());
        }
        let (token, life) = self.fetch(target, realm, service, scopes)?;
        if tokens.len() >= TOKENS {
            tokens.clear();
        }
        tokens.insert(key, (token.clone(), Instant::now() + life.saturating_sub(MARGIN)));
        Ok(token)
    }

    /// Fetches a token from the issuer in the challenge.
    pub fn fetch(
        &self,
        target: &Target,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
    ) -> anyhow::Result<(String, Duration)> {
        let (secure, mut issuer) = address(realm)?;
        if secure {
            issuer.tls = Some(target.tls.clone().map_or_else(|| crate::tls::config(None), Ok)?);
        }
        let path = realm.splitn(4, '/').nth(3).unwrap_or_default();
        let mut query: Vec<String> = service.iter().map(|service| format!("service={}", escape(service))).collect();
        query.extend(scopes.iter().map(|scope| format!("scope={}", escape(scope))));
        let join = if path.contains('?') { '&' } else { '?' };
        let mut request = Request::get(format!("/{path}{join}{}", query.join("&")));
        if let Some(account) = &self.account {
            request = request.header("Authorization", account.basic());
        }
        let answer = issuer.send(&request).with_context(|| format!("ask {realm} for a token"))?;
        let body = answer.expect(200).with_context(|| format!("a token of {realm}"))?.json()?;
        let token = body["token"].as_str().or(body["access_token"].as_str());
        let token = token.with_context(|| format!("{realm} answers without a token"))?;
        Ok((token.to_owned(), body["expires_in"].as_u64().map_or(LIFE, Duration::from_secs)))
    }
}

/// The scheme in the answer to an anonymous `GET /v2/`.
fn challenged(answer: &Response) -> anyhow::Result<Scheme> {
    if answer.status != 401 {
        return Ok(Scheme::None);
    }
    let challenge = answer.need("WWW-Authenticate")?;
    let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Ok(Scheme::Basic);
    }
    ensure!(scheme.eq_ignore_ascii_case("bearer"), "cannot log in with {challenge:?}");
    let realm = parameter(rest, "realm").with_context(|| format!("no realm in {challenge:?}"))?;
    Ok(Scheme::Bearer { realm, service: parameter(rest, "service") })
}

/// A quoted or plain parameter of a challenge.
pub fn parameter(challenge: &str, name: &str) -> Option<String> {
    let mut rest = challenge.trim_start_matches([' ', ',']);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = next.trim_start_matches([' ', ',']);
    }
    None
}

/// The scopes that a request needs, in the grammar of distribution's token specification.
fn scopes(method: &str, path: &str) -> Vec<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let Some(rest) = path.strip_prefix("/v2/") else { return Vec::new() };
    if rest.trim_end_matches('/') == "_catalog" {
        return vec!["registry:catalog:*".to_owned()];
    }
    let ends = ["/manifests/", "/blobs/", "/tags/", "/referrers/"];
    let Some(end) = ends.iter().filter_map(|end| format!("{rest}/").rfind(end)).max() else { return Vec::new() };
    // An encoded slash is part of a name, and a scope has it plain.
    let name = slashes(&rest[..end]);
    // Only clients that push ask for the state of an upload.
    let is_upload = format!("{}/", &rest[end..]).contains("/uploads/");
    let actions = match method {
        "GET" | "HEAD" if !is_upload => "pull",
        // Cancelling an upload deletes no content.
        "DELETE" if !is_upload => "delete",
        _ => "pull,push",
    };
    let from = query.split('&').find_map(|part| part.strip_prefix("from=")).filter(|from| !from.is_empty());
    let source = from.map(|from| format!("repository:{}:pull", slashes(from)));
    std::iter::once(format!("repository:{name}:{actions}")).chain(source).collect()
}

fn slashes(text: &str) -> String {
    text.replace("%2F", "/").replace("%2f", "/")
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out + &char::from(byte).to_string(),
        _ => out + &format!("%{byte:02X}"),
    })
}

/// Base64 with padding, for Basic.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(challenge: &str) -> Response {
        let headers = vec![("Www-Authenticate".to_owned(), challenge.to_owned())];
        Response { status: 401, headers, body: Vec::new(), own: true }
    }

    #[test]
    fn a_challenge_names_realm_and_service_in_any_order() {
        let scheme = challenged(&answer("Bearer service=\"a, b\",realm=\"https://c/token\",scope=\"x:y:z\"")).unwrap();
        let service = Some("a, b".to_owned());
        assert_eq!(scheme, Scheme::Bearer { realm: "https://c/token".to_owned(), service });
        assert_eq!(challenged(&answer("basic realm=\"x\"")).unwrap(), Scheme::Basic);
        assert!(challenged(&answer("Negotiate")).is_err());
        assert!(challenged(&answer("Bearer service=\"x\"")).is_err());
    }

    #[test]
    fn a_request_needs_the_scope_of_its_repository_and_method() {
        assert_eq!(scopes("GET", "/v2/a/b/manifests/latest"), ["repository:a/b:pull"]);
        assert_eq!(scopes("DELETE", "/v2/a/manifests/x"), ["repository:a:delete"]);
        assert_eq!(scopes("DELETE", "/v2/a/blobs/uploads/id"), ["repository:a:pull,push"]);
        assert_eq!(scopes("POST", "/v2/a/blobs/uploads"), ["repository:a:pull,push"]);
        let mount = scopes("POST", "/v2/a/blobs/uploads/?mount=sha256:1&from=c%2Fd");
        assert_eq!(mount, ["repository:a:pull,push", "repository:c/d:pull"]);
        assert_eq!(scopes("GET", "/v2/a/tags/list/tags/list?n=1"), ["repository:a/tags/list:pull"]);
        assert_eq!(scopes("GET", "/v2/a/blobs/uploads/id"), ["repository:a:pull,push"]);
        assert_eq!(scopes("POST", "/v2/a/blobs/blobs/uploads/"), ["repository:a/blobs:pull,push"]);
        assert_eq!(scopes("GET", "/v2/a%2Fb/tags/list"), ["repository:a/b:pull"]);
        assert_eq!(scopes("GET", "/v2/_catalog?n=3"), ["registry:catalog:*"]);
        assert!(scopes("GET", "/v2/").is_empty());
    }

    #[test]
    fn base64_is_padded() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
