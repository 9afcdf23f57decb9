//! Makes images and OCI layouts from scratch: no base image, no network, and the same bytes for the same seed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use crate::digest::{Hashing, sha256};
use crate::noise::Noise;
use crate::tar;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// One layer, an uncompressed tar, so that its digest is also its diff id.
#[derive(Clone, Debug)]
pub struct Layer {
    pub digest: String,
    pub size: u64,
}

/// An image in a layout of its own.
#[derive(Clone, Debug)]
pub struct Image {
    /// An OCI image layout with this image under the reference name `image`.
    pub layout: PathBuf,
    /// Digest of the manifest.
    pub digest: String,
    pub manifest: Vec<u8>,
    pub config: String,
    pub layers: Vec<Layer>,
}

/// A multi-arch image and its children, all in one layout.
#[derive(Clone, Debug)]
pub struct Index {
    pub layout: PathBuf,
    pub digest: String,
    pub manifest: Vec<u8>,
    pub children: Vec<Image>,
}

/// An image whose layers contain `sizes` bytes of incompressible noise.
pub fn image(layout: &Path, seed: &str, sizes: &[u64]) -> anyhow::Result<Image> {
    let image = image_for(layout, seed, sizes, "amd64")?;
    write_index(layout, &[named(&image.descriptor(), "image")])?;
    Ok(image)
}

/// A two-platform image.
pub fn index(layout: &Path, seed: &str) -> anyhow::Result<Index> {
    let children = ["amd64", "arm64"]
        .iter()
        .map(|arch| image_for(layout, &format!("{seed} {arch}"), &[300_000, 70_000], arch))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let manifests: Vec<Value> = children
        .iter()
        .zip(["amd64", "arm64"])
        .map(|(child, arch)| {
            let mut descriptor = child.descriptor();
            descriptor["platform"] = json!({"architecture": arch, "os": "linux"});
            descriptor
        })
        .collect();
    let manifest = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))?;
    let digest = put_blob(layout, &manifest)?;
    let descriptor = json!({"mediaType": INDEX, "digest": digest, "size": manifest.len()});
    write_index(layout, &[named(&descriptor, "image")])?;
    Ok(Index { layout: layout.to_owned(), digest, manifest, children })
}

impl Image {
    pub fn blob(&self, digest: &str) -> PathBuf {
        blob_path(&self.layout, digest)
    }

    /// Every digest of the image: manifest, config, layers.
    pub fn digests(&self) -> Vec<String> {
        let mut all = vec![self.digest.clone(), self.config.clone()];
        all.extend(self.layers.iter().map(|layer| layer.digest.clone()));
        all
    }

    /// The descriptor of the manifest.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": MANIFEST, "digest": self.digest, "size": self.manifest.len()})
    }

    /// Writes the image in the format of `docker save`, for `docker load`.
    pub fn docker_archive(&self, path: &Path, name: &str) -> anyhow::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
        let config_name = format!("{}.json", hex(&self.config));
        let mut layers = Vec::new();
        append_file(&mut out, &config_name, &self.blob(&self.config))?;
        for layer in &self.layers {
            let layer_name = format!("{}.tar", hex(&layer.digest));
            append_file(&mut out, &layer_name, &self.blob(&layer.digest))?;
            layers.push(layer_name);
        }
        let manifest = serde_json::to_vec(&json!([{"Config": config_name, "RepoTags": [name], "Layers": layers}]))?;
        tar::append(&mut out, "manifest.json", manifest.len() as u64, &mut manifest.as_slice())?;
        tar::finish(&mut out)?;
        out.flush()?;
        Ok(())
    }
}

/// Packs a layout into a tar, for `ctr images import`.
pub fn layout_archive(layout: &Path, path: &Path) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for name in ["oci-layout", "index.json"] {
        append_file(&mut out, name, &layout.join(name))?;
    }
    let blobs = layout.join("blobs/sha256");
    let mut names: Vec<_> = fs::read_dir(&blobs)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let name = name.to_string_lossy();
        append_file(&mut out, &format!("blobs/sha256/{name}"), &blobs.join(&*name))?;
    }
    tar::finish(&mut out)?;
    out.flush()?;
    Ok(())
}

pub fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replacen(':', "/", 1))
}

fn image_for(layout: &Path, seed: &str, sizes: &[u64], arch: &str) -> anyhow::Result<Image> {
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let layers = sizes
        .iter()
        .enumerate()
        .map(|(number, size)| write_layer(layout, &format!("{seed} {number}"), number, *size))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let history: Vec<Value> = sizes.iter().map(|_| json!({"created_by": "fixture"})).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": arch, "os": "linux", "created": "2024-01-01T00:00:00Z", "config": {"Cmd": ["/none"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    }))?;
    let config_digest = put_blob(layout, &config)?;
    let descriptors: Vec<Value> =
        layers.iter().map(|layer| json!({"mediaType": LAYER, "digest": layer.digest, "size": layer.size})).collect();
    let manifest = serde_json::to_vec_pretty(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config_digest, "size": config.len()}, "layers": descriptors,
    }))?;
    let digest = put_blob(layout, &manifest)?;
    Ok(Image { layout: layout.to_owned(), digest, manifest, config: config_digest, layers })
}

fn write_layer(layout: &Path, seed: &str, number: usize, size: u64) -> anyhow::Result<Layer> {
    let draft = layout.join("layer.draft");
    let inner = BufWriter::new(File::create(&draft)?);
    let mut out = Hashing::new(inner);
    tar::append(&mut out, &format!("file-{number}"), size, &mut Noise::new(seed, size))?;
    tar::finish(&mut out)?;
    out.inner.flush()?;
    let (digest, size) = out.digest();
    fs::rename(&draft, blob_path(layout, &digest))?;
    Ok(Layer { digest, size })
}

fn put_blob(layout: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    let digest = sha256(bytes);
    fs::write(blob_path(layout, &digest), bytes)?;
    Ok(digest)
}

fn write_index(layout: &Path, manifests: &[Value]) -> anyhow::Result<()> {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    Ok(fs::write(layout.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?)
}

fn named(descriptor: &Value, name: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

fn append_file(out: &mut dyn Write, name: &str, path: &Path) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let size = file.metadata()?.len();
    Ok(tar::append(out, name, size, &mut file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256_of;

    #[test]
    fn the_same_seed_makes_the_same_image_in_which_every_blob_has_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let one = image(&folder.path().join("one"), "seed", &[1000, 0]).unwrap();
        let two = image(&folder.path().join("two"), "seed", &[1000, 0]).unwrap();
        assert_eq!((&one.digest, one.layers.len()), (&two.digest, 2));
        for digest in one.digests() {
            assert_eq!(sha256_of(File::open(one.blob(&digest)).unwrap()).unwrap(), digest);
        }
        assert_ne!(image(&folder.path().join("three"), "other", &[1000, 0]).unwrap().digest, one.digest);
    }
}
