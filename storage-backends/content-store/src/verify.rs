//! Reading content to see whether it still is what its name says (scrub).

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

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
    /// Unknown: the caller broke off.
    Interrupted,
}

/// The pace of those who do not care about the load.
pub fn full_speed(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

impl ContentStore {
    /// Reads content whole and compares it to its digest. After each step of at most 256 KiB `pace` is called with the
    /// step's bytes: it may sleep to bound the load, or break off.
    ///
    /// Errors: [`StoreError::Io`] where the disk does not give the bytes.
    pub fn verify(&self, digest: &Digest, pace: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Verdict, StoreError> {
        let (place, mut file) = match self.open_file(digest) {
            Ok(opened) => opened,
            Err(StoreError::Missing { .. }) => return Ok(Verdict::Missing),
            Err(error) => return Err(error),
        };
        let mut hasher = Hasher::new(digest.algorithm().expect("a place is only made for a known algorithm"));
        match hash_file(&mut file, u64::MAX, &mut hasher, pace).map_err(StoreError::io("read", &place.file))? {
            ControlFlow::Break(()) => return Ok(Verdict::Interrupted),
            ControlFlow::Continue(_) => {}
        }
        Ok(if hasher.finish() == *digest { Verdict::Sound } else { Verdict::Corrupt })
    }
}

/// Hashes the file from where it stands, at most `limit` bytes of it, and returns how many they were,
/// unless `pace` breaks off.
pub(super) fn hash_file(
    file: &mut File,
    limit: u64,
    hasher: &mut Hasher,
    pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<ControlFlow<(), u64>> {
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
        if pace(read as u64).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(total))
}
