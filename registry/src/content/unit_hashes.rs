//! A BLAKE3 hash of each unit, beside the list of roots. It verifies cold reads in a fifth of the time.
//!
//! Each piece of content has one record, made when its roots are computed from the local file. It is never placed
//! anywhere (`docs/on-disk-format.md`, "Placement"). It names the list of roots computed in the same pass, and is valid
//! only while that list is recorded. Without a record, the roots verify the content.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use backends::UnitHash;
use content_store::record::{self, Fields, Format, RecordError};

use super::{Error, LocalContent};
use crate::oci::Digest;

/// Most units of content with a record: 2 TiB.
const MAX_UNITS: usize = 512 * 1024;
/// Bytes of a digest as text, with its length.
const LIST: usize = 2 + 256;
const FORMAT: Format = Format::new(*b"SKYHASH\0", 1, LIST + MAX_UNITS * UnitHash::SIZE);
/// Suffix of a record that is being written.
const NEW: &str = ".new";

/// Stores the hashes of content whose roots are in this list. Nothing depends on them. Blocks.
///
/// Not synced: a crash leaves the old record, which names another list, the new record, or none.
pub(crate) fn keep(directory: &Path, digest: &Digest, list: &Digest, hashes: &[UnitHash]) {
    if hashes.len() > MAX_UNITS {
        return;
    }
    let (list, hashes) = (list.to_string(), hashes.iter().flat_map(UnitHash::as_bytes).copied().collect::<Vec<u8>>());
    let record = FORMAT.encode([0; 2], &[&(list.len() as u16).to_le_bytes(), list.as_bytes(), &hashes]);
    let place = path(directory, digest);
    if let Err(error) = record::replace(&record, &temporary(&place), &place, false) {
        tracing::warn!(%digest, %error, "the hashes of units cannot be stored, so cold reads will take longer");
    }
}

/// The hashes of content whose roots are in this list; `None` if they are unknown. Blocks.
fn read(directory: &Path, digest: &Digest, list: &Digest) -> Result<Option<Arc<[UnitHash]>>, RecordError> {
    let found = FORMAT.read(&path(directory, digest), |bytes| FORMAT.decode(bytes, |_, fields| decode(fields)))?;
    Ok(found.record().filter(|(of, _)| of == list).map(|(_, hashes)| hashes))
}

fn decode(fields: &mut Fields<'_>) -> Option<(Digest, Arc<[UnitHash]>)> {
    let length = fields.u16()?;
    let list = fields.text(usize::from(length))?.parse().ok()?;
    let (hashes, rest) = fields.rest().as_chunks::<{ UnitHash::SIZE }>();
    rest.is_empty().then(|| (list, hashes.iter().copied().map(UnitHash::from_bytes).collect()))
}

impl LocalContent {
    /// Stores the hashes of content whose roots are in this list, if this node stores hashes.
    pub(super) async fn keep_unit_hashes(&self, digest: &Digest, list: Digest, hashes: Vec<UnitHash>) {
        let (Some(directory), digest) = (self.unit_hashes.clone(), digest.clone()) else { return };
        // This fails only while the process ends.
        let _ = tokio::task::spawn_blocking(move || keep(&directory, &digest, &list, &hashes)).await;
    }

    /// The hashes of content with the recorded roots; `None` if they are unknown. Blocks.
    pub(crate) fn unit_hashes(&self, digest: &Digest) -> Result<Option<Arc<[UnitHash]>>, Error> {
        let Some(directory) = &self.unit_hashes else { return Ok(None) };
        let Some(recorded) = self.catalog.unit_roots(digest)? else { return Ok(None) };
        let known = read(directory, digest, &recorded.list).unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "the hashes of units cannot be read, so their roots are used");
            None
        });
        Ok(known.filter(|hashes| hashes.len() as u64 == recorded.units))
    }

    /// Removes records of unreferenced content, and incomplete records.
    pub(crate) async fn sweep_unit_hashes(&self) -> Result<(), Error> {
        let (Some(directory), catalog) = (self.unit_hashes.clone(), self.catalog.clone()) else { return Ok(()) };
        tokio::task::spawn_blocking(move || sweep(&directory, |digest| Ok(catalog.is_referenced(digest)?))).await?
    }
}

fn sweep(directory: &Path, is_referenced: impl Fn(&Digest) -> Result<bool, Error>) -> Result<(), Error> {
    let cannot = |error: io::Error| {
        tracing::warn!(%error, "hashes of units of unreferenced content cannot be removed");
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            cannot(error);
            return Ok(());
        }
    };
    for entry in entries.filter_map(|entry| entry.map_err(cannot).ok()) {
        let name = entry.file_name();
        let name = name.to_str().map(|name| name.strip_suffix(NEW).unwrap_or(name));
        if let Some(digest) = name.and_then(Digest::from_file_name)
            && !is_referenced(&digest)?
        {
            let _ = fs::remove_file(entry.path()).map_err(cannot);
        }
    }
    Ok(())
}

fn path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(digest.file_name())
}

fn temporary(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(NEW);
    name.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::Algorithm;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn hashes() -> Vec<UnitHash> {
        (0..3).map(|number| UnitHash::of(&[number])).collect()
    }

    #[test]
    fn hashes_come_back_for_the_list_that_they_were_computed_with_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        let (content, list) = (digest("content"), digest("list"));
        assert_eq!(read(place.path(), &content, &list).unwrap(), None);
        keep(place.path(), &content, &list, &hashes());
        assert_eq!(read(place.path(), &content, &list).unwrap().unwrap()[..], hashes());
        assert_eq!(read(place.path(), &content, &digest("another list")).unwrap(), None);
        assert_eq!(read(place.path(), &digest("another content"), &list).unwrap(), None);
        keep(place.path(), &content, &digest("another list"), &hashes()[..1]);
        assert_eq!(read(place.path(), &content, &list).unwrap(), None);
    }

    #[test]
    fn any_damage_makes_a_record_none() {
        let place = tempfile::tempdir().unwrap();
        let (content, list) = (digest("content"), digest("list"));
        keep(place.path(), &content, &list, &hashes());
        let file = path(place.path(), &content);
        let whole = fs::read(&file).unwrap();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x10;
            fs::write(&file, &damaged).unwrap();
            // A checksum covers everything, including the version.
            assert_eq!(read(place.path(), &content, &list).unwrap(), None, "byte {position}");
            fs::write(&file, &whole[..position]).unwrap();
            assert_eq!(read(place.path(), &content, &list).unwrap(), None, "cut at {position}");
        }
    }

    proptest! {
        /// Records with a correct checksum, but with a wrong length of the digest or arbitrary content.
        #[test]
        fn no_fields_in_a_sound_record_panic(
            length in prop_oneof![Just(71), 0..100_u16, any::<u16>()],
            rest in "(sha256:[0-9a-f]{64})?([a-z]{32}){0,3}\\PC{0,2}",
        ) {
            let record = FORMAT.encode([0; 2], &[&length.to_le_bytes(), rest.as_bytes()]);
            if let Ok((list, hashes)) = FORMAT.decode(&record, |_, fields| decode(fields)) {
                prop_assert_eq!(list.to_string(), &rest[..usize::from(length)]);
                prop_assert_eq!(usize::from(length) + hashes.len() * UnitHash::SIZE, rest.len());
            }
        }
    }

    #[test]
    fn a_sweep_takes_what_belongs_to_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (held, unheld, list) = (digest("held"), digest("unheld"), digest("list"));
        for content in [&held, &unheld] {
            keep(place.path(), content, &list, &hashes());
        }
        fs::write(temporary(&path(place.path(), &unheld)), "torn").unwrap();
        sweep(place.path(), |digest| Ok(*digest == held)).unwrap();
        assert_eq!(read(place.path(), &held, &list).unwrap().unwrap()[..], hashes());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
