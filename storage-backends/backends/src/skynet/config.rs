//! The operator's settings of a Skynet backend.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use skynet_formats::profile::Profile;

use super::secret::Secret;
use crate::wrap::{BreakerConfig, LimitConfig, RetryConfig};

/// Most portals; each read may ask all of them.
pub const MAX_PORTALS: usize = 16;

/// Several portals of one profile.
#[derive(Clone, Debug)]
pub struct SkynetConfig {
    /// In the order of preference; at least one, at most [`MAX_PORTALS`], none twice.
    pub portals: Vec<PortalConfig>,
    /// The profile of all of them.
    pub profile: Profile,
    /// The number of portals on which content is placed.
    pub copies: u32,
    /// The longest content to be placed, in bytes, where the profile allows more.
    pub max_object_size: Option<u64>,
    /// The timeouts of each portal.
    pub deadlines: Deadlines,
    /// Time that a read waits for bytes of one portal before it asks another one too.
    pub patience: Duration,
    /// Limits on concurrent work at each portal.
    pub limit: LimitConfig,
    /// Retries at each portal.
    pub retry: RetryConfig,
    /// The conditions under which a portal is not asked.
    pub breaker: BreakerConfig,
}

impl SkynetConfig {
    /// The default settings for these portals.
    pub fn new(portals: Vec<PortalConfig>) -> Self {
        SkynetConfig {
            portals,
            profile: Profile::DEFAULT,
            copies: 1,
            max_object_size: None,
            deadlines: Deadlines::default(),
            patience: Duration::from_secs(3),
            limit: LimitConfig::default(),
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

/// A portal, with its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalConfig {
    /// Its address.
    pub url: PortalUrl,
    /// Its credentials.
    pub access: Access,
    /// Its name in locators when it was last asked; `None` if it never was.
    pub known_as: Option<String>,
}

impl PortalConfig {
    /// A portal that was never asked who it is.
    pub fn new(url: PortalUrl, access: Access) -> Self {
        PortalConfig { url, access, known_as: None }
    }
}

/// The credentials that a portal requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    #[default]
    Open,
    /// The key of an account, in `Skynet-Api-Key`.
    ApiKey(Secret),
    /// The session of an account, in the cookie `skynet-jwt`.
    Cookie(Secret),
    /// The API password of a bare skyd without a portal before it. Requests then also have the headers that a portal
    /// would add.
    Skyd(Secret),
}

impl Access {
    /// The header that carries the credential; `None` if it cannot stand in one.
    pub(super) fn header(&self) -> Option<(&'static str, HeaderValue)> {
        let (name, value) = match self {
            Access::Open => return None,
            Access::ApiKey(key) => ("skynet-api-key", key.reveal().to_owned()),
            Access::Cookie(jwt) => ("cookie", format!("skynet-jwt={}", jwt.reveal())),
            Access::Skyd(password) => {
                let user = data_encoding::BASE64.encode(format!(":{}", password.reveal()).as_bytes());
                ("authorization", format!("Basic {user}"))
            }
        };
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }

    /// True if the credential is valid in a header.
    pub fn is_sendable(&self) -> bool {
        *self == Access::Open || self.header().is_some()
    }
}

/// The address of a portal: `http` or `https`, a host, and perhaps a path before all others. No credentials, query or
/// fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct PortalUrl(Url);

/// The text is no address of a portal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a portal: http:// or https://, a host, and no user, query or fragment")]
pub struct PortalUrlError;

impl PortalUrl {
    /// The address of a path there, perhaps with a query; it begins with a slash and needs no escaping.
    pub(super) fn at(&self, target: &str) -> Url {
        let mut url = self.0.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{prefix}{path}"));
        url.set_query(query);
        url
    }
}

impl FromStr for PortalUrl {
    type Err = PortalUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| PortalUrlError)?;
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.query().is_none() && url.fragment().is_none();
        let sound = matches!(url.scheme(), "http" | "https") && url.has_host() && plain && bare;
        if sound { Ok(PortalUrl(url)) } else { Err(PortalUrlError) }
    }
}

impl fmt::Display for PortalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for PortalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortalUrl({self})")
    }
}

/// The timeouts of a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Timeout of a connection.
    pub connect: Duration,
    /// Timeout of the beginning of an answer, once the request is sent.
    pub first_byte: Duration,
    /// Longest time between two pieces of an answer.
    pub idle: Duration,
    /// Timeout of a ping.
    pub ping: Duration,
    /// The slowest acceptable transfer, in bytes per second: it bounds each whole request.
    pub least_rate: u64,
}

impl Deadlines {
    /// The longest time allowed for `bytes` bytes.
    pub(super) fn transfer(&self, bytes: u64) -> Duration {
        Duration::from_secs(bytes / self.least_rate.max(1))
    }
}

impl Default for Deadlines {
    /// skyd itself gives up on a first byte after 30 seconds.
    fn default() -> Self {
        Deadlines {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(40),
            idle: Duration::from_secs(20),
            ping: Duration::from_secs(5),
            least_rate: 64 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain() {
        for (text, path) in [
            ("http://127.0.0.1:9980", "http://127.0.0.1:9980/skynet/stats"),
            ("https://portal.example/", "https://portal.example/skynet/stats"),
            ("https://portal.example/below/", "https://portal.example/below/skynet/stats"),
        ] {
            let url: PortalUrl = text.parse().unwrap();
            assert_eq!(url.at("/skynet/stats").as_str(), path);
            assert_eq!(url.at("/skynet/stats?a=b").as_str(), format!("{path}?a=b"));
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for bad in
            ["", "portal.example", "ftp://x", "http://u:p@x", "http://u@x", "http://x?a", "http://x#a", "file:///x"]
        {
            assert_eq!(bad.parse::<PortalUrl>(), Err(PortalUrlError), "{bad}");
        }
    }

    #[test]
    fn credentials_go_where_each_kind_of_portal_looks() {
        let header = |access: Access| access.header().map(|(name, value)| (name, value.to_str().unwrap().to_owned()));
        assert_eq!(header(Access::Open), None);
        assert_eq!(header(Access::ApiKey(Secret::new("k"))), Some(("skynet-api-key", "k".into())));
        assert_eq!(header(Access::Cookie(Secret::new("j"))), Some(("cookie", "skynet-jwt=j".into())));
        assert_eq!(header(Access::Skyd(Secret::new("password"))), Some(("authorization", "Basic OnBhc3N3b3Jk".into())));
        assert!(!Access::ApiKey(Secret::new("a\nb")).is_sendable());
    }
}
