//! Compares the files on a node's disk with the content that its API shows.

use std::path::Path;

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Target};

/// Fails if a content file is neither a blob nor a manifest of these repositories. Returns the number of files.
pub fn every_file_is_held(data: &Path, target: &Target, repos: &[String]) -> anyhow::Result<usize> {
    let mut connection = Connection::open(target)?;
    let digests = content_files(&data.join("blobs"))?;
    let mut loose = Vec::new();
    for digest in &digests {
        if !is_held(&mut connection, repos, digest)? {
            loose.push(digest.as_str());
        }
    }
    ensure!(loose.is_empty(), "{} of {} files are held by nobody: {}", loose.len(), digests.len(), loose.join(" "));
    Ok(digests.len())
}

fn is_held(connection: &mut Connection, repos: &[String], digest: &str) -> anyhow::Result<bool> {
    for repo in repos {
        for kind in ["blobs", "manifests"] {
            let answer = connection.send(&Request::new("HEAD", format!("/v2/{repo}/{kind}/{digest}")))?;
            if answer.status == 200 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Fails if an upload directory is not an open session of these repositories. Returns the number of directories.
pub fn every_upload_is_open(data: &Path, target: &Target, repos: &[String]) -> anyhow::Result<usize> {
    let mut connection = Connection::open(target)?;
    let ids = names(&data.join("uploads"))?;
    for id in &ids {
        let mut open = false;
        for repo in repos {
            open |= connection.send(&Request::get(format!("/v2/{repo}/blobs/uploads/{id}")))?.status == 204;
        }
        ensure!(open, "upload folder {id} is no session");
    }
    Ok(ids.len())
}

/// The digests of all files in `<alg>/<2 hex>/<hex>`. Any other file is an error.
fn content_files(blobs: &Path) -> anyhow::Result<Vec<String>> {
    let mut digests = Vec::new();
    for algorithm in names(blobs)? {
        for part in names(&blobs.join(&algorithm))? {
            for name in names(&blobs.join(&algorithm).join(&part))? {
                ensure!(name.starts_with(&part), "a stray file {algorithm}/{part}/{name}");
                digests.push(format!("{algorithm}:{name}"));
            }
        }
    }
    Ok(digests)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut names: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_files_are_named_by_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path();
        assert!(content_files(&blobs.join("absent")).unwrap().is_empty());
        std::fs::create_dir_all(blobs.join("sha256/ab")).unwrap();
        std::fs::write(blobs.join("sha256/ab/abcd"), "").unwrap();
        assert_eq!(content_files(blobs).unwrap(), ["sha256:abcd"]);
        std::fs::write(blobs.join("sha256/ab/x.tmp"), "").unwrap();
        assert!(content_files(blobs).is_err());
    }
}
