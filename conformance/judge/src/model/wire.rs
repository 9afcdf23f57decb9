//! Operations as HTTP requests, over kept-alive connections.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::client::{Connection, Request, Response, Target, reading};
use serde_json::Value;

use crate::model::op::Op;

/// Idle connections older than this are replaced, since a server may have closed them.
const IDLE: Duration = Duration::from_secs(4);

/// Most pages of one list that are followed.
const PAGES: usize = 10_000;

/// One client: its connections, and the locations of its upload sessions.
#[derive(Debug)]
pub struct Wire {
    target: Target,
    lanes: Vec<Option<(Connection, Instant)>>,
    locations: HashMap<u32, Location>,
}

#[derive(Clone, Debug)]
struct Location {
    repo: String,
    path: String,
}

impl Wire {
    /// A client that can have `lanes` requests in flight at once.
    pub fn new(target: Target, lanes: usize) -> Self {
        Wire { target, lanes: (0..lanes).map(|_| None).collect(), locations: HashMap::new() }
    }

    /// Drops the connections, after the server was restarted.
    pub fn hang_up(&mut self) {
        self.lanes.fill_with(|| None);
    }

    /// Sends one operation and waits for its answer. Lists are followed to their last page.
    pub fn run(&mut self, op: &Op) -> anyhow::Result<Response> {
        self.write(0, op)?;
        // Repositories of other clients appear and disappear between the pages of the catalog.
        let pages = if matches!(op, Op::Referrers { .. }) { Pages::OfOneState } else { Pages::WhileThingsChange };
        self.read(0, op, pages)
    }

    /// Sends operations at the same time. A broken connection is an error.
    pub fn run_together(&mut self, ops: &[Op]) -> Vec<anyhow::Result<Response>> {
        let written: Vec<_> = ops.iter().enumerate().map(|(lane, op)| self.write(lane, op)).collect();
        let mut out = Vec::new();
        for (lane, (op, written)) in ops.iter().zip(written).enumerate() {
            out.push(written.and_then(|()| self.read(lane, op, Pages::WhileThingsChange)));
        }
        out
    }

    /// Sends without reading, for a server that is about to be killed.
    pub fn write(&mut self, lane: usize, op: &Op) -> anyhow::Result<()> {
        let request = self.request(op);
        let connection = self.connection(lane)?;
        connection.write(&request)
    }

    fn connection(&mut self, lane: usize) -> anyhow::Result<&mut Connection> {
        if self.lanes[lane].as_ref().is_none_or(|(_, used)| used.elapsed() > IDLE) {
            self.lanes[lane] = None;
        }
        if self.lanes[lane].is_none() {
            self.lanes[lane] = Some((Connection::open(&self.target)?, Instant::now()));
        }
        let (connection, used) = self.lanes[lane].as_mut().context("just opened")?;
        *used = Instant::now();
        Ok(connection)
    }

    fn read(&mut self, lane: usize, op: &Op, pages: Pages) -> anyhow::Result<Response> {
        let mut response = self.read_one(lane, op)?;
        let key = match op {
            Op::Catalog { .. } => "repositories",
            Op::Referrers { .. } => "manifests",
            _ => {
                self.note_location(op, &response);
                return Ok(response);
            }
        };
        for _ in 0..PAGES {
            let Some(next) = next_page(&response) else { return Ok(response) };
            self.connection(lane)?.write(&Request::get(next))?;
            let page = self.read_one(lane, op)?;
            response = merge(&response, &page, key, pages)?;
        }
        anyhow::bail!("more than {PAGES} pages")
    }

    fn read_one(&mut self, lane: usize, op: &Op) -> anyhow::Result<Response> {
        let (connection, _) = self.lanes[lane].as_mut().context("no connection")?;
        let read = connection.read(op.is_head());
        let closes = |response: &Response| {
            response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
        };
        if read.as_ref().map_or(true, closes) {
            self.lanes[lane] = None;
        }
        read
    }

    fn note_location(&mut self, op: &Op, response: &Response) {
        let (Op::StartUpload { repo, slot, .. } | Op::Mount { repo, slot, .. } | Op::Patch { repo, slot, .. }) = op
        else {
            return;
        };
        if response.status == 202
            && let Some(location) = response.header("Location")
        {
            let path = path_of(location).to_owned();
            self.locations.insert(*slot, Location { repo: repo.clone(), path });
        }
    }

    /// The location of a session, requested through some repository. A slot without a session gets one that never
    /// existed.
    fn location(&self, slot: u32, repo: &str) -> String {
        match self.locations.get(&slot) {
            Some(location) if location.repo == repo => location.path.clone(),
            Some(location) => location.path.replacen(&format!("/v2/{}/", location.repo), &format!("/v2/{repo}/"), 1),
            None => format!("/v2/{repo}/blobs/uploads/00000000-0000-4000-8000-{slot:012x}"),
        }
    }

    fn request(&self, op: &Op) -> Request {
        match op {
            Op::StartUpload { repo, algorithm, junk, .. } => {
                let query = algorithm.as_ref().map_or(String::new(), |name| format!("?digest-algorithm={name}"));
                let request = Request::new("POST", format!("/v2/{repo}/blobs/uploads/{query}"));
                if *junk { request.body(*b"nobody asked for this") } else { request }
            }
            Op::PostBlob { repo, bytes, digest, chunked } => {
                let request = Request::new("POST", format!("/v2/{repo}/blobs/uploads/?digest={digest}"));
                with_body(request, bytes.bytes(), *chunked)
            }
            Op::Mount { repo, digest, from, .. } => {
                let from = from.as_ref().map_or(String::new(), |from| format!("&from={from}"));
                Request::new("POST", format!("/v2/{repo}/blobs/uploads/?mount={digest}{from}"))
            }
            Op::Patch { repo, slot, bytes, range, chunked } => {
                let request = Request::new("PATCH", self.location(*slot, repo));
                with_body(ranged(request, range.as_deref()), bytes.bytes(), *chunked)
            }
            Op::UploadStatus { repo, slot } => Request::get(self.location(*slot, repo)),
            Op::CancelUpload { repo, slot } => Request::new("DELETE", self.location(*slot, repo)),
            Op::CloseUpload { repo, slot, digest, bytes, range } => {
                let mut path = self.location(*slot, repo);
                if let Some(digest) = digest {
                    path.extend([if path.contains('?') { "&digest=" } else { "?digest=" }, digest.as_str()]);
                }
                let request = ranged(Request::new("PUT", path), range.as_deref());
                bytes.as_ref().map_or(request.clone(), |bytes| with_body(request, bytes.bytes(), false))
            }
            // Some registries hide manifests whose type the client does not accept.
            Op::GetManifest { repo, reference, head, if_none_match: None } if !self.target.own => {
                reading(get_or_head(*head), &format!("/v2/{repo}/manifests/{reference}"))
            }
            _ => held_request(op),
        }
    }
}

/// Requests about the content of a repository, without a session.
fn held_request(op: &Op) -> Request {
    match op {
        Op::GetBlob { repo, digest, head, range } => {
            let request = Request::new(get_or_head(*head), format!("/v2/{repo}/blobs/{digest}"));
            range.as_ref().map_or(request.clone(), |range| request.header("Range", range))
        }
        Op::DeleteBlob { repo, digest } => Request::new("DELETE", format!("/v2/{repo}/blobs/{digest}")),
        Op::PutManifest { repo, reference, tags, digest, content_type, body } => {
            let tags = tags.iter().map(|tag| format!("tag={tag}"));
            let query: Vec<_> = tags.chain(digest.iter().map(|digest| format!("digest={digest}"))).collect();
            let mark = if query.is_empty() { "" } else { "?" };
            let path = format!("/v2/{repo}/manifests/{reference}{mark}{}", query.join("&"));
            let request = Request::new("PUT", path).body(body.as_bytes());
            content_type.as_ref().map_or(request.clone(), |kind| request.header("Content-Type", kind))
        }
        Op::GetManifest { repo, reference, head, if_none_match } => {
            let request = Request::new(get_or_head(*head), format!("/v2/{repo}/manifests/{reference}"));
            if_none_match.as_ref().map_or(request.clone(), |etag| request.header("If-None-Match", etag))
        }
        Op::DeleteManifest { repo, reference } => Request::new("DELETE", format!("/v2/{repo}/manifests/{reference}")),
        Op::Tags { repo, n, last } => {
            let query = [n.as_ref().map(|n| format!("n={n}")), last.as_ref().map(|last| format!("last={last}"))];
            let query: Vec<_> = query.into_iter().flatten().collect();
            let mark = if query.is_empty() { "" } else { "?" };
            Request::get(format!("/v2/{repo}/tags/list{mark}{}", query.join("&")))
        }
        Op::Catalog { n } => Request::get(format!("/v2/_catalog{}", count(*n, '?'))),
        Op::Referrers { repo, digest, artifact_type, n } => {
            let filter = artifact_type.as_ref().map_or(String::new(), |kind| format!("?artifactType={kind}"));
            let mark = if filter.is_empty() { '?' } else { '&' };
            Request::get(format!("/v2/{repo}/referrers/{digest}{filter}{}", count(*n, mark)))
        }
        _ => Request::get("/v2/"),
    }
}

fn count(n: Option<u32>, mark: char) -> String {
    n.map_or(String::new(), |n| format!("{mark}n={n}"))
}

fn get_or_head(head: bool) -> &'static str {
    if head { "HEAD" } else { "GET" }
}

fn ranged(request: Request, range: Option<&str>) -> Request {
    range.map_or(request.clone(), |range| request.header("Content-Range", range))
}

fn with_body(request: Request, bytes: Vec<u8>, chunked: bool) -> Request {
    let request = request.header("Content-Type", "application/octet-stream");
    if chunked { request.chunked(bytes, 700) } else { request.body(bytes) }
}

/// The path and query of a relative or absolute URL.
pub fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    }
}

fn next_page(response: &Response) -> Option<String> {
    let link = response.header("Link").filter(|link| link.contains("rel=\"next\""))?;
    let url = link.split_once('<')?.1.split_once('>')?.0;
    Some(path_of(url).to_owned())
}

/// What may change between two pages of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    /// Nothing: after a `Link` there must be more.
    OfOneState,
    /// The rest of the list may be deleted.
    WhileThingsChange,
}

/// Joins two pages under the head of the second.
fn merge(first: &Response, second: &Response, key: &str, pages: Pages) -> anyhow::Result<Response> {
    second.expect(200)?;
    let items = |response: &Response| -> anyhow::Result<Vec<Value>> {
        Ok(response.json()?.get(key).and_then(Value::as_array).with_context(|| format!("no {key}"))?.clone())
    };
    let (mut all, more) = (items(first)?, items(second)?);
    anyhow::ensure!(!more.is_empty() || pages == Pages::WhileThingsChange, "an empty page after a Link");
    all.extend(more);
    let mut body = first.json()?;
    body[key] = Value::Array(all);
    Ok(Response { body: serde_json::to_vec(&body)?, ..second.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::content::Content;

    fn wire() -> Wire {
        Wire::new(Target::new("h", 1), 1)
    }

    #[test]
    fn a_location_is_used_as_given_and_moves_with_a_foreign_repository() {
        let mut wire = wire();
        let open = Op::StartUpload { repo: "a/b".to_owned(), slot: 3, algorithm: None, junk: false };
        let headers = vec![("location".to_owned(), "http://h:1/v2/a/b/blobs/uploads/x?_state=y".to_owned())];
        wire.note_location(&open, &Response { status: 202, headers, body: Vec::new(), own: true });
        let digest = Content::whole(1).digest("sha256");
        let close = |repo: &str| Op::CloseUpload {
            repo: repo.to_owned(),
            slot: 3,
            digest: Some(digest.clone()),
            bytes: None,
            range: None,
        };
        let path = wire.request(&close("a/b")).path;
        assert_eq!(path, format!("/v2/a/b/blobs/uploads/x?_state=y&digest={digest}"));
        assert!(wire.request(&close("c")).path.starts_with("/v2/c/blobs/uploads/x?"));
    }

    #[test]
    fn pages_add_up() {
        let page =
            |body: &str| Response { status: 200, headers: Vec::new(), body: body.as_bytes().to_vec(), own: true };
        let (first, second) = (page(r#"{"manifests":["a"]}"#), page(r#"{"manifests":["b"]}"#));
        let both = merge(&first, &second, "manifests", Pages::OfOneState);
        assert_eq!(both.unwrap().text(), r#"{"manifests":["a","b"]}"#);
    }

    #[test]
    fn a_last_page_that_was_deleted_between_two_requests_is_no_disagreement() {
        let page =
            |body: &str| Response { status: 200, headers: Vec::new(), body: body.as_bytes().to_vec(), own: true };
        let (first, second) = (page(r#"{"manifests":["a"]}"#), page(r#"{"manifests":[]}"#));
        assert!(merge(&first, &second, "manifests", Pages::OfOneState).is_err());
        let both = merge(&first, &second, "manifests", Pages::WhileThingsChange);
        assert_eq!(both.unwrap().text(), r#"{"manifests":["a"]}"#);
    }
}
