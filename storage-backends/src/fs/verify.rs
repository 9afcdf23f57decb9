//! Reading content to see whether it still is what its name says (scrub).

use std::fs::File;
use std::io::{self, Read};

use super::content::READ_STEP;
use super::{ContentStore, StoreError};
use crate::digest::Digest;
use crate::hasher::Hasher;

/// What was found under a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes that the digest promises.
    Sound,
    /// Nothing.
    Missing,
    /// Other bytes.
    Corrupt,
}

impl ContentStore {
    /// Reads content whole and compares it to its digest. After each step of at most 256 KiB `rate` is called with the
    /// step's bytes; sleeping there bounds the load.
    ///
    /// Errors: [`StoreError::Io`] where the disk does not give the bytes.
    pub fn verify(&self, digest: &Digest, rate: &mut dyn FnMut(u64)) -> Result<Verdict, StoreError> {
        let (place, mut file) = match self.open_file(digest) {
            Ok(opened) => opened,
            Err(StoreError::Missing { .. }) => return Ok(Verdict::Missing),
            Err(error) => return Err(error),
        };
        let mut hasher = Hasher::new(digest.algorithm().expect("a place is only made for a known algorithm"));
        hash_file(&mut file, u64::MAX, &mut hasher, rate).map_err(StoreError::io("read", &place.file))?;
        Ok(if hasher.finish() == *digest { Verdict::Sound } else { Verdict::Corrupt })
    }
}

/// Hashes the file from where it stands, at most `limit` bytes of it, and returns how many they were.
pub(super) fn hash_file(
    file: &mut File,
    limit: u64,
    hasher: &mut Hasher,
    rate: &mut dyn FnMut(u64),
) -> io::Result<u64> {
    let mut buffer = vec![0; READ_STEP];
    let mut total = 0;
    while total < limit {
        let wanted = (limit - total).min(READ_STEP as u64) as usize;
        let read = match file.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        total += read as u64;
        rate(read as u64);
    }
    Ok(total)
}
