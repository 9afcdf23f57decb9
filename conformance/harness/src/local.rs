//! Counts and deletes the content files of a node.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// What stays when all content is deleted: users, the journal, the index, the directory's own files, and an attached portal.
const KEPT: [&str; 9] =
    ["access", "journal", "index", "skyberth.json", "endpoints.json", "lock", "admin.sock", "uploads", "portal"];
/// A kept file of this size is probably content. Indexes and journals of the cases are smaller.
const SUSPICIOUS: u64 = 256 << 20;

/// Deletes everything that could be content, in any subdirectory.
pub fn delete_all(data: &Path) -> anyhow::Result<()> {
    ensure!(data.join("journal").exists(), "{} has no journal", data.display());
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        for file in files_below(&entry.path())? {
            fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
    }
    for file in files_below(data)? {
        let length = file.metadata().map_or(0, |found| found.len());
        ensure!(length < SUSPICIOUS, "{} has {length} bytes: is it not content?", file.display());
    }
    Ok(())
}

/// True if this content has a local file.
pub fn has(data: &Path, digest: &str) -> bool {
    files_of(data, digest).is_ok_and(|found| !found.is_empty())
}

fn files_of(data: &Path, digest: &str) -> anyhow::Result<Vec<PathBuf>> {
    let name = digest.split(':').nth(1).context("a digest")?;
    let is_it = |file: &PathBuf| file.file_name().is_some_and(|found| found == name);
    Ok(files_below(&data.join("blobs"))?.into_iter().filter(is_it).collect())
}

/// Deletes only the files of this content, like an eviction.
pub fn delete(data: &Path, digest: &str) -> anyhow::Result<()> {
    let found = files_of(data, digest)?;
    ensure!(!found.is_empty(), "{digest} has no local file");
    found.iter().try_for_each(|file| fs::remove_file(file).with_context(|| file.display().to_string()))
}

/// The local content files by name, with the bytes that they occupy on disk. A partial blob counts with its part.
pub fn content(data: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = Vec::new();
    for file in files_below(&data.join("blobs"))? {
        // A file may be removed meanwhile.
        if let Ok(about) = file.metadata() {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, about.len().min(about.blocks() * 512)));
        }
    }
    Ok(found)
}

pub fn content_bytes(data: &Path) -> anyhow::Result<u64> {
    Ok(content(data)?.iter().map(|(_, length)| length).sum())
}

/// The bytes of all files below a directory.
pub fn bytes_below(path: &Path) -> anyhow::Result<u64> {
    // A file may be removed meanwhile.
    Ok(files_below(path)?.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum())
}

fn files_below(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let Ok(about) = path.symlink_metadata() else { return Ok(Vec::new()) };
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let Ok(entries) = fs::read_dir(path) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in entries {
        files.extend(files_below(&entry?.path())?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_wherever_it_lies_and_the_journal_stays() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert!(delete_all(data).is_err(), "that is no data directory");
        for file in ["journal/1", "index/1/db", "blobs/sha256/ab/abcd", "cache/x/y", "skyberth.json", "portal/s"] {
            fs::create_dir_all(data.join(file).parent().unwrap()).unwrap();
            fs::write(data.join(file), "12345").unwrap();
        }
        assert_eq!(content_bytes(data).unwrap(), 5);
        assert!(delete(data, "sha256:none").is_err());
        assert!(has(data, "sha256:abcd") && !has(data, "sha256:abc"));
        delete(data, "sha256:abcd").unwrap();
        assert!(!data.join("blobs/sha256/ab/abcd").exists() && data.join("cache/x/y").exists());
        delete_all(data).unwrap();
        assert_eq!(content_bytes(data).unwrap(), 0);
        assert!(!data.join("cache/x/y").exists());
        assert!(data.join("portal/s").exists(), "it is a place of its own");
        assert!(data.join("journal/1").exists() && data.join("index/1/db").exists());
    }
}
