//! Requests and responses of the raw client, and their parts.

use anyhow::{Context, anyhow, bail};

/// A request, as it will be sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// How a body is framed.
#[derive(Clone, Debug)]
pub enum Body {
    None,
    /// Framed by `Content-Length`.
    Sized(Vec<u8>),
    /// Framed by `Transfer-Encoding: chunked`, in chunks of this size.
    Chunked(Vec<u8>, usize),
}

impl Request {
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        Request { method: method.to_owned(), path: path.into(), headers: Vec::new(), body: Body::None }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Request::new("GET", path)
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Sized(bytes.into());
        self
    }

    pub fn chunked(mut self, bytes: impl Into<Vec<u8>>, piece: usize) -> Self {
        self.body = Body::Chunked(bytes.into(), piece);
        self
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    pub(super) fn encode_head(&self, host: &str, more: &[(&str, &str)]) -> String {
        use std::fmt::Write as _;
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(more.iter().copied()) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        match &self.body {
            Body::None if matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") => {
                head.push_str("Content-Length: 0\r\n");
            }
            Body::None => {}
            Body::Sized(bytes) => {
                let _ = write!(head, "Content-Length: {}\r\n", bytes.len());
            }
            Body::Chunked(..) => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        head
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// True if the registry is also judged by Skyberth's own policy.
    pub own: bool,
}

impl Response {
    /// The first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The header, or an error with its name.
    pub fn need(&self, name: &str) -> anyhow::Result<&str> {
        self.header(name).ok_or_else(|| anyhow!("no {name} header in a {} answer", self.status))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {:?}", self.text()))
    }

    /// The code of the first OCI error in the body.
    pub fn error_code(&self) -> Option<String> {
        Some(self.json().ok()?.get("errors")?.get(0)?.get("code")?.as_str()?.to_owned())
    }

    pub fn expect(&self, status: u16) -> anyhow::Result<&Self> {
        if self.status != status {
            bail!("expected {status}, got {} {}", self.status, self.text().chars().take(300).collect::<String>());
        }
        Ok(self)
    }
}

/// The `Accept` of clients. Older registries hide manifests of types not listed. Row 24 tests a missing `Accept`.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A read of a path, with the `Accept` of clients for a manifest.
pub fn reading(method: &str, path: &str) -> Request {
    let request = Request::new(method, path);
    if path.contains("/manifests/") { request.header("Accept", ACCEPT) } else { request }
}

pub fn octets(request: Request) -> Request {
    request.header("Content-Type", "application/octet-stream")
}

pub fn with_query(path: &str, query: &str) -> String {
    format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' })
}

/// The start of a possibly huge text, on one line.
pub fn clip(text: &str) -> String {
    let mut line: String = text.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_in_an_answer_does_not_break_the_report() {
        assert_eq!(clip("one\ntwo\r"), "one two ");
        assert_eq!(clip(&"x".repeat(130)).len(), 123);
    }

    #[test]
    fn a_query_is_added_to_what_is_there() {
        assert_eq!(with_query("/v2/x", "c=d"), "/v2/x?c=d");
        assert_eq!(with_query("/v2/x?a=b", "c=d"), "/v2/x?a=b&c=d");
    }
}
