//! Building blocks of rows: repositories of their own, and blobs pushed in every style.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use crate::client::{Request, Response, Target};
pub use crate::client::{clip, local_path, octets, reading, with_query};
pub use crate::digest::{ALGORITHMS, digest, hex, sha256};
use crate::noise::noise;
pub use crate::session::Session;

/// The site of one row: a registry, and names that no other row or run uses.
#[derive(Clone, Debug)]
pub struct Site {
    pub target: Target,
    row: String,
    run: String,
}

impl Site {
    pub fn new(target: Target, row: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let run = format!("{now:x}x{:x}", COUNT.fetch_add(1, Ordering::Relaxed));
        Site { target, row: row.to_lowercase(), run }
    }

    /// A word unique to this row of this run, valid as a name component.
    pub fn word(&self) -> String {
        format!("r{}x{}", self.row, self.run)
    }

    /// The digest algorithms required of this registry: all of ours, or the one that every registry has.
    pub fn algorithms(&self) -> &'static [&'static str] {
        if self.target.own { &ALGORITHMS } else { &ALGORITHMS[..1] }
    }

    /// The ways to push a blob that this registry must support. A streamed `PATCH` is not in the specification, and a
    /// `POST` with the bytes is optional.
    pub fn styles(&self) -> &'static [Style] {
        if self.target.own { &STYLES } else { &STYLES[2..] }
    }

    /// A repository of this row's own. It does not exist until something is pushed.
    pub fn repo(&self, name: &str) -> Repo {
        self.repo_named(&format!("edge/{}/{name}", self.word()))
    }

    pub fn repo_named(&self, name: &str) -> Repo {
        Repo { target: self.target.clone(), name: name.to_owned() }
    }

    pub fn noise(&self, label: &str, length: usize) -> Vec<u8> {
        noise(&format!("{} {} {label}", self.row, self.run), length)
    }

    pub fn send(&self, request: &Request) -> anyhow::Result<Response> {
        self.target.send(request).with_context(|| format!("{} {}", request.method, clip(&request.path)))
    }
}

/// A way of pushing a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `POST ?digest=` with the bytes.
    Post,
    /// `POST`, then one `PUT` with the bytes.
    PostPut,
    /// `POST`, one streamed `PATCH` in chunked transfer coding, `PUT`.
    Stream,
    /// `POST`, two `PATCH`es with `Content-Range`, `PUT`.
    Chunks,
    /// `POST`, a `PATCH` with `Content-Range`, the rest in the `PUT`.
    ChunkAndPut,
}

pub const STYLES: [Style; 5] = [Style::Post, Style::Stream, Style::PostPut, Style::Chunks, Style::ChunkAndPut];

/// A repository by name, with the requests that rows send.
#[derive(Clone, Debug)]
pub struct Repo {
    pub target: Target,
    pub name: String,
}

impl Repo {
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    pub fn blob(&self, digest: &str) -> String {
        self.path(&format!("blobs/{digest}"))
    }

    pub fn manifest(&self, reference: &str) -> String {
        self.path(&format!("manifests/{reference}"))
    }

    pub fn uploads(&self) -> String {
        self.path("blobs/uploads/")
    }

    pub fn tags(&self) -> String {
        self.path("tags/list")
    }

    pub fn referrers(&self, digest: &str) -> String {
        self.path(&format!("referrers/{digest}"))
    }

    pub fn send(&self, request: &Request) -> anyhow::Result<Response> {
        self.target.send(request).with_context(|| format!("{} {}", request.method, clip(&request.path)))
    }

    /// Sends GET as clients do: for manifests, with all types that they know.
    pub fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.send(&reading("GET", path))
    }

    pub fn head(&self, path: &str) -> anyhow::Result<Response> {
        self.send(&reading("HEAD", path))
    }

    pub fn delete(&self, path: &str) -> anyhow::Result<Response> {
        self.send(&Request::new("DELETE", path))
    }

    /// Begins an upload session.
    pub fn begin(&self) -> anyhow::Result<Session> {
        let answer = self.send(&Request::new("POST", self.uploads()))?;
        answer.expect(202).context("begin an upload")?;
        Session::of(&self.target, &answer)
    }

    /// Pushes a blob under sha256 and returns its digest.
    pub fn push_blob(&self, bytes: &[u8]) -> anyhow::Result<String> {
        let digest = sha256(bytes);
        self.push_blob_as(Style::PostPut, &digest, bytes)?.expect(201).context("push a blob")?;
        Ok(digest)
    }

    /// Pushes a blob in one style. Returns the last answer, even an error.
    pub fn push_blob_as(&self, style: Style, digest: &str, bytes: &[u8]) -> anyhow::Result<Response> {
        let half = bytes.len() / 2;
        if style == Style::Post {
            let path = with_query(&self.uploads(), &format!("digest={digest}"));
            return self.send(&octets(Request::new("POST", path)).body(bytes));
        }
        let mut session = self.begin()?;
        match style {
            Style::Post | Style::PostPut => return session.close_with(digest, bytes),
            Style::Stream => session.stream(bytes)?,
            Style::Chunks => {
                session.chunk(0, &bytes[..half])?;
                session.chunk(half, &bytes[half..])?;
            }
            Style::ChunkAndPut => {
                session.chunk(0, &bytes[..half])?;
                return session.close_range(digest, half, &bytes[half..]);
            }
        }
        session.close(digest)
    }

    /// Runs `act`, and fails if any probe answers differently afterwards.
    pub fn unchanged(&self, probes: &[String], act: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let before = self.look(probes)?;
        act()?;
        let after = self.look(probes)?;
        for (old, new) in before.iter().zip(&after) {
            ensure!(old == new, "a refused request changed the state: {old:?} became {new:?}");
        }
        Ok(())
    }

    fn look(&self, probes: &[String]) -> anyhow::Result<Vec<Seen>> {
        let seen = |path: &String| {
            let answer = self.get(path)?;
            let kept = |name: &str| answer.header(name).map(str::to_owned);
            Ok(Seen {
                path: clip(path),
                status: answer.status,
                digest: kept("Docker-Content-Digest"),
                media_type: kept("Content-Type"),
                range: kept("Range"),
                // The body of an error may contain the request id, which always differs.
                body: if answer.status < 400 { sha256(&answer.body) } else { String::new() },
            })
        };
        probes.iter().map(seen).collect()
    }
}

/// The result of one probe of [`Repo::unchanged`].
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: String,
    status: u16,
    digest: Option<String>,
    media_type: Option<String>,
    range: Option<String>,
    body: String,
}
