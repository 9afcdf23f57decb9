//! `[portal]`: the Skynet portal, by itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ListenAddress;
use super::validate::Faults;

/// A portal with its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Portal {
    /// Address with port of `skyberth portal`.
    pub listen: ListenAddress,
    /// Directory of everything that `skyberth portal` writes.
    pub data: PathBuf,
    /// URL under which clients reach the portal, such as `https://portal.example`; empty: the host that they asked.
    pub url: String,
    /// The name below which each skylink has an origin of its own: `<base32 skylink>.<hostname>`.
    pub hostname: String,
}

impl Default for Portal {
    fn default() -> Self {
        Portal {
            listen: ListenAddress::local(9980),
            data: PathBuf::from("./skyberth-portal-data"),
            url: String::new(),
            hostname: "localhost".to_owned(),
        }
    }
}

impl Portal {
    pub(super) fn validate(&self, faults: &mut Faults) {
        if self.data.as_os_str().is_empty() {
            faults.add("portal.data", "must name a directory");
        }
        let is_url = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if !self.url.is_empty() && (!is_url(&self.url) || self.url.ends_with('/')) {
            faults.add("portal.url", "write a URL without a slash at its end, such as https://portal.example");
        }
        let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if self.hostname.is_empty() || !self.hostname.bytes().all(in_name) {
            faults.add("portal.hostname", "write a host name in lower case, without port");
        }
    }
}
