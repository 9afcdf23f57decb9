//! The key by which a portal proves who it is, in its data directory.
//!
//! The key is made when the directory is opened for the first time. A crash leaves none, or all of it. Deleting the
//! directory deletes the identity, too: copies recorded under it no longer count.

use std::path::Path;

use content_store::record::{self, Format, Found, RecordError, Undecodable};
use content_store::sync_directory;
use skynet_formats::identity::{IdentityKey, SEED_LENGTH};

const FORMAT: Format = Format::new(*b"SKYPKEY\0", 1, SEED_LENGTH);
const FILE: &str = "identity";
const NEW: &str = "identity.new";

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written, or is of a later version.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The directory cannot be synced.
    #[error("cannot sync the portal's directory")]
    Io(#[from] std::io::Error),
    /// The file is damaged. Without it the portal becomes another one, whose content nobody knows of.
    #[error("{FILE} in the portal's directory is damaged; restore it, or delete it to make this another portal")]
    Damaged,
}

/// Opens the key of this directory, or makes one. Blocks.
pub(crate) fn open(directory: &Path) -> Result<IdentityKey, IdentityError> {
    let path = directory.join(FILE);
    match FORMAT.read(&path, decode)? {
        Found::Record(key) => return Ok(key),
        Found::Garbage => return Err(IdentityError::Damaged),
        Found::Nothing => {}
    }
    let mut seed = [0; SEED_LENGTH];
    getrandom::fill(&mut seed).expect("the system has randomness once it has booted");
    record::replace(&FORMAT.encode([0; 2], &[&seed]), &directory.join(NEW), &path, true)?;
    sync_directory(directory)?;
    Ok(IdentityKey::from_seed(&seed))
}

fn decode(bytes: &[u8]) -> Result<IdentityKey, Undecodable> {
    FORMAT.decode(bytes, |_, fields| {
        let seed = fields.bytes(SEED_LENGTH)?;
        Some(IdentityKey::from_seed(seed.try_into().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_key_and_another_has_another() {
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let key = open(one.path()).unwrap().public();
        assert_eq!(open(one.path()).unwrap().public(), key);
        assert_ne!(open(other.path()).unwrap().public(), key);
        let file = one.path().join(FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert!(matches!(open(one.path()), Err(IdentityError::Damaged)));
        std::fs::remove_file(&file).unwrap();
        assert_ne!(open(one.path()).unwrap().public(), key, "a new key makes another portal");
    }
}
