//! Tokens of our own issuer: made, verified, refreshed.
//!
//! A token is an identity and a ceiling of scopes. It is checked when a request starts. The rights of its identity are looked
//! at then, so a token outlives no right. It also ends with the password or
//! personal token that it was made with.
//!
//! A refresh token has no time of its own. It ends with the password, too.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::file::SourceError;
use super::identity::{Identity, UserName};
use super::jwt;
use super::keys::{KeyRing, VERIFIES_FOR};
use super::need::Need;
use super::personal::PersonalToken;
use super::rights::{Ceiling, Principal, Verdict};
use super::scope::{Claim, Scopes};
use super::{Access, Known};

/// The beginning of every refresh token, so that scanners for leaked secrets recognize them.
const REFRESH: &str = "skyberth_refresh_";
/// How far, in seconds, the clocks of nodes with one key may differ.
const LEEWAY: u64 = 60;

/// The issuer's settings.
#[derive(Clone)]
pub struct TokenSettings {
    /// How long a token lives, at most a day.
    pub lifetime: Duration,
    /// The service that tokens are for, as in challenges.
    pub service: String,
    /// The key that signs; `None`: the node's own keys.
    pub key: Option<[u8; 32]>,
    /// The directory of the node's own keys.
    pub directory: PathBuf,
}

impl std::fmt::Debug for TokenSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenSettings({})", self.service)
    }
}

/// The issuer of a node.
#[derive(Debug)]
pub(super) struct Issuer {
    settings: TokenSettings,
    ring: RwLock<Arc<KeyRing>>,
}

/// A new token, with what a client is told about it.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// Seconds that it lives.
    pub expires_in: u64,
    /// When it was made, in seconds since the Unix epoch.
    pub issued_at: u64,
    /// The scopes that it has, with spaces between them.
    pub scopes: String,
    /// A refresh token, if one was asked for and the caller has a login.
    pub refresh: Option<String>,
}

/// The token is not valid, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is invalid or has expired")]
pub struct InvalidToken;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    access: Vec<Claim>,
    /// The fingerprint of the caller's credential.
    credential: String,
    /// The id of the personal token that was shown instead of a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    personal: Option<String>,
}

impl Issuer {
    pub(super) fn open(settings: TokenSettings) -> Result<Self, SourceError> {
        let ring = match settings.key {
            Some(seed) => KeyRing::given(seed),
            None => KeyRing::open(&settings.directory, now())?,
        };
        Ok(Issuer { settings, ring: RwLock::new(Arc::new(ring)) })
    }

    fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes and removes keys if it is time to. Blocks.
    pub(super) fn rotate(&self) {
        if self.settings.key.is_some() {
            return;
        }
        match KeyRing::open(&self.settings.directory, now()) {
            Ok(ring) => *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring),
            Err(error) => tracing::error!(%error, "the keys of tokens could not be renewed; those in use stay"),
        }
    }

    fn issue(&self, caller: &Principal, scopes: &Scopes, known: &Known, now: u64) -> Option<String> {
        let ring = self.ring();
        let credential = credential(&ring, known, &caller.identity, caller.token.as_deref())?;
        let service = &self.settings.service;
        let claims = Claims {
            iss: service.clone(),
            sub: caller.identity.to_string(),
            aud: service.clone(),
            // `now` is rounded down, and a client may use the token for the whole of `expires_in`.
            exp: now + self.lifetime() + 1,
            nbf: now.saturating_sub(LEEWAY),
            iat: now,
            jti: BASE64URL_NOPAD.encode(&crate::ids::random::<12>()),
            access: scopes.claims(),
            credential,
            personal: caller.token.as_ref().map(|token| token.id.clone()),
        };
        let key = ring.signing(now);
        jwt::sign(&claims, &key.id, &key.seed).ok()
    }

    fn verify(&self, token: &str, known: &Known, now: u64) -> Option<Principal> {
        let ring = self.ring();
        let key = ring.find(&jwt::key_id(token)?)?;
        let claims: Claims = jwt::verify(token, &key.public)?;
        let service = &self.settings.service;
        if claims.iss != *service || claims.aud != *service || claims.exp <= now || claims.nbf > now + LEEWAY {
            return None;
        }
        let identity: Identity = claims.sub.parse().ok()?;
        let token = match &claims.personal {
            Some(id) => Some(known.personal_token(id, &identity, now)?),
            None => None,
        };
        let is_current = claims.credential == credential(&ring, known, &identity, token.as_deref())?;
        let ceiling = Ceiling::Scopes(Scopes::of_claims(&claims.access));
        is_current.then_some(Principal { identity, ceiling, token })
    }

    fn lifetime(&self) -> u64 {
        self.settings.lifetime.as_secs().clamp(1, VERIFIES_FOR)
    }
}

/// A fingerprint of what the caller showed: its personal token, or its password, after each change of which it differs. `None`
/// without such a user.
fn credential(ring: &KeyRing, known: &Known, identity: &Identity, token: Option<&PersonalToken>) -> Option<String> {
    let hash = match (token, identity) {
        (Some(token), _) => mac(ring, &[b"personal", token.id.as_bytes(), token.fingerprint()]),
        (None, Identity::Anonymous) => mac(ring, &[b"anonymous"]),
        (None, Identity::Local(name)) => of_password(ring, "credential", name, known)?,
    };
    Some(BASE64URL_NOPAD.encode(&hash.as_bytes()[..16]))
}

/// A hash with the ring's secret, of a user and its password; `None` without such a user.
fn of_password(ring: &KeyRing, purpose: &str, name: &UserName, known: &Known) -> Option<blake3::Hash> {
    let password = known.users.hash(name)?.expose();
    Some(mac(ring, &[purpose.as_bytes(), name.as_str().as_bytes(), password.as_bytes()]))
}

/// A hash with the ring's secret.
fn mac(ring: &KeyRing, parts: &[&[u8]]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&ring.secret);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize()
}

impl Access {
    /// The service that tokens are for; `None` if this node issues none.
    pub fn token_service(&self) -> Option<&str> {
        Some(&self.issuer.as_ref()?.settings.service)
    }

    /// The public keys of tokens; `None` if this node issues none.
    pub fn token_keys(&self) -> Option<serde_json::Value> {
        Some(self.issuer.as_ref()?.ring().published())
    }

    /// A token for what the caller asked for and may do. `None` if this node issues none, or if the user is gone.
    /// A personal token gets no refresh token, since it can be shown again itself.
    pub fn issue_token(&self, caller: &Principal, asked: &Scopes, with_refresh: bool) -> Option<IssuedToken> {
        self.issue_token_at(caller, asked, with_refresh, now())
    }

    fn issue_token_at(&self, caller: &Principal, asked: &Scopes, with_refresh: bool, now: u64) -> Option<IssuedToken> {
        let (issuer, known) = (self.issuer.as_ref()?, self.known());
        let caller = caller.without_scopes();
        let granted = asked.granted(|need: &Need<'_>| self.decide(&caller, need) == Verdict::Allowed);
        let token = issuer.issue(&caller, &granted, &known, now)?;
        let refresh = match &caller.identity {
            Identity::Local(name) if with_refresh && caller.token.is_none() => {
                let hash = of_password(&issuer.ring(), "refresh", name, &known)?;
                let (name, hash) = (name.as_str().as_bytes(), hash.as_bytes());
                Some(format!("{REFRESH}{}.{}", BASE64URL_NOPAD.encode(name), BASE64URL_NOPAD.encode(hash)))
            }
            _ => None,
        };
        Some(IssuedToken { token, expires_in: issuer.lifetime(), issued_at: now, scopes: granted.to_string(), refresh })
    }

    /// The caller that a token stands for.
    pub fn verify_token(&self, token: &str) -> Result<Principal, InvalidToken> {
        self.verify_token_at(token, now())
    }

    fn verify_token_at(&self, token: &str, now: u64) -> Result<Principal, InvalidToken> {
        let issuer = self.issuer.as_ref().ok_or(InvalidToken)?;
        let caller = issuer.verify(token, &self.known(), now).ok_or(InvalidToken)?;
        self.used(&caller, now);
        Ok(caller)
    }

    /// The user whose refresh token this is.
    pub fn verify_refresh_token(&self, token: &str) -> Result<Identity, InvalidToken> {
        let read = || {
            let (name, hash) = token.strip_prefix(REFRESH)?.split_once('.')?;
            let name = String::from_utf8(BASE64URL_NOPAD.decode(name.as_bytes()).ok()?).ok()?;
            let hash: [u8; 32] = BASE64URL_NOPAD.decode(hash.as_bytes()).ok()?.try_into().ok()?;
            let name: UserName = name.parse().ok()?;
            let expected = of_password(&self.issuer.as_ref()?.ring(), "refresh", &name, &self.known())?;
            // In constant time.
            (expected == blake3::Hash::from(hash)).then_some(Identity::Local(name))
        };
        read().ok_or(InvalidToken)
    }
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
