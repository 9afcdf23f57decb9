//! One client of the crash gate. It pushes and deletes in its own repository, and records the promises made to it.

mod verify;

use std::collections::BTreeMap;

use anyhow::Context;
use conformance::model::content::Content;
use conformance::model::wire::path_of;
use harness::client::{Connection, Request, Response, Target};
use harness::manifest::IMAGE;
use harness::random::Random;
use harness::site::digest as digest_of;
use serde_json::json;

const TAGS: usize = 6;
/// With more manifests than this, a client prefers to delete.
const MANIFESTS: usize = 20;

/// A client's knowledge of one blob or manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Acknowledged.
    There,
    /// Its deletion was acknowledged.
    Gone,
    /// A request about it was not answered, or a collection may remove it.
    Unsure,
}

#[derive(Clone, Debug)]
struct Blob {
    content: Content,
    fate: Fate,
    /// Read back since it was pushed.
    checked: bool,
}

#[derive(Clone, Debug)]
struct Manifest {
    body: Vec<u8>,
    blobs: Vec<String>,
    fate: Fate,
}

/// A client with its own repository.
#[derive(Debug)]
pub struct Pusher {
    pub repo: String,
    others: Vec<String>,
    random: Random,
    blobs: BTreeMap<String, Blob>,
    manifests: BTreeMap<String, Manifest>,
    /// The manifests that each tag may point to.
    tags: BTreeMap<String, Vec<Option<String>>>,
    seeds: u32,
    pub pushes: u64,
    pub deletes: u64,
}

impl Pusher {
    pub fn new(number: u32, repo: String, others: Vec<String>, random: Random) -> Self {
        Pusher {
            repo,
            others,
            random,
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            seeds: (number + 1) << 20,
            pushes: 0,
            deletes: 0,
        }
    }

    /// Works until the connection breaks. Any other error is the registry's fault.
    pub fn work(&mut self, target: &Target, dying: &dyn Fn() -> bool) -> anyhow::Result<()> {
        let Ok(mut connection) = Connection::open(target) else { return Ok(()) };
        loop {
            let result = match self.random.below(10) {
                0 => self.delete_tag(&mut connection),
                1 | 2 => self.delete_manifest(&mut connection),
                3 => self.delete_blob(&mut connection),
                _ if self.held().len() > MANIFESTS => self.delete_manifest(&mut connection),
                _ => self.push(&mut connection),
            };
            match result {
                Ok(()) if dying() => return Ok(()),
                Ok(()) => {}
                // Failures while the server dies are no answers. The recorded facts already cover them.
                Err(error) if dying() && error.downcast_ref::<Wrong>().is_none() => return Ok(()),
                Err(error) => return Err(error.context(self.repo.clone())),
            }
        }
    }

    /// The manifests that it has not deleted.
    pub fn held(&self) -> Vec<String> {
        self.manifests.iter().filter(|(_, m)| m.fate == Fate::There).map(|(digest, _)| digest.clone()).collect()
    }

    fn push(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let count = 1 + self.random.below(3);
        let mut blobs = Vec::new();
        for _ in 0..count {
            blobs.push(self.push_blob(connection)?);
        }
        let size = |digest: &String| self.blobs[digest].content.len();
        let layer = |digest: &String| json!({ "mediaType": "x/layer", "digest": digest, "size": size(digest) });
        let body = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": layer(&blobs[0]),
            "layers": blobs[1..].iter().map(layer).collect::<Vec<_>>(),
            "annotations": { "n": self.random.next().to_string() },
        });
        let body = body.to_string().into_bytes();
        let digest = digest_of("sha256", &body);
        let tag = format!("t{}", self.random.below(TAGS));
        self.manifests
            .insert(digest.clone(), Manifest { body: body.clone(), blobs: blobs.clone(), fate: Fate::Unsure });
        self.tags.entry(tag.clone()).or_insert_with(|| vec![None]).push(Some(digest.clone()));
        let request = Request::new("PUT", format!("/v2/{}/manifests/{tag}", self.repo));
        let answer = connection.send(&request.header("Content-Type", IMAGE).body(body))?;
        if answer.status == 400 && answer.error_code().as_deref() == Some("MANIFEST_BLOB_UNKNOWN") {
            // An unreferenced blob was collected before its manifest came, since the grace is short here.
            self.manifests.remove(&digest);
            self.forget_tag_candidate(&tag);
            for blob in &blobs {
                self.set_blob(blob, Fate::Unsure);
            }
            return Ok(());
        }
        wrong(&answer, 201)?;
        self.tags.insert(tag, vec![Some(digest.clone())]);
        self.manifests.get_mut(&digest).context("just inserted")?.fate = Fate::There;
        self.pushes += 1;
        Ok(())
    }

    fn forget_tag_candidate(&mut self, tag: &str) {
        if let Some(candidates) = self.tags.get_mut(tag) {
            candidates.pop();
        }
    }

    fn set_blob(&mut self, digest: &str, fate: Fate) {
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.fate = fate;
        }
    }

    /// Pushes a new blob, pushes an existing one again, or mounts one from another client's repository.
    fn push_blob(&mut self, connection: &mut Connection) -> anyhow::Result<String> {
        let content = match self.random.below(10) {
            0..3 => Content::Seeded(self.random.below(5) as u32, 0, 3000),
            3 => {
                self.seeds += 1;
                Content::Seeded(self.seeds, 0, (1 << 20) + self.random.below(5 << 20) as u32)
            }
            _ => {
                self.seeds += 1;
                Content::Seeded(self.seeds, 0, self.random.below(40_000) as u32)
            }
        };
        let bytes = content.bytes();
        let digest = digest_of("sha256", &bytes);
        let held = self.blobs.get(&digest).is_some_and(|blob| blob.fate == Fate::There);
        if !held {
            self.blobs.insert(digest.clone(), Blob { content, fate: Fate::Unsure, checked: false });
        }
        self.upload(connection, &digest, &bytes)?;
        self.set_blob(&digest, Fate::There);
        Ok(digest)
    }

    fn upload(&mut self, connection: &mut Connection, digest: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let start = format!("/v2/{}/blobs/uploads/", self.repo);
        if bytes.len() == 3000 && self.random.chance(50) && !self.others.is_empty() {
            let from = self.random.pick(&self.others).clone();
            let answer = connection.send(&Request::new("POST", format!("{start}?mount={digest}&from={from}")))?;
            if answer.status == 201 {
                return Ok(());
            }
            wrong(&answer, 202)?;
            return Self::close(connection, &answer, digest, bytes);
        }
        if self.random.chance(25) {
            let answer = connection.send(&Request::new("POST", format!("{start}?digest={digest}")).body(bytes))?;
            return wrong(&answer, 201);
        }
        let mut answer = connection.send(&Request::new("POST", start))?;
        wrong(&answer, 202)?;
        let style = self.random.below(3);
        let cut = match style {
            0 => 0,
            1 => bytes.len(),
            _ => bytes.len() / 2,
        };
        let piece = if style == 2 { (bytes.len() / 4).max(1) } else { bytes.len().max(1) };
        let mut offset = 0;
        for part in bytes[..cut].chunks(piece) {
            let mut request = Request::new("PATCH", location(&answer)?);
            if style == 2 {
                request = request.header("Content-Range", format!("{offset}-{}", offset + part.len() - 1)).body(part);
            } else {
                request = request.chunked(part, 64 * 1024);
            }
            answer = connection.send(&request)?;
            wrong(&answer, 202)?;
            offset += part.len();
        }
        Self::close(connection, &answer, digest, &bytes[cut..])
    }

    fn close(connection: &mut Connection, at: &Response, digest: &str, rest: &[u8]) -> anyhow::Result<()> {
        let mut path = location(at)?;
        path.extend([if path.contains('?') { "&digest=" } else { "?digest=" }, digest]);
        wrong(&connection.send(&Request::new("PUT", path).body(rest))?, 201)
    }

    fn delete_tag(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let tag = format!("t{}", self.random.below(TAGS));
        let Some(before) = self.tags.get(&tag).cloned() else { return Ok(()) };
        self.tags.entry(tag.clone()).or_default().push(None);
        let answer = connection.send(&Request::new("DELETE", format!("/v2/{}/manifests/{tag}", self.repo)))?;
        if before == [None] {
            wrong(&answer, 404)?;
        } else if !before.contains(&None) {
            wrong(&answer, 202)?;
        }
        self.tags.insert(tag, vec![None]);
        self.deletes += 1;
        Ok(())
    }

    fn delete_manifest(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let held = self.held();
        if held.is_empty() {
            return Ok(());
        }
        let digest = self.random.pick(&held).clone();
        for candidates in self.tags.values_mut().filter(|c| c.contains(&Some(digest.clone()))) {
            candidates.push(None);
        }
        self.manifests.get_mut(&digest).context("held")?.fate = Fate::Unsure;
        let answer = connection.send(&Request::new("DELETE", format!("/v2/{}/manifests/{digest}", self.repo)))?;
        wrong(&answer, 202)?;
        for candidates in self.tags.values_mut() {
            candidates.retain(|candidate| candidate.as_ref() != Some(&digest));
        }
        self.manifests.get_mut(&digest).context("held")?.fate = Fate::Gone;
        self.doubt_unreferenced();
        self.deletes += 1;
        Ok(())
    }

    /// Marks unreferenced blobs as unsure, since they may be collected at any time.
    fn doubt_unreferenced(&mut self) {
        let held: Vec<String> =
            self.manifests.values().filter(|m| m.fate == Fate::There).flat_map(|m| m.blobs.clone()).collect();
        for (digest, blob) in &mut self.blobs {
            if blob.fate == Fate::There && !held.contains(digest) {
                blob.fate = Fate::Unsure;
            }
        }
    }

    fn delete_blob(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let loose: Vec<String> =
            self.blobs.iter().filter(|(_, b)| b.fate != Fate::Gone).map(|(d, _)| d.clone()).collect();
        if loose.is_empty() {
            return Ok(());
        }
        let digest = self.random.pick(&loose).clone();
        let needed = self.manifests.values().any(|m| m.fate == Fate::There && m.blobs.contains(&digest));
        if !needed {
            self.set_blob(&digest, Fate::Unsure);
        }
        let answer = connection.send(&Request::new("DELETE", format!("/v2/{}/blobs/{digest}", self.repo)))?;
        match answer.status {
            202 | 404 if !needed => self.set_blob(&digest, Fate::Gone),
            // An unanswered manifest may reference it.
            405 => {}
            _ => wrong(&answer, if needed { 405 } else { 202 })?,
        }
        self.deletes += 1;
        Ok(())
    }
}

/// An answer that is wrong in every case.
#[derive(Debug)]
struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn wrong(answer: &Response, status: u16) -> anyhow::Result<()> {
    answer.expect(status).map(drop).map_err(|error| Wrong(format!("{error:#}")).into())
}

fn location(answer: &Response) -> anyhow::Result<String> {
    Ok(path_of(answer.need("Location")?).to_owned())
}
