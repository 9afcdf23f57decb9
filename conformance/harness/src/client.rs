//! A plain HTTP/1.1 client that sends exactly what it is told, right or wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::stream::Stream;
pub use crate::target::Target;

/// A request as it will stand on the wire.
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
    /// With `Content-Length`.
    Sized(Vec<u8>),
    /// With `Transfer-Encoding: chunked`, in pieces of the given size.
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

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    fn encode_head(&self, host: &str, more: &[(&str, &str)]) -> String {
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

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// True if the registry that answered is also judged by Skyberth's own policy.
    pub own: bool,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The header, or an error that names it.
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

/// One kept-alive connection.
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

    /// Asks for another host than the one that the connection leads to.
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

    /// What a request has to show to be let in, if the registry asks for anything.
    pub fn authorization(&self, method: &str, path: &str) -> anyhow::Result<Option<String>> {
        match &self.target.login {
            Some(login) => login.authorization(&self.target, method, path),
            None => Ok(None),
        }
    }

    /// Sends a request without waiting. A server may answer and close before it has read the whole body, so a
    /// broken pipe while writing it is no error yet: the answer may still be there to read.
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

    /// Sends a head and then a body of known length from a reader; memory stays flat.
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

    /// Reads one answer; 100 Continue and the like are passed over.
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

    /// An answer of this server whose body is not read yet.
    pub fn response(&self, status: u16, headers: Vec<(String, String)>) -> Response {
        Response { status, headers, body: Vec::new(), own: self.target.own }
    }

    /// Reads the status line and the headers of the next final answer.
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

    /// Copies the body that follows `response`'s head, as it was framed.
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
