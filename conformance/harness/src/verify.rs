//! Compares the content of a registry or a client's store with the original, byte for byte.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::client::{Connection, Request, Target};
use crate::digest::{Hashing, sha256, sha256_of};
use crate::expect::{not_here, recommended};
use crate::layout::{Image, Index, blob_path};

const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The bytes of a manifest, by a plain GET.
pub fn manifest(target: &Target, repository: &str, reference: &str) -> anyhow::Result<Vec<u8>> {
    let request = Request::get(format!("/v2/{repository}/manifests/{reference}")).header("Accept", ACCEPT);
    let answer = target.send(&request)?;
    answer.expect(200).with_context(|| format!("manifest {repository} {reference}"))?;
    recommended(&answer, "Docker-Content-Digest", &sha256(&answer.body))
        .with_context(|| format!("{repository} {reference}"))?;
    Ok(answer.body)
}

/// The digest of a manifest, by HEAD.
pub fn digest_of(target: &Target, repository: &str, reference: &str) -> anyhow::Result<String> {
    let request = Request::new("HEAD", format!("/v2/{repository}/manifests/{reference}")).header("Accept", ACCEPT);
    let answer = target.send(&request)?;
    Ok(answer.expect(200)?.need("Docker-Content-Digest")?.to_owned())
}

/// Reads a whole blob and compares its digest.
pub fn blob(target: &Target, repository: &str, digest: &str) -> anyhow::Result<u64> {
    let mut connection = Connection::open(target)?;
    connection.write(&Request::get(format!("/v2/{repository}/blobs/{digest}")))?;
    let (status, headers) = connection.read_head()?;
    ensure!(status == 200, "blob {repository} {digest}: status {status}");
    let mut hashing = Hashing::sink();
    let answer = connection.response(status, headers);
    connection.copy_body(&answer, &mut hashing)?;
    let (got, size) = hashing.digest();
    ensure!(got == digest, "blob {repository} {digest}: its {size} bytes have the digest {got}");
    Ok(size)
}

/// Expects the registry to return the image's manifest by tag and digest, and every blob, byte for byte.
pub fn registry_holds(target: &Target, repository: &str, tag: &str, image: &Image) -> anyhow::Result<()> {
    for reference in [tag, &image.digest] {
        ensure!(manifest(target, repository, reference)? == image.manifest, "{repository}: another manifest");
    }
    for layer in &image.layers {
        let size = blob(target, repository, &layer.digest)?;
        ensure!(size == layer.size, "{}: {size} of {} bytes", layer.digest, layer.size);
    }
    blob(target, repository, &image.config).map(drop)
}

/// Like `registry_holds`, for a multi-arch image.
pub fn registry_holds_index(target: &Target, repository: &str, tag: &str, index: &Index) -> anyhow::Result<()> {
    for reference in [tag, &index.digest] {
        ensure!(manifest(target, repository, reference)? == index.manifest, "{repository}: another index");
    }
    index.children.iter().try_for_each(|child| registry_holds(target, repository, &child.digest, child))
}

/// Expects all blobs of a client's own image to match their digests. Returns the manifest with its digest.
pub fn registry_is_whole(target: &Target, repository: &str, tag: &str) -> anyhow::Result<(Value, String)> {
    let bytes = manifest(target, repository, tag)?;
    let digest = sha256(&bytes);
    ensure!(manifest(target, repository, &digest)? == bytes, "{repository}: tag and digest return different manifests");
    let parsed: Value = serde_json::from_slice(&bytes)?;
    for digest in digests_in(&parsed) {
        blob(target, repository, &digest)?;
    }
    Ok((parsed, digest))
}

/// Digests of the config and layers of an image manifest.
pub fn digests_in(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = std::iter::once(&manifest["config"]).chain(layers);
    all.filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned)).collect()
}

/// Expects a client's layout to contain the image: every file matches its digest, and the index names the manifest.
pub fn layout_holds(layout: &Path, image: &Image) -> anyhow::Result<()> {
    layout_names(layout, &image.digest)?;
    image.digests().iter().try_for_each(|digest| file_has(&blob_path(layout, digest), digest))
}

/// Like `layout_holds`, for a multi-arch image.
pub fn layout_holds_index(layout: &Path, index: &Index) -> anyhow::Result<()> {
    layout_names(layout, &index.digest)?;
    let children = index.children.iter().flat_map(Image::digests);
    children.chain([index.digest.clone()]).try_for_each(|digest| file_has(&blob_path(layout, &digest), &digest))
}

/// Expects a file to have this digest.
pub fn file_has(path: &Path, digest: &str) -> anyhow::Result<()> {
    let got = sha256_of(File::open(path).with_context(|| path.display().to_string())?)?;
    ensure!(got == digest, "{}: digest {got} instead of {digest}", path.display());
    Ok(())
}

/// Expects an unpacked `save` of a client to contain the image's config and layers as uncompressed tars, under any
/// names.
pub fn folder_holds_unpacked(folder: &Path, image: &Image) -> anyhow::Result<()> {
    let mut found = BTreeSet::new();
    collect_digests(folder, &mut found)?;
    let wanted = std::iter::once(&image.config).chain(image.layers.iter().map(|layer| &layer.digest));
    let missing: Vec<&String> = wanted.filter(|digest| !found.contains(*digest)).collect();
    ensure!(missing.is_empty(), "{} of {} contents differ: {missing:?}", missing.len(), image.layers.len() + 1);
    Ok(())
}

/// The number of referrers listed by the registry's API, not by a client's fallback tag.
pub fn referrers(target: &Target, repository: &str, digest: &str) -> anyhow::Result<usize> {
    let answer = target.send(&Request::get(format!("/v2/{repository}/referrers/{digest}")))?;
    ensure!(answer.own || answer.status != 404, not_here("this registry has no referrers API"));
    let index = answer.expect(200).context("referrers")?.json()?;
    Ok(index["manifests"].as_array().context("no manifests")?.len())
}

/// Expects a refusal to tell the user what is missing.
pub fn readable_refusal(said: &str) -> anyhow::Result<()> {
    let said = said.to_lowercase();
    if !said.contains("manifest") || !(said.contains("unknown") || said.contains("missing")) {
        bail!("no readable reason in: {}", said.chars().take(400).collect::<String>());
    }
    Ok(())
}

/// Expects two files to be identical.
pub fn same_file(one: &Path, two: &Path) -> anyhow::Result<()> {
    let digest = sha256_of(File::open(one)?)?;
    file_has(two, &digest)
}

fn layout_names(layout: &Path, digest: &str) -> anyhow::Result<()> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let manifests = index["manifests"].as_array().context("no manifests in index.json")?;
    ensure!(manifests.iter().any(|one| one["digest"] == digest), "index.json does not name {digest}: {index}");
    Ok(())
}

fn collect_digests(folder: &Path, found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect_digests(&entry.path(), found)?;
        } else if entry.file_type()?.is_file() {
            found.insert(sha256_of(File::open(entry.path())?)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;

    #[test]
    fn a_layout_with_one_wrong_byte_does_not_hold_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = layout::image(folder.path(), "seed", &[1000, 10]).unwrap();
        layout_holds(folder.path(), &image).unwrap();
        for digest in image.digests() {
            let path = image.blob(&digest);
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            bad[3] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(layout_holds(folder.path(), &image).is_err(), "{digest}");
            fs::remove_file(&path).unwrap();
            assert!(layout_holds(folder.path(), &image).is_err(), "{digest}");
            fs::write(&path, good).unwrap();
        }
        let other = layout::image(&folder.path().join("other"), "other", &[10]).unwrap();
        assert!(layout_holds(folder.path(), &other).is_err());
    }

    #[test]
    fn a_save_without_a_layer_does_not_hold_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = layout::image(&folder.path().join("image"), "seed", &[1000, 10]).unwrap();
        let saved = folder.path().join("saved/deep");
        fs::create_dir_all(&saved).unwrap();
        fs::copy(image.blob(&image.config), saved.join("config.json")).unwrap();
        fs::copy(image.blob(&image.layers[0].digest), saved.join("one.tar")).unwrap();
        assert!(folder_holds_unpacked(folder.path().join("saved").as_path(), &image).is_err());
        fs::copy(image.blob(&image.layers[1].digest), saved.join("two.tar")).unwrap();
        folder_holds_unpacked(folder.path().join("saved").as_path(), &image).unwrap();
    }

    #[test]
    fn a_refusal_must_say_what_is_unknown() {
        assert!(readable_refusal("manifest blob unknown: sha256:12").is_ok());
        assert!(readable_refusal("500 Internal Server Error").is_err());
    }
}
