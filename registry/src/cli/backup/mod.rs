//! `skyberth backup` and `skyberth restore`: a node's names, tags, links and records of copies as of one moment, with as
//! much of its content as is asked for, in one tar archive (`docs/on-disk-format.md`, "Backup").
//!
//! A backup of a running node, in this order:
//!
//! 1. The node is told to keep all files of content until the backup ends.
//! 2. The journal is copied to a temporary directory, newest file first: each older one was complete before the newer
//!    one was begun, so the copy is what a power cut at some moment would have left.
//! 3. The copy is opened as at a start, and tells what is held. All of it was held after step 1, so its files stay.
//! 4. Journal and files go into the archive; each file is compared to its digest on the way.
//! 5. The node must have kept its word until here: one that stopped meanwhile may have removed files since.
//!
//! A stopped node cannot start while a backup of it is made, and the same steps are taken without it.

mod archive;
mod make;
mod restore;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use anyhow::Context;

pub(super) use archive::Content;
pub(super) use make::{Partial, make};
pub(super) use restore::restore;

/// Where an archive is.
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
    /// To read from.
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
