//! An upload session from a client's view: the newest Location, and the requests that may follow.

use anyhow::{Context, ensure};

use crate::client::{Request, Response, Target, clip, local_path, octets, with_query};

/// An upload session at its newest Location.
#[derive(Clone, Debug)]
pub struct Session {
    target: Target,
    pub location: String,
    /// `Docker-Upload-UUID` of the first answer, if it had one.
    pub id: Option<String>,
}

impl Session {
    pub fn of(target: &Target, answer: &Response) -> anyhow::Result<Self> {
        let location = local_path(target, answer.need("Location")?)?;
        Ok(Session { target: target.clone(), location, id: answer.header("Docker-Upload-UUID").map(str::to_owned) })
    }

    pub fn send(&self, request: &Request) -> anyhow::Result<Response> {
        self.target.send(request).with_context(|| format!("{} {}", request.method, clip(&request.path)))
    }

    /// A `PATCH` of this session, without a body.
    pub fn patch(&self) -> Request {
        octets(Request::new("PATCH", self.location.clone()))
    }

    /// A `PATCH` with the range of its bytes.
    pub fn ranged(&self, start: usize, bytes: &[u8]) -> Request {
        let end = (start + bytes.len()).saturating_sub(1);
        self.patch().header("Content-Range", format!("{start}-{end}")).body(bytes)
    }

    /// A closing `PUT`, without a body.
    pub fn put(&self, digest: &str) -> Request {
        octets(Request::new("PUT", with_query(&self.location, &format!("digest={digest}"))))
    }

    /// Sends a request that must be answered 202, and takes over its Location.
    pub fn advance(&mut self, request: &Request) -> anyhow::Result<Response> {
        let answer = self.send(request)?;
        answer.expect(202).with_context(|| format!("{} of an upload", request.method))?;
        self.location = local_path(&self.target, answer.need("Location")?)?;
        Ok(answer)
    }

    pub fn stream(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let request = self.patch().chunked(bytes, 8 * 1024);
        self.advance(&request).map(drop)
    }

    /// Sends a chunk. A zero-byte chunk has no valid range, so it is sent without one.
    pub fn chunk(&mut self, start: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let request = if bytes.is_empty() { self.patch() } else { self.ranged(start, bytes) };
        self.advance(&request).map(drop)
    }

    pub fn close(&self, digest: &str) -> anyhow::Result<Response> {
        self.send(&self.put(digest))
    }

    pub fn close_with(&self, digest: &str, bytes: &[u8]) -> anyhow::Result<Response> {
        self.send(&self.put(digest).body(bytes))
    }

    pub fn close_range(&self, digest: &str, start: usize, bytes: &[u8]) -> anyhow::Result<Response> {
        if bytes.is_empty() {
            return self.close(digest);
        }
        let end = start + bytes.len() - 1;
        self.send(&self.put(digest).header("Content-Range", format!("{start}-{end}")).body(bytes))
    }

    pub fn status(&self) -> anyhow::Result<Response> {
        self.send(&Request::get(self.location.clone()))
    }

    /// Expects the session to exist with this length. `0` bytes are reported as `0-0`.
    pub fn holds(&self, length: usize) -> anyhow::Result<()> {
        let answer = self.status()?;
        answer.expect(204).context("status of a session that should live")?;
        let want = format!("0-{}", length.saturating_sub(1));
        let got = answer.need("Range")?;
        // The specification has no range for zero bytes.
        if length == 0 && !answer.own {
            return Ok(());
        }
        ensure!(got == want, "session should have the Range {want}, but has {got}");
        Ok(())
    }

    pub fn gone(&self) -> anyhow::Result<()> {
        self.status()?.expect(404).context("status of a session that should be gone").map(drop)
    }
}
