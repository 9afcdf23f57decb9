//! A registry made from the model, with or without a fault, to test the checker.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use harness::client::{Response, Target};
use serde_json::json;

use crate::model::answer::answer;
use crate::model::content::Content;
use crate::model::expected::{Answer, Body, Want};
use crate::model::op::Op;
use crate::model::reading::INDEX;
use crate::model::state::{Effect, State};

/// The answer as a server would send it.
pub(crate) fn render(answer: &Answer, head: bool) -> Response {
    let headers = answer.headers.iter().filter_map(|(name, want)| {
        let value = match want {
            Want::Is(value) | Want::Starts(value) => value.clone(),
            Want::List(values) => values.iter().cloned().collect::<Vec<_>>().join(","),
            Want::Next => "</v2/next>; rel=\"next\"".to_owned(),
            Want::Absent => return None,
        };
        Some(((*name).to_owned(), value))
    });
    let mut headers: Vec<_> = headers.collect();
    let body = match &answer.body {
        Body::Any | Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Error(codes, count) => {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            let one = json!({ "code": codes.first().unwrap_or(&"UNSUPPORTED") });
            json!({ "errors": vec![one; count.unwrap_or(1)] }).to_string().into_bytes()
        }
        Body::Tags(name, tags) => json!({ "name": name, "tags": tags }).to_string().into_bytes(),
        Body::Catalog(_, names) => json!({ "repositories": names }).to_string().into_bytes(),
        Body::Referrers(list) => {
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": list }).to_string().into_bytes()
        }
    };
    Response { status: answer.status, headers, body: if head { Vec::new() } else { body }, own: true }
}

/// The fault of the fake registry.
pub(crate) type Fault = fn(&Op, &Effect) -> bool;

#[derive(Default)]
struct Registry {
    state: State,
    next_slot: u32,
}

/// Starts a registry that acknowledges but forgets the effects that `fault` selects.
pub(crate) fn serve(fault: Fault) -> Target {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let registry = Arc::new(Mutex::new(Registry::default()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let registry = Arc::clone(&registry);
            std::thread::spawn(move || converse(&stream.unwrap(), &registry, fault));
        }
    });
    Target::local(port)
}

fn converse(stream: &TcpStream, registry: &Mutex<Registry>, fault: Fault) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = Incoming::read(&mut reader) {
        let (head, response) = registry.lock().unwrap().run(&request, fault);
        let mut out = format!("HTTP/1.1 {} x\r\n", response.status);
        for (name, value) in &response.headers {
            out.extend([name, ": ", value, "\r\n"]);
        }
        if response.header("Content-Length").is_none() && !matches!(response.status, 204 | 304) {
            out.extend(["Content-Length: ", &response.body.len().to_string(), "\r\n"]);
        }
        out += "\r\n";
        let body = if head { &[][..] } else { &response.body };
        (&*stream).write_all(&[out.as_bytes(), body].concat()).unwrap();
    }
}

impl Registry {
    fn run(&mut self, request: &Incoming, fault: Fault) -> (bool, Response) {
        self.next_slot += 1;
        let op = request.op(self.next_slot);
        let slot = op.slot().unwrap_or(self.next_slot);
        let answer = answer(&self.state, &op, false).swap_remove(0);
        let mut response = render(&answer, op.is_head());
        for (name, value) in &mut response.headers {
            if name == "Location" && value.ends_with("/uploads/") {
                *value += &slot.to_string();
            }
        }
        if !fault(&op, &answer.effect) {
            self.state.apply(answer.effect);
        }
        (op.is_head(), response)
    }
}

struct Incoming {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Incoming {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let first = line(reader)?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut headers = Vec::new();
        while let Some((name, value)) = line(reader)?.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut new = Incoming { method, path: path.to_owned(), query: query.collect(), headers, body: Vec::new() };
        if new.header("transfer-encoding").is_some() {
            loop {
                let size = u64::from_str_radix(&line(reader)?, 16).ok()?;
                reader.take(size).read_to_end(&mut new.body).ok()?;
                line(reader)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = new.header("content-length") {
            reader.take(length.parse().ok()?).read_to_end(&mut new.body).ok()?;
        }
        Some(new)
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn op(&self, slot: u32) -> Op {
        let path = self.path.strip_prefix("/v2/").unwrap();
        let n = || self.query("n").and_then(|n| n.parse().ok());
        let head = self.method == "HEAD";
        if path == "_catalog" {
            return Op::Catalog { n: n() };
        }
        if let Some((repo, id)) = path.rsplit_once("/blobs/uploads/") {
            return self.upload_op(repo.to_owned(), id, slot);
        }
        let mut parts = path.rsplitn(3, '/').map(str::to_owned);
        let (last, kind, repo) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        match (self.method.as_str(), kind.as_str()) {
            (_, "tags") => Op::Tags { repo, n: self.query("n"), last: self.query("last") },
            (_, "referrers") => Op::Referrers { repo, digest: last, artifact_type: self.query("artifactType"), n: n() },
            ("DELETE", "blobs") => Op::DeleteBlob { repo, digest: last },
            ("DELETE", _) => Op::DeleteManifest { repo, reference: last },
            (_, "blobs") => Op::GetBlob { repo, digest: last, head, range: self.header("range") },
            ("PUT", _) => Op::PutManifest {
                repo,
                reference: last,
                tags: self.query.iter().filter(|(key, _)| key == "tag").map(|(_, tag)| tag.clone()).collect(),
                digest: self.query("digest"),
                content_type: self.header("content-type"),
                body: String::from_utf8(self.body.clone()).unwrap(),
            },
            _ => Op::GetManifest { repo, reference: last, head, if_none_match: self.header("if-none-match") },
        }
    }

    fn upload_op(&self, repo: String, id: &str, new: u32) -> Op {
        let slot = id.parse().unwrap_or(u32::MAX);
        let bytes = Content::Raw(self.body.clone());
        match (self.method.as_str(), self.query("digest"), self.query("mount")) {
            ("POST", _, Some(digest)) => Op::Mount { repo, slot: new, digest, from: self.query("from"), bytes: None },
            ("POST", Some(digest), _) => Op::PostBlob { repo, bytes, digest, chunked: false },
            ("POST", ..) => Op::StartUpload { repo, slot: new, algorithm: self.query("digest-algorithm"), junk: false },
            ("PATCH", ..) => Op::Patch { repo, slot, bytes, range: self.header("content-range"), chunked: false },
            ("DELETE", ..) => Op::CancelUpload { repo, slot },
            ("PUT", digest, _) => {
                Op::CloseUpload { repo, slot, digest, bytes: Some(bytes), range: self.header("content-range") }
            }
            _ => Op::UploadStatus { repo, slot },
        }
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
}

mod tests {
    use super::*;
    use crate::model::place::Place;
    use crate::model::run::{Ending, Plan, episode};
    use crate::model::shrink::shrink;

    fn plan(operations: u64) -> Plan {
        Plan { seed: 5, operations, clients: 2, crashes: false }
    }

    #[test]
    fn a_registry_without_a_fault_agrees() {
        let mut place = Place::url(serve(|_, _| false));
        match episode(&mut place, &plan(4_000)).unwrap() {
            Ending::Agreed(tally) => assert!(tally.operations >= 4_000 && tally.requests > tally.operations),
            Ending::Disagreed(_, disagreement) => panic!("{disagreement:?}"),
        }
    }

    #[test]
    fn a_registry_of_others_agrees_without_a_fault_only() {
        let of_others = |fault: Fault| Place::url(Target { own: false, ..serve(fault) });
        let ending = episode(&mut of_others(|_, _| false), &plan(4_000)).unwrap();
        assert!(matches!(ending, Ending::Agreed(_)), "{ending:?}");
        let forgets = |_: &Op, effect: &Effect| matches!(effect, Effect::PutManifest { tags, .. } if !tags.is_empty());
        let ending = episode(&mut of_others(forgets), &plan(4_000)).unwrap();
        assert!(matches!(ending, Ending::Disagreed(..)), "a push by tag that is forgotten");
    }

    /// The number of steps in the shrunk script that shows a fault.
    fn steps_to_show(fault: Fault) -> usize {
        let mut place = Place::url(serve(fault));
        let Ending::Disagreed(script, _) = episode(&mut place, &plan(20_000)).unwrap() else { panic!("not found") };
        let shrunk = shrink(&mut place, &script).unwrap().expect("it shows again");
        shrunk.script.steps.len()
    }

    #[test]
    fn a_tag_that_survives_its_deletion_is_found() {
        let steps = steps_to_show(|_, effect| matches!(effect, Effect::RemoveTag { tag, .. } if tag == "v1.0"));
        assert!((3..=6).contains(&steps), "{steps} steps: a manifest, its delete and a look are needed");
    }

    #[test]
    fn a_chunk_that_gets_lost_is_found() {
        let steps = steps_to_show(|op, _| matches!(op, Op::Patch { range: Some(_), bytes, .. } if bytes.len() > 5000));
        assert!((2..=4).contains(&steps), "{steps} steps: begin, chunk and a look are needed");
    }
}
