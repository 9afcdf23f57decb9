//! Builds manifests (images, indexes, artifacts) as the exact bytes to push.

use anyhow::Context;
use serde_json::{Value, json};

use crate::client::{Request, Response};
use crate::site::{Repo, sha256};

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A manifest ready to push.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl Manifest {
    pub fn new(media_type: &str, body: &Value) -> Self {
        Manifest { media_type: media_type.to_owned(), bytes: body.to_string().into_bytes() }
    }

    pub fn raw(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Manifest { media_type: media_type.to_owned(), bytes: bytes.into() }
    }

    pub fn digest(&self) -> String {
        sha256(&self.bytes)
    }

    pub fn descriptor(&self) -> Value {
        described(&self.media_type, &self.bytes)
    }

    /// The body as JSON, to change a part of it.
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The manifest with one member set.
    pub fn with(&self, member: &str, value: Value) -> Self {
        let mut body = self.body();
        body[member] = value;
        Manifest::new(&self.media_type, &body)
    }
}

/// A descriptor of these bytes.
pub fn described(media_type: &str, bytes: &[u8]) -> Value {
    descriptor(media_type, &sha256(bytes), bytes.len())
}

pub fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

/// An image manifest of a config and layers, with members in the order of common tools.
pub fn image(config: &Value, layers: &[Value]) -> Manifest {
    let body = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers});
    Manifest::new(IMAGE, &body)
}

pub fn index(children: &[Value]) -> Manifest {
    Manifest::new(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}))
}

/// An artifact manifest with a subject. Its config and only layer are the empty JSON object.
pub fn artifact(artifact_type: &str, subject: &Value, annotations: &Value) -> Manifest {
    let empty = described(EMPTY, b"{}");
    let body = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": artifact_type,
        "config": empty, "layers": [empty], "subject": subject, "annotations": annotations,
    });
    Manifest::new(IMAGE, &body)
}

impl Repo {
    /// Pushes a manifest with its own media type.
    pub fn put(&self, reference: &str, manifest: &Manifest) -> anyhow::Result<Response> {
        self.put_as(&self.manifest(reference), &manifest.media_type, &manifest.bytes)
    }

    pub fn put_as(&self, path: &str, media_type: &str, bytes: &[u8]) -> anyhow::Result<Response> {
        self.send(&Request::new("PUT", path).header("Content-Type", media_type).body(bytes))
    }

    /// Pushes a manifest that must be accepted.
    pub fn store(&self, reference: &str, manifest: &Manifest) -> anyhow::Result<()> {
        self.put(reference, manifest)?.expect(201).with_context(|| format!("push a manifest as {reference}"))?;
        Ok(())
    }

    /// An image whose blobs are pushed to this repository. The label makes it unique.
    pub fn image(&self, label: &str) -> anyhow::Result<Manifest> {
        let layer = format!("layer {label} of {}", self.name).into_bytes();
        let config = json!({"architecture": "amd64", "os": "linux", "author": format!("{label} of {}", self.name)})
            .to_string()
            .into_bytes();
        self.push_blob(&layer)?;
        self.push_blob(&config)?;
        Ok(image(&described(CONFIG, &config), &[described(LAYER, &layer)]))
    }

    /// Pushes an image with a tag.
    pub fn push_image(&self, tag: &str) -> anyhow::Result<Manifest> {
        let manifest = self.image(tag)?;
        self.store(tag, &manifest)?;
        Ok(manifest)
    }

    /// Pushes, by digest, an artifact with this subject.
    pub fn attach(&self, artifact_type: &str, subject: &Value, annotations: &Value) -> anyhow::Result<Manifest> {
        self.push_blob(b"{}")?;
        let manifest = artifact(artifact_type, subject, annotations);
        self.store(&manifest.digest(), &manifest)?;
        Ok(manifest)
    }

    /// True if manifests with missing references are refused.
    pub fn checks_references(&self) -> anyhow::Result<bool> {
        let config = format!("config that was never pushed to {}", self.name);
        let answer = self.put("probe", &image(&described(CONFIG, config.as_bytes()), &[]))?;
        Ok(answer.status == 400)
    }
}
