//! The directory of the index: a numbered directory per database, and a mark that says how the last run ended.
//!
//! A rebuild uses a new number, since reads may still use the old database. sled writes some files by path, so an open
//! database can be neither renamed nor replaced. The highest number is in use. An unfinished rebuild has no applied
//! sequence and is not used.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use content_store::replace_file;
use serde::{Deserialize, Serialize};

const MARK: &str = "mark";
const DAMAGED: &str = "damaged-";

/// The directory with all databases.
#[derive(Clone, Debug)]
pub(crate) struct IndexDirectory {
    path: PathBuf,
    /// The highest number given out. Numbers are never reused, since an abandoned database may still write to its path.
    given: Arc<AtomicU64>,
}

/// How the last run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The boot in which the index was last open; empty if unknown.
    pub(crate) boot: String,
    /// The number of the database that was closed with all files synced; `None` while one is open.
    pub(crate) clean: Option<u64>,
    /// The synced end of the journal, as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) journal: Option<KnownEnd>,
}

/// A journal and one of its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownEnd {
    /// The journal's id.
    pub(crate) id: String,
    /// The record's sequence.
    pub(crate) sequence: u64,
}

/// The mark in an index directory; `None` if it is missing or unreadable.
pub(crate) fn mark_in(directory: &Path) -> Option<Mark> {
    serde_json::from_slice(&fs::read(directory.join(MARK)).ok()?).ok()
}

impl IndexDirectory {
    /// Creates the directory if it is missing.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(IndexDirectory { path, given: Arc::default() })
    }

    /// Opens a directory only for reading. It may be missing, and is not created.
    pub(crate) fn to_read(path: PathBuf) -> Self {
        IndexDirectory { path, given: Arc::default() }
    }

    /// Path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the database with this number.
    pub(crate) fn database(&self, generation: u64) -> PathBuf {
        self.path.join(generation.to_string())
    }

    /// The highest number; `None` without a database.
    pub(crate) fn newest(&self) -> io::Result<Option<u64>> {
        let newest = self.generations()?.into_iter().max();
        self.given.fetch_max(newest.unwrap_or(0), Ordering::Relaxed);
        Ok(newest)
    }

    /// The number for the next database.
    pub(crate) fn next(&self) -> io::Result<u64> {
        self.newest()?;
        Ok(self.given.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The numbers of all databases.
    pub(crate) fn generations(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                found.push(number);
            }
        }
        Ok(found)
    }

    /// Removes all databases but one.
    pub(crate) fn keep_only(&self, generation: u64) -> io::Result<()> {
        for other in self.generations()? {
            if other != generation {
                self.remove(other)?;
            }
        }
        Ok(())
    }

    /// Removes a database.
    pub(crate) fn remove(&self, generation: u64) -> io::Result<()> {
        remove_database(&self.database(generation))
    }

    /// Moves a closed, damaged database aside for inspection, and removes the one moved aside before.
    pub(crate) fn set_aside(&self, generation: u64, time_ms: u64) -> io::Result<()> {
        self.remove_damaged()?;
        fs::rename(self.database(generation), self.path.join(format!("{DAMAGED}{time_ms}")))
    }

    /// Removes the database that was moved aside.
    pub(crate) fn remove_damaged(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(DAMAGED)) {
                remove_database(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes sled's snapshots of its log. An emptied snapshot would prevent sled from reading the log, which has all
    /// data.
    pub(crate) fn remove_snapshots(&self, generation: u64) -> io::Result<()> {
        for entry in fs::read_dir(self.database(generation))? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with("snap.")) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The mark; `None` if it is missing or unreadable.
    pub(crate) fn mark(&self) -> Option<Mark> {
        mark_in(&self.path)
    }

    /// Replaces the mark and syncs it. A crash meanwhile leaves the old mark or the new one.
    pub(crate) fn set_mark(&self, mark: &Mark) -> io::Result<()> {
        replace_file(&[&serde_json::to_vec(mark)?], &self.path.join("mark.new"), &self.path.join(MARK))
    }

    /// Writes the first mark, before there is an index. It is not synced: a power cut leaves no mark, or one of an
    /// earlier boot, and with neither is an index trusted.
    pub(crate) fn first_mark(&self, mark: &Mark) -> io::Result<()> {
        fs::write(self.path.join(MARK), serde_json::to_vec(mark)?)
    }

    /// Removes the mark, so that the next start trusts no index.
    pub(crate) fn remove_mark(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(MARK)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(&self.path)?.sync_all(),
        }
    }

    /// Syncs all files of a closed database.
    pub(crate) fn sync(&self, generation: u64) -> io::Result<()> {
        sync_tree(&self.database(generation))?;
        File::open(&self.path)?.sync_all()
    }
}

/// An abandoned database keeps its file open, so only truncating it frees the space.
fn remove_database(directory: &Path) -> io::Result<()> {
    if let Ok(file) = File::options().write(true).open(directory.join("db")) {
        file.set_len(0)?;
    }
    fs::remove_dir_all(directory)
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(path)?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_highest_number_counts_and_one_damaged_database_is_kept() {
        let place = tempfile::tempdir().unwrap();
        let directory = IndexDirectory::open(place.path().join("index")).unwrap();
        assert_eq!(directory.newest().unwrap(), None);
        for generation in [2, 9, 10] {
            fs::create_dir(directory.database(generation)).unwrap();
        }
        assert_eq!(directory.newest().unwrap(), Some(10));
        assert_eq!(directory.next().unwrap(), 11);
        directory.set_aside(10, 77).unwrap();
        directory.set_aside(9, 78).unwrap();
        assert_eq!(names(&place.path().join("index")), ["2", "damaged-78"]);
        fs::create_dir(directory.database(3)).unwrap();
        directory.keep_only(3).unwrap();
        assert_eq!(directory.newest().unwrap(), Some(3));
        assert_eq!(names(&place.path().join("index")), ["3", "damaged-78"]);
        directory.remove(3).unwrap();
        directory.remove_damaged().unwrap();
        assert_eq!(names(&place.path().join("index")), <[&str; 0]>::default());
        // An abandoned database still writes to its path.
        assert_eq!(directory.next().unwrap(), 12, "a number is given twice");
    }

    #[test]
    fn a_mark_comes_back_and_a_broken_one_is_none() {
        let place = tempfile::tempdir().unwrap();
        let directory = IndexDirectory::open(place.path().into()).unwrap();
        assert_eq!(directory.mark(), None);
        let mark = Mark { boot: "b".into(), clean: Some(4), journal: None };
        directory.set_mark(&mark).unwrap();
        assert_eq!(directory.mark(), Some(mark));
        fs::write(place.path().join(MARK), b"{").unwrap();
        assert_eq!(directory.mark(), None);
    }
}
