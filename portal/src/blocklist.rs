//! The skylinks that the operator blocks, stored as hashes of their sector roots, so that the list does not lead to
//! them.
//!
//! `blocklist` is a text file with one BLAKE2b-256 hash of a root per line, in lower-case hex, sorted. It is replaced
//! whole.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use content_store::replace_file;
use data_encoding::HEXLOWER;
use skynet_formats::sector::SectorRoot;

/// Most hashes. All are in memory, and each takes 65 bytes in the file.
const MAX_HASHES: usize = 1 << 20;

/// The hash of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockedHash([u8; 32]);

impl BlockedHash {
    pub(crate) fn of(root: &SectorRoot) -> Self {
        let hash = blake2b_simd::Params::new().hash_length(32).hash(root.as_bytes());
        BlockedHash(hash.as_bytes().try_into().expect("that many bytes were asked for"))
    }

    /// Reads 64 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok()?;
        Some(BlockedHash(bytes.try_into().ok()?))
    }

    pub(crate) fn to_hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// The list, in memory and in its file. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Blocklist(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    hashes: RwLock<Arc<BTreeSet<BlockedHash>>>,
    /// Locked by the thread that changes the list.
    changing: Mutex<()>,
}

/// Reasons why the list was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlocklistError {
    /// The list would become too long.
    #[error("the blocklist holds at most {MAX_HASHES} hashes")]
    TooLong,
    /// The disk failed.
    #[error("cannot write the blocklist")]
    Io(#[from] io::Error),
}

impl Blocklist {
    /// Reads the list in `directory`; an absent one is empty.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(directory.join("blocklist")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            result => result?,
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the blocklist has a line that is no hash");
        let hashes = text.lines().map(|line| BlockedHash::parse(line).ok_or_else(damaged)).collect::<Result<_, _>>()?;
        let hashes = RwLock::new(Arc::new(hashes));
        Ok(Blocklist(Arc::new(Shared { directory: directory.to_owned(), hashes, changing: Mutex::new(()) })))
    }

    /// An empty list that cannot be changed.
    pub(crate) fn none() -> Self {
        let shared = Shared { directory: PathBuf::new(), hashes: RwLock::default(), changing: Mutex::default() };
        Blocklist(Arc::new(shared))
    }

    /// True if the sector is blocked.
    pub(crate) fn contains(&self, root: &SectorRoot) -> bool {
        let hashes = self.hashes();
        !hashes.is_empty() && hashes.contains(&BlockedHash::of(root))
    }

    /// The current list, sorted.
    pub(crate) fn hashes(&self) -> Arc<BTreeSet<BlockedHash>> {
        // The list is replaced in one step, so a panic cannot leave it half changed.
        Arc::clone(&self.0.hashes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds, then removes hashes, durably. Blocks.
    pub(crate) fn change(&self, add: &[BlockedHash], remove: &[BlockedHash]) -> Result<(), BlocklistError> {
        let _alone = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hashes = (*self.hashes()).clone();
        hashes.extend(add);
        for hash in remove {
            hashes.remove(hash);
        }
        if hashes.len() > MAX_HASHES {
            return Err(BlocklistError::TooLong);
        }
        self.write(&hashes)?;
        *self.0.hashes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hashes);
        Ok(())
    }

    fn write(&self, hashes: &BTreeSet<BlockedHash>) -> io::Result<()> {
        let mut text = String::with_capacity(hashes.len() * 65);
        for hash in hashes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", hash.to_hex());
        }
        let directory = &self.0.directory;
        replace_file(&[text.as_bytes()], &directory.join("blocklist.tmp"), &directory.join("blocklist"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_a_start() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = [[1; 32], [2; 32]].map(SectorRoot::from_bytes);
        let list = Blocklist::open(directory.path()).unwrap();
        assert!(!list.contains(&a));
        list.change(&[BlockedHash::of(&a), BlockedHash::of(&b)], &[]).unwrap();
        list.change(&[], &[BlockedHash::of(&b)]).unwrap();
        for list in [list, Blocklist::open(directory.path()).unwrap()] {
            assert!(list.contains(&a) && !list.contains(&b));
        }
        fs::write(directory.path().join("blocklist"), "not a hash\n").unwrap();
        assert!(Blocklist::open(directory.path()).is_err());
    }

    /// BLAKE2b-256 of 32 zeros.
    #[test]
    fn the_hash_is_that_of_the_root() {
        let hash = BlockedHash::of(&SectorRoot::from_bytes([0; 32]));
        assert_eq!(hash.to_hex(), "89eb0d6a8a691dae2cd15ed0369931ce0a949ecafa5c3f93f8121833646e15c3");
        assert_eq!(BlockedHash::parse(&hash.to_hex().to_uppercase()), Some(hash));
        assert_eq!(BlockedHash::parse("89"), None);
    }
}
