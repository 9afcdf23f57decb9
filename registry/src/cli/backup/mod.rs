//! `skyberth backup` and `skyberth restore`: a node's names, tags, links and records of copies at one moment, with the
//! selected content, in one tar archive (`docs/on-disk-format.md`, "Backup").
//!
//! The steps of a backup of a running node:
//!
//! 1. The node is told to keep all files of content until the backup ends.
//! 2. The journal is copied to a temporary directory, newest file first. Each older file was complete before the newer
//!    one was begun. So the copy is what a power cut at some moment would have left.
//! 3. The copy is opened as at a start, and lists the referenced content. All of it was referenced after step 1, so its
//!    files stay.
//! 4. Journal and files go into the archive. Each file is compared with its digest on the way.
//! 5. The node must still be running. If it stopped, it may have removed files.
//!
//! A stopped node is locked, so that it cannot start during the backup. Steps 2 to 4 are the same.

mod archive;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod make;
mod patient;
mod restore;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use anyhow::Context;

pub(super) use archive::Content;
pub(super) use make::{Partial, make};
pub(super) use restore::restore;

/// The location of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Standard output or input.
    Stream,
    /// A file.
    File(PathBuf),
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Place::Stream } else { Place::File(path) }
    }
}

impl Place {
    /// Opens the archive for reading.
    pub(super) fn open(&self) -> anyhow::Result<Box<dyn Read>> {
        match self {
            Place::Stream => Ok(Box::new(io::stdin().lock())),
            Place::File(path) => {
                let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
                Ok(Box::new(BufReader::new(file)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
