//! The request that handlers get.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serving::{Holder, Query, Scheme};

use super::error::HttpError;
use crate::PortalOptions;
use crate::peers::PEER_HEADER;

/// The result of a handler.
pub(crate) type Answer = Result<http::Response<Body>, HttpError>;

/// The parts of a request that handlers see; the body is passed separately.
#[derive(Debug)]
pub(crate) struct Request {
    /// Address of the client: the peer of the connection, or the client that a trusted proxy names.
    pub(crate) client: Option<IpAddr>,
    /// The holder of its permits.
    pub(crate) holder: Holder,
    pub(crate) scheme: Scheme,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    /// True if a program on the portal's own machine asks, and no browser or proxy.
    pub(crate) is_local_program: bool,
    /// The query as received, for redirects.
    pub(crate) raw_query: Option<String>,
}

impl Request {
    /// A header as text; a header that is not text counts as absent.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The client's address. Without one, all clients count as one.
    pub(crate) fn address(&self) -> IpAddr {
        self.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// True if another portal asks. It gets local content only, nothing of peers.
    pub(crate) fn is_from_peer(&self) -> bool {
        self.headers.contains_key(PEER_HEADER)
    }

    /// The host that the client used, with its port; `None` if it has characters that are invalid in a host.
    pub(crate) fn host(&self) -> Option<&str> {
        let is_host = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        self.header(&HOST).filter(is_host).filter(|host| !host.is_empty())
    }

    /// The portal's own URL as this client sees it, without a slash at the end. SDKs compare it and build links from
    /// it.
    pub(crate) fn portal_url(&self, options: &PortalOptions) -> String {
        if !options.url.is_empty() {
            return options.url.clone();
        }
        let host = self.host().unwrap_or(&options.hostname);
        // A skylink's own origin is a label before the portal's name, not part of the portal's URL.
        let portal = match host.split_once('.') {
            Some((_, rest)) if rest.split(':').next() == Some(options.hostname.as_str()) => rest,
            _ => host,
        };
        format!("{}://{portal}", self.scheme)
    }
}

/// The header with the skylink of an answer.
pub(crate) const SKYNET_SKYLINK: HeaderName = HeaderName::from_static("skynet-skylink");

/// A boolean parameter in the syntax of Go's `strconv.ParseBool`; absent or empty means false.
pub(crate) fn parse_bool(request: &Request, name: &str) -> Result<bool, HttpError> {
    match request.query.get(name).unwrap_or_default() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        text => Err(HttpError::bad_request(format!(
            "unable to parse '{name}' parameter: strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

/// A header value made of valid parts.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
