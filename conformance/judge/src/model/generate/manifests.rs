//! Generates manifests: images, indexes and artifacts of existing content, sometimes with faults.

use harness::site::digest;
use serde_json::{Value, json};

use crate::model::content::Content;
use crate::model::generate::{ARTIFACT_TYPES, Generator, REMEMBERED};
use crate::model::op::Op;
use crate::model::reading::{DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX};
use crate::model::state::{Repo, State};

impl Generator {
    pub(super) fn put_manifest(&mut self, state: &State, repo: &str) -> Op {
        let empty = Repo::default();
        let here = state.repo(repo).unwrap_or(&empty);
        let (body, content_type) = self.manifest(here);
        let algorithm = self.algorithm();
        let digest = digest(algorithm, body.as_bytes());
        self.remember(&digest);
        let mut op = Put { reference: digest.clone(), tags: Vec::new(), digest: None };
        match self.random.below(20) {
            0..10 => op.reference = self.tag(),
            10..14 => op.tags = (0..=self.random.below(3)).map(|_| self.tag()).collect(),
            14 => {
                op.reference = self.tag();
                op.digest = Some(if self.random.chance(80) { digest } else { self.nonsense() });
            }
            15 => op.reference = self.nonsense(),
            16 => op.reference = self.content().digest("sha256"),
            17 if self.random.chance(50) => op.tags = vec![self.tag(), ".bad".to_owned()],
            18 if self.random.chance(50) => (*self.random.pick(&["-x", ".x", "a@b"])).clone_into(&mut op.reference),
            _ => {}
        }
        op.tags.sort();
        op.tags.dedup();
        Op::PutManifest {
            repo: repo.to_owned(),
            reference: op.reference,
            tags: op.tags,
            digest: op.digest,
            content_type,
            body,
        }
    }

    fn remember(&mut self, digest: &str) {
        if !self.made.iter().any(|made| made == digest) {
            self.made.push(digest.to_owned());
            if self.made.len() > REMEMBERED {
                self.made.remove(0);
            }
        }
    }

    /// A body and its `Content-Type`.
    fn manifest(&mut self, here: &Repo) -> (String, Option<String>) {
        let docker = self.random.chance(10);
        let is_image = self.random.chance(75);
        let kind = match (is_image, docker) {
            (true, false) => IMAGE,
            (true, true) => DOCKER_IMAGE,
            (false, false) => INDEX,
            (false, true) => DOCKER_LIST,
        };
        let mut value = if is_image { self.image(here) } else { self.index(here) };
        let typed = self.random.chance(80);
        if typed {
            value["mediaType"] = json!(kind);
        }
        if self.random.chance(35) {
            value["subject"] = self.subject(here);
        }
        if self.random.chance(30) {
            value["artifactType"] = json!(self.random.pick(&ARTIFACT_TYPES));
        }
        if self.random.chance(50) {
            value["annotations"] = json!({ "n": self.random.below(3).to_string() });
        }
        let content_type = match self.random.below(25) {
            0 => None,
            1 => Some(format!("{kind}; charset=utf-8")),
            2 => Some("text/plain".to_owned()),
            3 => Some(if is_image { INDEX } else { IMAGE }.to_owned()),
            _ => Some(kind.to_owned()),
        };
        (self.spoil(value), content_type)
    }

    /// Sometimes damages a manifest. Mostly returns it unchanged.
    fn spoil(&mut self, mut value: Value) -> String {
        match self.random.below(40) {
            0 => value["schemaVersion"] = json!(1),
            1 => {
                let text = value.to_string();
                return text[..text.len() / 2].to_owned();
            }
            2 => value["subject"] = json!({ "digest": "sha256:short", "size": 1, "mediaType": IMAGE }),
            3 => return "[]".to_owned(),
            4 => return format!("{value} \n"),
            5 => return format!("{value} x"),
            6 => value["custom"] = json!({ "unknown": [1, 2] }),
            _ => {}
        }
        value.to_string()
    }

    fn image(&mut self, here: &Repo) -> Value {
        let config = self.blob_descriptor(here, ARTIFACT_TYPES[2]);
        let layers: Vec<Value> =
            (0..self.random.below(3)).map(|_| self.blob_descriptor(here, "application/x.layer")).collect();
        let mut image = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        if self.random.chance(5) {
            let absent = Content::Text("never pushed".to_owned());
            image["layers"] = json!([{
                "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "digest": absent.digest("sha256"),
                "size": absent.len(),
                "urls": ["https://example.com/layer"],
            }]);
        }
        image
    }

    fn index(&mut self, here: &Repo) -> Value {
        let children: Vec<Value> = (0..self.random.below(3)).map(|_| self.manifest_descriptor(here)).collect();
        json!({ "schemaVersion": 2, "manifests": children })
    }

    /// A descriptor of an existing blob; or of one that may be missing, or with a wrong size.
    fn blob_descriptor(&mut self, here: &Repo, kind: &str) -> Value {
        let held: Vec<_> = here.blobs.iter().collect();
        let (digest, mut size) = if held.is_empty() || self.random.chance(4) {
            let content = self.content();
            (content.digest("sha256"), content.len())
        } else {
            let (digest, bytes) = *self.random.pick(&held);
            (digest.clone(), bytes.len())
        };
        size += usize::from(self.random.chance(2));
        json!({ "mediaType": kind, "digest": digest, "size": size })
    }

    fn manifest_descriptor(&mut self, here: &Repo) -> Value {
        let held: Vec<_> = here.manifests.iter().collect();
        if held.is_empty() || self.random.chance(4) {
            let digest = self.made.first().cloned().unwrap_or_else(|| Content::whole(1).digest("sha256"));
            let size = here.manifests.get(&digest).map_or(7, |manifest| manifest.bytes.len());
            return json!({ "mediaType": IMAGE, "digest": digest, "size": size });
        }
        let (digest, manifest) = *self.random.pick(&held);
        let size = manifest.bytes.len() + usize::from(self.random.chance(3));
        json!({ "mediaType": manifest.reading.media_type, "digest": digest, "size": size })
    }

    /// A manifest that exists, existed, or never will.
    fn subject(&mut self, here: &Repo) -> Value {
        match self.random.below(4) {
            0 => {
                let absent = Content::Text(format!("subject {}", self.random.below(3)));
                json!({ "mediaType": IMAGE, "digest": absent.digest("sha256"), "size": absent.len() })
            }
            _ => self.manifest_descriptor(here),
        }
    }

    pub(super) fn get_manifest(&mut self, state: &State, repo: &str) -> Op {
        let reference = self.reference(state, repo);
        let if_none_match = self.random.chance(20).then(|| {
            let here = state.repo(repo).and_then(|repo| repo.resolve(&reference));
            here.map_or("\"sha256:other\"".to_owned(), |(digest, _)| format!("\"{digest}\""))
        });
        Op::GetManifest { repo: repo.to_owned(), reference, head: self.random.chance(40), if_none_match }
    }

    pub(super) fn delete_manifest(&mut self, state: &State, repo: &str) -> Op {
        Op::DeleteManifest { repo: repo.to_owned(), reference: self.reference(state, repo) }
    }

    fn reference(&mut self, state: &State, repo: &str) -> String {
        if self.random.chance(50) { self.tag() } else { self.manifest_digest(state.repo(repo)) }
    }
}

struct Put {
    reference: String,
    tags: Vec<String>,
    digest: Option<String>,
}
