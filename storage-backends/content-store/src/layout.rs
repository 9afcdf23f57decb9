//! The paths in a content store.
//!
//! ```text
//! <root>/
//!   blobs/<algorithm>/<first 2 hex>/<hex>        content: immutable, mode 0400, named by the digest it was pushed under
//!   uploads/<id>/data                            bytes of an open upload session
//!   uploads/<id>/state                           its state record; state.tmp while being replaced
//!   uploads/put-<process>-<n>.tmp                small content on its way into blobs/
//!   quarantine/<algorithm>-<hex>-<unix time>     content that was found damaged
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::UploadId;
use crate::digest::{Algorithm, Digest};

/// The number of directories for the content of one algorithm.
pub(super) const SHARDS: usize = 256;

/// The paths below one root.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    pub(super) blobs: PathBuf,
    pub(super) uploads: PathBuf,
    pub(super) quarantine: PathBuf,
}

/// The path of the content of one digest, whether or not it exists.
#[derive(Debug)]
pub(super) struct Place {
    /// A number for the directory, below `Algorithm::ALL.len() * SHARDS`.
    pub(super) shard: usize,
    /// `blobs/<algorithm>`
    pub(super) parent: PathBuf,
    /// `blobs/<algorithm>/<first 2 hex>`
    pub(super) directory: PathBuf,
    /// The file in it.
    pub(super) file: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Layout {
            root: root.to_path_buf(),
            blobs: root.join("blobs"),
            uploads: root.join("uploads"),
            quarantine: root.join("quarantine"),
        }
    }

    /// The path of a digest; `None` if its algorithm is unsupported. A digest of a supported algorithm is lower-case
    /// hex of full length, so its path cannot lead elsewhere.
    pub(super) fn place(&self, digest: &Digest) -> Option<Place> {
        let algorithm = digest.algorithm()?;
        let prefix = digest.encoded().get(..2)?;
        let shard = usize::from(u8::from_str_radix(prefix, 16).ok()?);
        let parent = self.blobs.join(algorithm.name());
        let directory = parent.join(prefix);
        let file = directory.join(digest.encoded());
        Some(Place { shard: algorithm_number(algorithm) * SHARDS + shard, parent, directory, file })
    }

    /// The file with the bytes of a session.
    pub(super) fn data_file(&self, id: &UploadId) -> PathBuf {
        self.uploads.join(id.as_str()).join("data")
    }

    /// A name in quarantine; `attempt` distinguishes files quarantined within the same second.
    pub(super) fn quarantined(&self, digest: &Digest, now: SystemTime, attempt: u32) -> PathBuf {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let name = format!("{}-{seconds}", digest.file_name());
        self.quarantine.join(if attempt == 0 { name } else { format!("{name}.{attempt}") })
    }
}

fn algorithm_number(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Sha256 => 0,
        Algorithm::Sha512 => 1,
        Algorithm::Blake3 => 2,
    }
}

/// The name of small content in flight to `blobs/`. Numbers are unique in a process; a file of an earlier process with
/// the same id is a leftover and may be overwritten.
pub(super) fn temporary_name(number: u64) -> String {
    format!("put-{}-{number}.tmp", std::process::id())
}

/// True for names made by [`temporary_name`].
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with("put-") && Path::new(name).extension() == Some(OsStr::new("tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_stands_under_algorithm_and_prefix() {
        let layout = Layout::new(Path::new("/r"));
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let place = layout.place(&digest).unwrap();
        assert_eq!(place.shard, 0xba);
        assert_eq!(place.file, Path::new("/r/blobs/sha256/ba").join(digest.encoded()));
        assert!(layout.place(&"md5:aabb".parse().unwrap()).is_none());
    }

    #[test]
    fn temporary_names_are_recognized_and_no_upload_ids() {
        assert!(is_temporary(&temporary_name(7)));
        assert!(temporary_name(7).parse::<UploadId>().is_err());
        assert!(!is_temporary("put-1") && !is_temporary("x.tmp"));
    }
}
