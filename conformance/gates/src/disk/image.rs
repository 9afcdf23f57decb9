//! Images pushed to a small disk, with a record of what was acknowledged.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use harness::client::{Request, Response};
use harness::manifest::{CONFIG, LAYER, Manifest, described, image};
use harness::noise::noise;
use harness::site::{Repo, sha256};

/// The outcome of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// All of it was acknowledged.
    Whole,
    /// A request with this method was refused with this status.
    Refused(u16, &'static str),
}

/// An image whose whole push was acknowledged.
#[derive(Clone, Debug)]
struct Kept {
    tag: String,
    layer: usize,
    manifest: Manifest,
}

/// A repository and its acknowledged images.
#[derive(Debug)]
pub struct Album {
    pub repo: Repo,
    kept: Vec<Kept>,
    deleted: Vec<Kept>,
    untagged: Vec<String>,
}

/// Whether a node may answer 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mercy {
    None,
    Unavailable,
}

impl Album {
    pub fn new(repo: Repo) -> Self {
        Album { repo, kept: Vec::new(), deleted: Vec::new(), untagged: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// The number of different images.
    pub fn images(&self) -> usize {
        self.kept.iter().map(|kept| kept.manifest.digest()).collect::<BTreeSet<_>>().len()
    }

    /// Expects nothing more of what was removed, except for the last ones.
    pub fn ask_no_more_for_all_but(&mut self, last: usize) {
        self.deleted.drain(..self.deleted.len().saturating_sub(last));
        self.untagged.drain(..self.untagged.len().saturating_sub(last));
    }

    /// Pushes an image with a layer of this many bytes. Every refusal must be clear.
    pub fn push(&mut self, tag: &str, layer: usize) -> anyhow::Result<Pushed> {
        let bytes = self.layer(tag, layer);
        let config = format!(r#"{{"architecture":"amd64","os":"linux","author":"{tag}"}}"#);
        for blob in [&bytes[..], config.as_bytes()] {
            let digest = sha256(blob);
            let begun = self.repo.send(&Request::new("POST", self.repo.uploads()))?;
            if let Some(refused) = refusal(&begun, 202, "POST")? {
                return Ok(refused);
            }
            let session = harness::site::Session::of(&self.repo.target, &begun)?;
            let half = blob.len() / 2;
            let patched = session.send(&session.ranged(0, &blob[..half]))?;
            let refused = match refusal(&patched, 202, "PATCH")? {
                None => refusal(&session.close_range(&digest, half, &blob[half..])?, 201, "PUT")?,
                refused => refused,
            };
            if let Some(refused) = refused {
                // As clients do that give up. An open session would keep its repository from being collected.
                self.repo.delete(&session.location)?;
                return Ok(refused);
            }
        }
        let manifest = image(&described(CONFIG, config.as_bytes()), &[described(LAYER, &bytes)]);
        self.push_manifest(tag, &manifest, layer)
    }

    /// Adds a tag to an acknowledged manifest, which needs only a journal record.
    pub fn retag(&mut self, tag: &str) -> anyhow::Result<Pushed> {
        let (manifest, layer) = self.kept.first().map(|kept| (kept.manifest.clone(), kept.layer)).context("nothing")?;
        self.push_manifest(tag, &manifest, layer)
    }

    /// Removes a tag and returns the status. Only after 202 must it stay removed.
    pub fn untag(&mut self, tag: &str) -> anyhow::Result<u16> {
        let answer = self.repo.delete(&self.repo.manifest(tag));
        // Unknown: the record may have been written but not synced, so nothing is expected of the tag any more.
        self.kept.retain(|kept| kept.tag != tag);
        let answer = answer?;
        let refused = refusal(&answer, 202, "DELETE")?.is_some();
        if !refused {
            self.untagged.push(tag.to_owned());
        }
        Ok(answer.status)
    }

    fn push_manifest(&mut self, tag: &str, manifest: &Manifest, layer: usize) -> anyhow::Result<Pushed> {
        let answer = self.repo.put(tag, manifest)?;
        if let Some(refused) = refusal(&answer, 201, "PUT manifest")? {
            return Ok(refused);
        }
        self.kept.push(Kept { tag: tag.to_owned(), layer, manifest: manifest.clone() });
        Ok(Pushed::Whole)
    }

    /// Deletes the oldest image by digest and returns the status. Only after 202 must it stay deleted.
    pub fn delete_oldest(&mut self) -> anyhow::Result<u16> {
        let digest = self.kept.first().context("nothing to delete")?.manifest.digest();
        let answer = self.repo.delete(&self.repo.manifest(&digest))?;
        match refusal(&answer, 202, "DELETE")? {
            None => {
                let (gone, kept) = self.kept.drain(..).partition(|kept| kept.manifest.digest() == digest);
                self.kept = kept;
                self.deleted.extend::<Vec<Kept>>(gone);
                Ok(202)
            }
            Some(_) => Ok(answer.status),
        }
    }

    /// Expects nothing more of the oldest image: a DELETE may have taken it or not.
    pub fn forget_oldest(&mut self) {
        if let Some(digest) = self.kept.first().map(|kept| kept.manifest.digest()) {
            self.kept.retain(|kept| kept.manifest.digest() != digest);
        }
    }

    /// Reads everything acknowledged. Each answer must be right, or 503 where that is allowed. Returns the number of
    /// 503 answers.
    pub fn check(&self, mercy: Mercy) -> anyhow::Result<usize> {
        let mut unavailable = 0;
        let mut judge = |answer: &Response, what: &str, want: Option<&[u8]>| {
            match (answer.status, want) {
                (200, Some(bytes)) if answer.body == bytes => {}
                (404, None) => {}
                (503, _) if mercy == Mercy::Unavailable => unavailable += 1,
                (status, _) => bail!("{what} answers {status}, {} bytes: {:.200}", answer.body.len(), answer.text()),
            }
            Ok(())
        };
        for kept in &self.kept {
            for reference in [kept.tag.clone(), kept.manifest.digest()] {
                let answer = self.repo.get(&self.repo.manifest(&reference))?;
                judge(&answer, &format!("acknowledged manifest {reference}"), Some(&kept.manifest.bytes))?;
            }
            // Another tag of an image names the layer of its first tag.
            let layers = &kept.manifest.body()["layers"];
            let digest = layers[0]["digest"].as_str().unwrap_or_default().to_owned();
            let owner = self.owner_of(&digest, kept);
            let bytes = self.layer(&owner, kept.layer);
            ensure!(sha256(&bytes) == digest, "the judge lost track of {digest}");
            judge(&self.repo.get(&self.repo.blob(&digest))?, &format!("layer of {}", kept.tag), Some(&bytes))?;
        }
        for gone in &self.deleted {
            let path = self.repo.manifest(&gone.manifest.digest());
            judge(&self.repo.get(&path)?, &format!("deleted manifest {}", gone.tag), None)?;
        }
        for tag in &self.untagged {
            judge(&self.repo.get(&self.repo.manifest(tag))?, &format!("removed tag {tag}"), None)?;
        }
        Ok(unavailable)
    }

    fn owner_of(&self, digest: &str, kept: &Kept) -> String {
        let names = |other: &&Kept| other.manifest.bytes == kept.manifest.bytes && !digest.is_empty();
        self.kept.iter().find(names).map_or(&kept.tag, |first| &first.tag).clone()
    }

    fn layer(&self, tag: &str, length: usize) -> Vec<u8> {
        noise(&format!("{} {tag}", self.repo.name), length)
    }
}

/// `None` if the answer has the wanted status. Otherwise it must be a clear refusal: 507 or 503 with `Retry-After`, in the
/// specification's error form.
fn refusal(answer: &Response, wanted: u16, what: &'static str) -> anyhow::Result<Option<Pushed>> {
    if answer.status == wanted {
        return Ok(None);
    }
    match answer.status {
        503 | 507 => {
            answer.need("Retry-After").context(what)?;
        }
        status => bail!("{what} answers {status} {}", answer.text()),
    }
    ensure!(answer.error_code().is_some(), "{what} answers {} without an error body", answer.status);
    Ok(Some(Pushed::Refused(answer.status, what)))
}
