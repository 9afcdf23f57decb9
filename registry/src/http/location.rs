//! Absolute `Location` headers, for clients that cannot follow relative ones.

use std::net::IpAddr;

use axum::body::Body;
use http::header::LOCATION;
use http::{HeaderMap, Response, Uri};
use serving::{Scheme, TrustedProxies};

use super::headers::value;
use crate::config;

/// The start of a `Location`. `Link` is always relative, as in distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Locations {
    /// The path, which is valid behind any proxy.
    #[default]
    Relative,
    /// The scheme and host of the request.
    Requested,
    /// This URL.
    Fixed(String),
}

impl From<&config::Server> for Locations {
    fn from(server: &config::Server) -> Self {
        match server.locations {
            _ if !server.url.is_empty() => Locations::Fixed(server.url.clone()),
            config::Locations::Relative => Locations::Relative,
            config::Locations::Absolute => Locations::Requested,
        }
    }
}

impl Locations {
    /// The prefix for a relative `Location` in the answer to this request; `None` leaves it relative.
    pub(super) fn base(
        &self,
        proxies: &TrustedProxies,
        peer: IpAddr,
        scheme: Scheme,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<String> {
        match self {
            Locations::Relative => None,
            Locations::Requested => proxies.origin(peer, scheme, uri, headers),
            Locations::Fixed(url) => Some(url.clone()),
        }
    }
}

/// Makes a `Location` absolute.
pub(super) fn complete(response: &mut Response<Body>, base: &str) {
    let Some(location) = response.headers().get(LOCATION).and_then(|location| location.to_str().ok()) else { return };
    let absolute = value(&format!("{base}{location}"));
    response.headers_mut().insert(LOCATION, absolute);
}
