//! `[auth]`: users, and what callers without a login may do.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::validate::Faults;
use super::{Config, Secret, TimeSpan};
use crate::access::{Everybody, decode_key, parse_words};

/// Longest time that a token may be valid. Keys verify tokens for as long after they have signed the last one.
const LONGEST_TOKEN: Duration = Duration::from_hours(24);

/// Users and rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// What callers without a [login](how-to/logins.md) may do. `pull` includes lists, `push` also pulls and moves of tags, and
    /// `all` also deletes. `auto`: `all` on a node that only its own machine can reach and that has no users, no files of users
    /// and no policy, else `none`.
    pub anonymous: Anonymous,
    /// Users with the hashes of their passwords, NAME:HASH, and white space between them. A hash is of bcrypt or argon2.
    pub users: Secret,
    /// Files of users, as `htpasswd -B` writes them. The node reads a file again when it has changed.
    pub htpasswd: Vec<PathBuf>,
    /// File of the [policy](how-to/rights.md), which says who may do what to which repositories. The node reads it again when it has
    /// changed. Empty: each user may do everything.
    pub policy: PathBuf,
    /// How clients are told to log in. `bearer`: with [tokens](how-to/logins.md#tokens), for which they show their password once.
    /// `basic`: with the password in every request, for clients that know no tokens. Passwords are taken in both cases.
    pub challenge: Challenge,
    /// How long a token is valid, at most a day. Clients fetch another one by themselves. Podman, Skopeo and regctl use each
    /// token for at least a minute, so shorter ones end their pushes.
    pub token_lifetime: TimeSpan,
    /// The key that signs tokens, 32 random bytes in base64, for nodes that take each other's. Empty: the node makes its own keys,
    /// and a new one each month.
    pub token_key: Secret,
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            anonymous: Anonymous::default(),
            users: Secret::default(),
            htpasswd: Vec::new(),
            policy: PathBuf::new(),
            challenge: Challenge::Bearer,
            token_lifetime: TimeSpan::from_secs(15 * 60),
            token_key: Secret::default(),
        }
    }
}

/// How clients are told to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Challenge {
    /// With tokens.
    Bearer,
    /// With the password in every request.
    Basic,
}

/// What callers without a login may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// All on a node without sources of users that is not public, else nothing.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// Pull.
    Pull,
    /// Pull and push.
    Push,
    /// Pull, push and delete.
    All,
}

impl Anonymous {
    /// The rights; `None` if they depend on the node.
    pub fn rights(self) -> Option<Everybody> {
        match self {
            Anonymous::Auto => None,
            Anonymous::None => Some(Everybody::None),
            Anonymous::Pull => Some(Everybody::Pull),
            Anonymous::Push => Some(Everybody::Push),
            Anonymous::All => Some(Everybody::All),
        }
    }
}

impl Auth {
    pub(super) fn validate(&self, faults: &mut Faults) {
        if let Err(error) = parse_words(self.users.expose()) {
            faults.add("auth.users", error.to_string());
        }
        faults.not_zero("auth.token_lifetime", self.token_lifetime);
        if self.token_lifetime.duration() > LONGEST_TOKEN {
            faults.add("auth.token_lifetime", "must be at most 24h");
        }
        if !self.token_key.is_empty() && decode_key(self.token_key.expose()).is_none() {
            faults
                .add("auth.token_key", "must be 32 bytes in base64, as `head -c 32 /dev/urandom | base64` prints them");
        }
        if self.htpasswd.iter().any(|path| path.as_os_str().is_empty()) {
            faults.add("auth.htpasswd", "a path is empty");
        }
    }
}

impl Config {
    /// True if others than this machine may reach the node: one of its listeners or its URL is not on a loopback address, or
    /// there is a proxy in front.
    pub fn is_public(&self) -> bool {
        let portal = self.portal.attached.then_some(self.portal.listen);
        let listeners = [Some(self.server.listen), self.server.plain_listen.0, self.gateway.listen.0, portal];
        let is_open = listeners.iter().flatten().any(|listen| !listen.0.ip().is_loopback());
        is_open || !self.server.trusted_proxies.is_empty() || !is_local_url(&self.server.url)
    }
}

/// True for a URL of this machine, or none.
fn is_local_url(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return url.is_empty() };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn whatever_others_can_reach_makes_the_node_public() {
        for private in [
            "",
            "[server]\nlisten = '[::1]:5000'",
            "[server]\nurl = 'http://localhost:5000'",
            "[server]\nurl = 'https://a.localhost'",
            "[server]\nurl = 'http://[::1]:5000'",
            "[gateway]\nlisten = '127.0.0.1:1'",
            "[portal]\nlisten = '0.0.0.0:1'",
        ] {
            assert!(!config(private).is_public(), "{private}");
        }
        for public in [
            "[server]\nlisten = ':5000'",
            "[server]\nlisten = '10.0.0.1:5000'",
            "[server]\nurl = 'https://registry.example'",
            "[server]\nurl = 'http://10.0.0.1'",
            "[server]\ntrusted_proxies = ['127.0.0.1']",
            "[gateway]\nlisten = ':1'",
            "[portal]\nattached = true\nlisten = '0.0.0.0:1'",
        ] {
            assert!(config(public).is_public(), "{public}");
        }
    }
}
