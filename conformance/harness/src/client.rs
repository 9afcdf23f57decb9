//! A plain HTTP/1.1 client that sends exactly what it is given, valid or not.

pub mod login;
mod message;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::ClientConfig;

use crate::stream::Stream;
use login::Login;
pub use message::{Body, Request, Response, clip, octets, reading, with_query};

/// A server to judge.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    /// Set for https.
    pub tls: Option<Arc<ClientConfig>>,
    /// The certificate file given for it, for programs that need its path.
    pub ca: Option<PathBuf>,
    /// Logs in as the server requires; `None` if no login is ever needed.
    pub login: Option<Arc<Login>>,
    /// Login of a second account, without rights on what the first one pushes.
    pub alt: Option<Arc<Login>>,
    /// True if Skyberth's own policy is required, beyond the specification.
    pub own: bool,
}

impl Target {
    /// One of our own servers, over http.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Target { host: host.into(), port, tls: None, ca: None, login: None, alt: None, own: true }
    }

    pub fn local(port: u16) -> Self {
        Target::new("127.0.0.1", port)
    }

    /// The account to log in with, if any.
    pub fn account(&self) -> Option<&login::Account> {
        self.login.as_ref()?.account.as_ref()
    }

    /// Parses `http://HOST[:PORT]`.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let (secure, target) = address(url)?;
        if secure {
            bail!("{url}: only http:// is supported here");
        }
        Ok(target)
    }

    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority())
    }

    /// This registry without a login.
    pub fn anonymous(&self) -> Self {
        Target { login: None, ..self.clone() }
    }

    /// The registry, used with the second account's login.
    pub fn as_alt(&self) -> Option<Self> {
        self.alt.clone().map(|alt| Target { login: Some(alt), ..self.clone() })
    }

    /// Sends one request on a new connection.
    pub fn send(&self, request: &Request) -> anyhow::Result<Response> {
        Connection::open(self)?.send(request)
    }

    /// True if a URL leads to this server.
    pub fn is_at(&self, url: &str) -> bool {
        address(url).is_ok_and(|(secure, other)| {
            secure == self.tls.is_some() && other.port == self.port && other.host.eq_ignore_ascii_case(&self.host)
        })
    }
}

/// Host and port of an http or https URL, and whether it is https.
pub fn address(url: &str) -> anyhow::Result<(bool, Target)> {
    let (secure, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => bail!("{url}: neither http:// nor https://"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        // A colon within brackets is part of the address.
        Some((host, port)) if !port.contains(']') => (host, port.parse().with_context(|| format!("{url}: bad port"))?),
        _ => (authority, if secure { 443 } else { 80 }),
    };
    anyhow::ensure!(!host.is_empty(), "{url}: no host");
    Ok((secure, Target::new(host, port)))
}

/// The path of a Location, which is relative or on the same registry.
pub fn local_path(target: &Target, location: &str) -> anyhow::Result<String> {
    if location.starts_with('/') {
        return Ok(location.to_owned());
    }
    if !target.is_at(location) {
        bail!("Location {location} is on another server");
    }
    let path = location.splitn(4, '/').nth(3).unwrap_or_default();
    Ok(format!("/{path}"))
}

/// A kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    host: String,
    reader: BufReader<Stream>,
}

impl Connection {
    pub fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = Stream::open(&target.host, target.port, target.tls.as_ref())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        stream.set_write_timeout(Some(Duration::from_mins(1)))?;
        let reader = BufReader::with_capacity(64 * 1024, stream);
        Ok(Connection { target: target.clone(), host: target.authority(), reader })
    }

    /// Sends requests for another host than the one connected to.
    pub fn asking_for(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub fn stream(&self) -> &Stream {
        self.reader.get_ref()
    }

    pub fn send(&mut self, request: &Request) -> anyhow::Result<Response> {
        self.write(request)?;
        self.read(request.method == "HEAD")
    }

    fn head(&self, request: &Request) -> anyhow::Result<String> {
        let login = self.authorization(&request.method, &request.path)?.filter(|_| !request.has("Authorization"));
        Ok(match login {
            Some(login) => request.encode_head(&self.host, &[("Authorization", &login)]),
            None => request.encode_head(&self.host, &[]),
        })
    }

    /// The `Authorization` of a request, if the registry requires one.
    pub fn authorization(&self, method: &str, path: &str) -> anyhow::Result<Option<String>> {
        match &self.target.login {
            Some(login) => login.authorization(&self.target, method, path),
            None => Ok(None),
        }
    }

    /// Sends a request without waiting for the answer. A server may answer and close before it has read the whole body.
    /// So a broken pipe is no error yet: the answer may still be readable.
    pub fn write(&mut self, request: &Request) -> anyhow::Result<()> {
        let mut head = self.head(request)?.into_bytes();
        let mut out = self.reader.get_ref();
        match &request.body {
            Body::None => out.write_all(&head)?,
            Body::Sized(bytes) if bytes.len() <= 16 * 1024 => {
                head.extend_from_slice(bytes);
                out.write_all(&head)?;
            }
            Body::Sized(bytes) => {
                out.write_all(&head)?;
                let _ = out.write_all(bytes);
            }
            Body::Chunked(bytes, piece) => {
                out.write_all(&head)?;
                let _ = write_chunks(&mut out, bytes, *piece);
            }
        }
        Ok(())
    }

    /// Sends a head, and then a body of known length from a reader, in constant memory.
    pub fn write_streamed(&mut self, request: &Request, length: u64, body: &mut dyn Read) -> anyhow::Result<()> {
        let request = request.clone().header("Content-Length", length.to_string());
        let mut head = self.head(&request)?;
        if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
            head = head.replace("Content-Length: 0\r\n", "");
        }
        let mut out = self.reader.get_ref();
        out.write_all(head.as_bytes())?;
        std::io::copy(&mut body.take(length), &mut out).context("body")?;
        Ok(())
    }

    /// Reads one final answer, and skips 1xx answers.
    pub fn read(&mut self, head_only: bool) -> anyhow::Result<Response> {
        let (status, headers) = self.read_head()?;
        let mut response = self.response(status, headers);
        if !head_only && !matches!(status, 204 | 304) {
            let mut body = Vec::new();
            self.copy_body(&response, &mut body)?;
            response.body = body;
        }
        Ok(response)
    }

    /// An answer of this server without its body.
    pub fn response(&self, status: u16, headers: Vec<(String, String)>) -> Response {
        Response { status, headers, body: Vec::new(), own: self.target.own }
    }

    /// Reads the status line and headers of the next final answer.
    pub fn read_head(&mut self) -> anyhow::Result<(u16, Vec<(String, String)>)> {
        loop {
            let line = self.read_line().context("status line")?;
            let status: u16 = line
                .split(' ')
                .nth(1)
                .and_then(|s| s.parse().ok())
                .with_context(|| format!("bad status line {line:?}"))?;
            let mut headers = Vec::new();
            loop {
                let line = self.read_line().context("header")?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').with_context(|| format!("bad header {line:?}"))?;
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            if status >= 200 {
                return Ok((status, headers));
            }
        }
    }

    /// Copies the body that follows the head in `response`, by its framing.
    pub fn copy_body(&mut self, response: &Response, out: &mut dyn Write) -> anyhow::Result<u64> {
        if response.header("Transfer-Encoding").is_some_and(|te| te.eq_ignore_ascii_case("chunked")) {
            let mut total = 0;
            loop {
                let line = self.read_line().context("chunk size")?;
                let size = u64::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
                    .with_context(|| format!("bad chunk size {line:?}"))?;
                total += self.copy_exactly(size, out)?;
                self.read_line().context("chunk end")?;
                if size == 0 {
                    return Ok(total);
                }
            }
        }
        match response.header("Content-Length") {
            Some(length) => self.copy_exactly(length.parse().context("Content-Length")?, out),
            None => Ok(std::io::copy(&mut self.reader, out)?),
        }
    }

    fn copy_exactly(&mut self, length: u64, out: &mut dyn Write) -> anyhow::Result<u64> {
        let copied = std::io::copy(&mut (&mut self.reader).take(length), out)?;
        if copied != length {
            bail!("body cut: {copied} of {length} bytes");
        }
        Ok(copied)
    }

    fn read_line(&mut self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            bail!("connection closed");
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn write_chunks(out: &mut dyn Write, bytes: &[u8], piece: usize) -> std::io::Result<()> {
    for chunk in bytes.chunks(piece.max(1)) {
        write!(out, "{:x}\r\n", chunk.len())?;
        out.write_all(chunk)?;
        out.write_all(b"\r\n")?;
    }
    out.write_all(b"0\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_scheme_a_host_and_a_port() {
        let read = |url: &str| address(url).map(|(secure, target)| (secure, target.host, target.port)).unwrap();
        assert_eq!(read("http://a:5000/"), (false, "a".to_owned(), 5000));
        assert_eq!(read("https://a/v2/x:1"), (true, "a".to_owned(), 443));
        assert_eq!(read("http://[::1]:5000"), (false, "[::1]".to_owned(), 5000));
        assert_eq!(read("http://[::1]"), (false, "[::1]".to_owned(), 80));
        assert!(address("ftp://a").is_err() && address("http://a:b").is_err() && address("http://").is_err());
    }

    #[test]
    fn a_location_with_or_without_the_usual_port_leads_to_the_same_server() {
        let target = Target::new("registry.example", 80);
        assert!(target.is_at("http://registry.example/v2/x") && target.is_at("http://Registry.example:80/v2/x"));
        assert!(!target.is_at("https://registry.example:80/v2/x") && !target.is_at("http://registry.example.org/"));
    }

    #[test]
    fn a_location_is_followed_on_the_same_registry_only() {
        let target = Target::local(5000);
        assert_eq!(local_path(&target, "/v2/x?a=b").unwrap(), "/v2/x?a=b");
        assert_eq!(local_path(&target, "http://127.0.0.1:5000/v2/x").unwrap(), "/v2/x");
        assert!(local_path(&target, "http://elsewhere/v2/x").is_err());
    }
}
