//! Listing all content, one directory at a time.

use std::fs::{DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{ContentStore, StoreError};
use crate::digest::{Algorithm, Digest};

/// A file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContent {
    /// Its digest, taken from the name. The bytes were not read to check it.
    pub digest: Digest,
    /// Length in bytes.
    pub length: u64,
    /// The time of the last write to its bytes.
    pub modified: SystemTime,
}

/// Iterates over all content in no particular order. It has three open directories and no list. Content added or
/// removed meanwhile may be included or not. An error does not end the iteration.
#[derive(Debug)]
pub struct Walk {
    blobs: PathBuf,
    started: bool,
    /// `blobs/`, `blobs/<algorithm>/` and `blobs/<algorithm>/<prefix>/`, down to the current level.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    path: PathBuf,
    /// The directory's name: the algorithm on the second level, the two digits on the third.
    name: String,
    entries: ReadDir,
}

impl ContentStore {
    /// All content. Names that the store does not make are returned as [`StoreError::Stranger`] and never touched.
    pub fn walk(&self) -> Walk {
        Walk { blobs: self.layout().blobs.clone(), started: false, levels: Vec::with_capacity(3) }
    }
}

impl Iterator for Walk {
    type Item = Result<StoredContent, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            let blobs = self.blobs.clone();
            match self.descend(blobs, String::new()) {
                // In a copy without content.
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => return Some(Err(error)),
                Ok(()) => {}
            }
        }
        loop {
            let level = self.levels.last_mut()?;
            match level.entries.next() {
                None => {
                    self.levels.pop();
                }
                Some(Err(error)) => return Some(Err(StoreError::io("list", &level.path)(error))),
                Some(Ok(entry)) => {
                    if let Some(item) = self.visit(&entry).transpose() {
                        return Some(item);
                    }
                }
            }
        }
    }
}

impl Walk {
    /// Content, or `None` for a directory that was entered, or a file that disappeared meanwhile.
    fn visit(&mut self, entry: &DirEntry) -> Result<Option<StoredContent>, StoreError> {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { return Err(StoreError::Stranger(path)) };
        let kind = entry.file_type().map_err(StoreError::io("stat", &path))?;
        let known = match &self.levels[..] {
            [_] => kind.is_dir() && Algorithm::from_name(&name).is_some(),
            [_, _] => kind.is_dir() && is_prefix(&name),
            [_, algorithm, prefix] => {
                let digest = kind.is_file().then(|| content_digest(&algorithm.name, &prefix.name, &name)).flatten();
                return digest.map_or(Err(StoreError::Stranger(path)), |digest| stored_content(entry, digest));
            }
            _ => false,
        };
        if !known {
            return Err(StoreError::Stranger(path));
        }
        self.descend(path, name).map(|()| None)
    }

    fn descend(&mut self, path: PathBuf, name: String) -> Result<(), StoreError> {
        let entries = list(&path)?;
        self.levels.push(Level { path, name, entries });
        Ok(())
    }
}

fn list(path: &Path) -> Result<ReadDir, StoreError> {
    std::fs::read_dir(path).map_err(StoreError::io("list", path))
}

fn is_prefix(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn content_digest(algorithm: &str, prefix: &str, name: &str) -> Option<Digest> {
    name.starts_with(prefix).then(|| format!("{algorithm}:{name}").parse().ok()).flatten()
}

fn stored_content(entry: &DirEntry, digest: Digest) -> Result<Option<StoredContent>, StoreError> {
    let metadata = match entry.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("stat", &entry.path())(error)),
    };
    let modified = metadata.modified().map_err(StoreError::io("stat", &entry.path()))?;
    Ok(Some(StoredContent { digest, length: metadata.len(), modified }))
}
