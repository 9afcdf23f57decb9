//! A request on its way through the handlers.

use std::net::IpAddr;

use axum::body::Body;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serving::Query;

use super::error::HttpError;
use crate::PortalOptions;
use crate::peers::PEER_HEADER;

/// What a handler answers.
pub(crate) type Answer = Result<http::Response<Body>, HttpError>;

/// What handlers see of a request; the body goes beside it.
#[derive(Debug)]
pub(crate) struct Request {
    /// Address of the client: the other end of the connection, or the one that a trusted proxy there names.
    pub(crate) client: Option<IpAddr>,
    /// A trusted proxy is at the other end.
    pub(crate) is_proxied: bool,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    /// The query as it came, for redirects.
    pub(crate) raw_query: Option<String>,
}

impl Request {
    /// A header as text; one that is no text counts as absent.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether another portal asks: it shall get what is here, and nothing that peers have.
    pub(crate) fn is_from_peer(&self) -> bool {
        self.headers.contains_key(PEER_HEADER)
    }

    /// The host that the client asked, with its port, without anything that could not stand in one.
    pub(crate) fn host(&self) -> Option<&str> {
        let is_host = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        self.header(&HOST).filter(is_host).filter(|host| !host.is_empty())
    }

    /// The portal's own URL as this client sees it, without a slash at the end: what SDKs compare and build links from.
    pub(crate) fn portal_url(&self, options: &PortalOptions) -> String {
        if !options.url.is_empty() {
            return options.url.clone();
        }
        let host = self.host().unwrap_or(&options.hostname);
        // A skylink's own origin is a label before the portal's name; it is no part of the portal's URL.
        let portal = match host.split_once('.') {
            Some((_, rest)) if rest.split(':').next() == Some(options.hostname.as_str()) => rest,
            _ => host,
        };
        format!("http://{portal}")
    }
}

/// The skylink that an answer is of.
pub(crate) const SKYNET_SKYLINK: HeaderName = HeaderName::from_static("skynet-skylink");

/// A parameter that says yes or no, as Go's `strconv.ParseBool` reads it; absent or empty is no.
pub(crate) fn parse_bool(request: &Request, name: &str) -> Result<bool, HttpError> {
    match request.query.get(name).unwrap_or_default() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        text => Err(HttpError::bad_request(format!(
            "unable to parse '{name}' parameter: strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

/// A value made of our own, already valid, parts.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
