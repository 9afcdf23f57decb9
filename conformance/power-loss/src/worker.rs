//! One client of a recording. It pushes and deletes in two repositories of its own, and records the promises made to
//! it.

use std::collections::BTreeMap;

use anyhow::bail;
use harness::client::{Request, Response, Target};
use harness::manifest::{IMAGE, INDEX, Manifest, descriptor, image, index};
use harness::noise::noise;
use harness::random::Random;
use harness::site::{ALGORITHMS, Repo, STYLES, Style, digest};
use serde_json::json;

use super::lives::Lives;
use super::promise::{Key, Promises, Value};

const TAGS: usize = 5;
/// Contents that all clients push, so that several write the same file at once.
const COMMON: usize = 6;
/// With more manifests than this, a client prefers to delete.
const MANIFESTS: usize = 10;

/// A client with two repositories.
#[derive(Debug)]
pub struct Worker {
    pub repos: [Repo; 2],
    pub random: Random,
    pub promises: Promises,
    pub label: String,
    contents: usize,
    /// Sizes of all pushed content.
    sizes: BTreeMap<String, usize>,
    /// Open sessions, as positions in `promises.sessions`.
    pub open: Vec<usize>,
    /// The references of each manifest.
    references: BTreeMap<Key, Vec<String>>,
    /// The id of the last answer.
    pub last_answer: String,
}

impl Worker {
    pub fn new(number: usize, target: &Target, seed: u64) -> Self {
        let repo = |name: &str| Repo { target: target.clone(), name: format!("power/{number}/{name}") };
        Worker {
            repos: [repo("a"), repo("b")],
            random: Random::new(seed),
            promises: Promises::default(),
            label: format!("{seed} {number}"),
            contents: 0,
            sizes: BTreeMap::new(),
            open: Vec::new(),
            references: BTreeMap::new(),
            last_answer: String::new(),
        }
    }

    /// Does one push, delete, or upload step.
    pub fn step(&mut self, lives: &Lives) -> anyhow::Result<()> {
        let repo = self.random.below(2);
        match self.random.below(20) {
            0 | 1 => self.delete_tag(lives, repo),
            2 | 3 => self.delete_manifest(lives, repo),
            4 | 5 => self.delete_blob(lives, repo),
            6..=9 => self.upload_step(lives, repo),
            _ if self.manifests(repo).len() > MANIFESTS => self.delete_manifest(lives, repo),
            _ => self.push(lives, repo),
        }
    }

    /// Bytes that only this client has, or that all have.
    pub fn content(&mut self) -> Vec<u8> {
        if self.random.chance(20) {
            return noise(&format!("common {}", self.random.below(COMMON)), 3000);
        }
        self.contents += 1;
        let length = match self.random.below(12) {
            0 => 70_000 + self.random.below(300_000),
            1 => self.random.below(2),
            _ => self.random.below(20_000),
        };
        noise(&format!("{} {}", self.label, self.contents), length)
    }

    fn push(&mut self, lives: &Lives, repo: usize) -> anyhow::Result<()> {
        let held = self.manifests(repo);
        if held.len() > 1 && self.random.chance(15) {
            let children = [self.random.pick(&held).clone(), self.random.pick(&held).clone()];
            let body = index(&children.each_ref().map(|child| descriptor(IMAGE, child, self.sizes[child])));
            let body = body.with("annotations", json!({"n": self.random.next().to_string()}));
            return self.put_manifest(lives, repo, &Manifest { media_type: INDEX.to_owned(), ..body }, &children);
        }
        let count = 1 + self.random.below(3);
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(self.push_blob(lives, repo)?);
        }
        let described: Vec<_> = parts.iter().map(|part| descriptor("x/layer", part, self.sizes[part])).collect();
        let mut body =
            image(&described[0], &described[1..]).with("annotations", json!({"n": self.random.next().to_string()}));
        if let Some(subject) = held.first()
            && self.random.chance(20)
        {
            body = body.with("subject", descriptor(IMAGE, subject, self.sizes[subject]));
        }
        if self.random.chance(10) {
            // Blobs without a manifest.
            return Ok(());
        }
        self.put_manifest(lives, repo, &body, &parts)
    }

    fn put_manifest(&mut self, lives: &Lives, repo: usize, body: &Manifest, parts: &[String]) -> anyhow::Result<()> {
        let digest = body.digest();
        let site = self.repos[repo].clone();
        let key = Key::Manifest { repo: site.name.clone(), digest: digest.clone() };
        let tag = self.random.chance(75).then(|| format!("t{}", self.random.below(TAGS)));
        let mut keys = vec![key.clone()];
        self.promises.begin(key.clone(), Value::There);
        if let Some(tag) = &tag {
            let key = Key::Tag { repo: site.name.clone(), tag: tag.clone() };
            self.promises.begin(key.clone(), Value::Names(digest.clone()));
            keys.push(key);
        }
        self.sizes.insert(digest.clone(), body.bytes.len());
        self.references.insert(key, parts.to_vec());
        let reference = tag.unwrap_or(digest);
        let answer = lives.insist(|| Ok(site.put(&reference, body)?.expect(201)?.clone()))?;
        self.note(&keys, &answer)
    }

    /// Pushes a blob in any style, or mounts it from the other repository.
    fn push_blob(&mut self, lives: &Lives, repo: usize) -> anyhow::Result<String> {
        let site = self.repos[repo].clone();
        let other = self.repos[1 - repo].clone();
        let elsewhere = self.blobs(1 - repo);
        if !elsewhere.is_empty() && self.random.chance(15) {
            let digest = self.random.pick(&elsewhere).clone();
            let key = Key::Blob { repo: site.name.clone(), digest: digest.clone() };
            self.promises.begin(key.clone(), Value::There);
            let path = format!("{}?mount={digest}&from={}", site.uploads(), other.name);
            let answer = lives.insist(|| Ok(site.send(&Request::new("POST", path.clone()))?.expect(201)?.clone()))?;
            self.note(&[key], &answer)?;
            return Ok(digest);
        }
        let bytes = self.content();
        let algorithm = if self.random.chance(85) { ALGORITHMS[0] } else { *self.random.pick(&ALGORITHMS) };
        let digest = digest(algorithm, &bytes);
        let style = *self.random.pick(&STYLES);
        self.sizes.insert(digest.clone(), bytes.len());
        self.put_blob(lives, repo, style, &digest, &bytes)?;
        Ok(digest)
    }

    pub fn put_blob(
        &mut self,
        lives: &Lives,
        repo: usize,
        style: Style,
        digest: &str,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        let site = self.repos[repo].clone();
        let key = Key::Blob { repo: site.name.clone(), digest: digest.to_owned() };
        self.promises.begin(key.clone(), Value::There);
        let answer = lives.insist(|| Ok(site.push_blob_as(style, digest, bytes)?.expect(201)?.clone()))?;
        self.note(&[key], &answer)
    }

    /// Records that the answer acknowledges changes of these keys.
    pub fn note(&mut self, keys: &[Key], answer: &Response) -> anyhow::Result<()> {
        answer.need("x-request-id")?.clone_into(&mut self.last_answer);
        for key in keys {
            self.promises.answered(key, &self.last_answer);
        }
        Ok(())
    }

    fn delete(&mut self, lives: &Lives, repo: usize, path: &str, keys: &[Key]) -> anyhow::Result<()> {
        let site = self.repos[repo].clone();
        for key in keys {
            self.promises.begin(key.clone(), Value::Gone);
        }
        let mut attempts = 0;
        let answer = lives.insist(|| {
            attempts += 1;
            let answer = site.delete(path)?;
            match answer.status {
                202 => Ok(answer),
                // The attempt without an answer had its effect.
                404 if attempts > 1 => Ok(answer),
                status => bail!("DELETE {path}: {status} {}", answer.text()),
            }
        })?;
        self.note(keys, &answer)
    }

    fn delete_tag(&mut self, lives: &Lives, repo: usize) -> anyhow::Result<()> {
        let site = self.repos[repo].clone();
        let name = &site.name;
        let is_held = |key: &&Key| matches!(key, Key::Tag { repo, .. } if repo == name);
        let held: Vec<Key> = self.promises.keys().filter(is_held).cloned().collect();
        let held: Vec<Key> = held.into_iter().filter(|key| self.promises.latest(key) != Value::Gone).collect();
        let Some(key) = held.first().cloned() else { return Ok(()) };
        let Key::Tag { tag, .. } = &key else { return Ok(()) };
        self.delete(lives, repo, &site.manifest(tag), std::slice::from_ref(&key))
    }

    /// Deletes a manifest and its tags.
    fn delete_manifest(&mut self, lives: &Lives, repo: usize) -> anyhow::Result<()> {
        let site = self.repos[repo].clone();
        let referred = self.referred(repo);
        let held: Vec<String> = self.manifests(repo).into_iter().filter(|digest| !referred.contains(digest)).collect();
        if held.is_empty() {
            return Ok(());
        }
        let digest = self.random.pick(&held).clone();
        let names = Value::Names(digest.clone());
        let mut keys: Vec<Key> = self.promises.keys().filter(|key| self.is_tag(key, repo)).cloned().collect();
        keys.retain(|key| self.promises.latest(key) == names);
        keys.push(Key::Manifest { repo: site.name.clone(), digest: digest.clone() });
        self.delete(lives, repo, &site.manifest(&digest), &keys)
    }

    fn delete_blob(&mut self, lives: &Lives, repo: usize) -> anyhow::Result<()> {
        let Some(digest) = self.unreferenced(repo).first().cloned() else { return Ok(()) };
        let site = self.repos[repo].clone();
        let key = Key::Blob { repo: site.name.clone(), digest: digest.clone() };
        self.delete(lives, repo, &site.blob(&digest), &[key])
    }

    fn is_tag(&self, key: &Key, repo: usize) -> bool {
        matches!(key, Key::Tag { repo: name, .. } if *name == self.repos[repo].name)
    }

    fn manifests(&self, repo: usize) -> Vec<String> {
        let name = &self.repos[repo].name;
        let held = |key: &Key| match key {
            Key::Manifest { repo, digest }
                if repo == name && self.references.contains_key(key) && self.promises.latest(key) == Value::There =>
            {
                Some(digest.clone())
            }
            _ => None,
        };
        self.promises.keys().filter_map(held).collect()
    }

    /// Blobs that certainly exist.
    fn blobs(&self, repo: usize) -> Vec<String> {
        let name = &self.repos[repo].name;
        let held = |key: &Key| match key {
            Key::Blob { repo, digest } if repo == name && self.promises.latest(key) == Value::There => {
                Some(digest.clone())
            }
            _ => None,
        };
        self.promises.keys().filter_map(held).collect()
    }

    fn referred(&self, repo: usize) -> Vec<String> {
        let held = self.manifests(repo);
        let name = &self.repos[repo].name;
        let of = |digest: &String| {
            self.references.get(&Key::Manifest { repo: name.clone(), digest: digest.clone() }).cloned()
        };
        held.iter().filter_map(of).flatten().collect()
    }

    fn unreferenced(&self, repo: usize) -> Vec<String> {
        let referred = self.referred(repo);
        self.blobs(repo).into_iter().filter(|digest| !referred.contains(digest)).collect()
    }

    /// Records that a collection is about to run, which may remove unreferenced blobs.
    pub fn before_collection(&mut self) -> Vec<Key> {
        let mut keys = Vec::new();
        for repo in 0..self.repos.len() {
            let name = self.repos[repo].name.clone();
            keys.extend(self.unreferenced(repo).into_iter().map(|digest| Key::Blob { repo: name.clone(), digest }));
        }
        for key in &keys {
            self.promises.begin(key.clone(), Value::Unsure);
        }
        keys
    }

    /// Remembers a blob that manifests may reference.
    pub fn remember(&mut self, digest: String, size: usize) {
        self.sizes.insert(digest, size);
    }
}
