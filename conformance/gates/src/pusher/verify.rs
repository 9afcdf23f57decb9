//! The checks of a crash gate's client after each start.

use anyhow::{Context, bail, ensure};
use harness::client::{Connection, Request, Target};
use harness::site::digest as digest_of;
use serde_json::json;

use super::{Fate, Pusher};

/// Larger blobs are read back only when they are new, and at the end.
const LARGE: usize = 256 * 1024;
/// Number of deleted things that are requested again.
const REMEMBERED: usize = 100;

impl Pusher {
    /// Checks everything promised, and learns how unanswered requests ended.
    pub fn verify(&mut self, target: &Target, all: bool) -> anyhow::Result<()> {
        let mut connection = Connection::open(target)?;
        self.verify_manifests(&mut connection).with_context(|| self.repo.clone())?;
        self.verify_tags(&mut connection).with_context(|| self.repo.clone())?;
        self.doubt_unreferenced();
        self.verify_blobs(&mut connection, all).with_context(|| self.repo.clone())?;
        while self.manifests.len() > REMEMBERED {
            let Some(gone) = self.manifests.iter().find(|(_, m)| m.fate == Fate::Gone).map(|(d, _)| d.clone()) else {
                break;
            };
            self.manifests.remove(&gone);
        }
        Ok(())
    }

    fn verify_manifests(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        for (digest, manifest) in &mut self.manifests {
            let answer = connection.send(&Request::get(format!("/v2/{}/manifests/{digest}", self.repo)))?;
            match (manifest.fate, answer.status) {
                (Fate::There | Fate::Unsure, 200) => {
                    ensure!(answer.body == manifest.body, "manifest {digest} has other bytes");
                    manifest.fate = Fate::There;
                }
                (Fate::Gone | Fate::Unsure, 404) => manifest.fate = Fate::Gone,
                (fate, status) => bail!("manifest {digest} should be {fate:?}, got {status}"),
            }
        }
        Ok(())
    }

    fn verify_tags(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        for (tag, candidates) in &mut self.tags {
            let answer = connection.send(&Request::get(format!("/v2/{}/manifests/{tag}", self.repo)))?;
            let found = match answer.status {
                200 => Some(answer.need("Docker-Content-Digest")?.to_owned()),
                404 => None,
                status => bail!("tag {tag}: {status}"),
            };
            ensure!(candidates.contains(&found), "tag {tag} is {found:?}, should be one of {candidates:?}");
            let alive = |digest| self.manifests.get(digest).is_some_and(|manifest| manifest.fate == Fate::There);
            ensure!(found.as_ref().is_none_or(alive), "tag {tag} points at {found:?}, which is not there");
            seen.extend(found.is_some().then(|| tag.clone()));
            *candidates = vec![found];
        }
        let list = connection.send(&Request::get(format!("/v2/{}/tags/list", self.repo)))?;
        if list.status != 404 || !seen.is_empty() {
            ensure!(list.expect(200)?.json()?["tags"] == json!(seen), "tags are {}, should be {seen:?}", list.text());
        }
        Ok(())
    }

    fn verify_blobs(&mut self, connection: &mut Connection, all: bool) -> anyhow::Result<()> {
        let mut gone = 0;
        for (digest, blob) in &mut self.blobs {
            let whole = all || !blob.checked || blob.content.len() < LARGE || self.random.chance(5);
            let method = if whole { "GET" } else { "HEAD" };
            let answer = connection.send(&Request::new(method, format!("/v2/{}/blobs/{digest}", self.repo)))?;
            match (blob.fate, answer.status) {
                (Fate::There | Fate::Unsure, 200) => {
                    let length = answer.need("Content-Length")?;
                    ensure!(length == blob.content.len().to_string(), "blob {digest} has length {length}");
                    ensure!(!whole || digest_of("sha256", &answer.body) == *digest, "blob {digest} has other bytes");
                    blob.checked = true;
                }
                (Fate::Gone | Fate::Unsure, 404) => {
                    blob.fate = Fate::Gone;
                    gone += 1;
                }
                (fate, status) => bail!("blob {digest} should be {fate:?}, got {status}"),
            }
        }
        if gone > REMEMBERED {
            self.blobs.retain(|_, blob| blob.fate != Fate::Gone);
        }
        Ok(())
    }
}
