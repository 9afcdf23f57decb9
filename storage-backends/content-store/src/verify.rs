//! Reading content to check that it still matches its digest (scrub).

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

use super::content::READ_STEP;
use super::{ContentStore, StoreError};
use crate::digest::Digest;
use crate::hasher::Hasher;

/// The state of the content of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes match the digest.
    Sound,
    /// There is no content.
    Missing,
    /// The bytes do not match the digest.
    Corrupt,
    /// Unknown: the caller stopped the check.
    Interrupted,
}

/// A pace without pauses.
pub fn full_speed(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

impl ContentStore {
    /// Reads content completely and checks it against its digest. After each step of at most 256 KiB, `pace` is called
    /// with the step's bytes. It may sleep to bound the load, or stop the check.
    ///
    /// Errors: [`StoreError::Io`] if the bytes cannot be read.
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

/// Hashes at most `limit` bytes of the file from its current position, and returns their number, unless `pace` stops
/// it.
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
