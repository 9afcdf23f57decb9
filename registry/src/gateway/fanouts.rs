//! Stores the fanouts of content whose sectors are not its own 4 MiB units. Each is computed once, since that takes a
//! pass over the content.
//!
//! ```text
//! fanouts/<first 2 hex>/<algorithm>-<hex>    SHA-256 of profile, digest and roots in hex, a line break, the roots
//! ```
//! A file in any other form counts as missing. All functions here block.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use content_store::hasher::Hasher;
use skynet_formats::profile::Profile;
use skynet_formats::sector::SectorRoot;

use super::files;
use crate::oci::{Algorithm, Digest};

/// Bytes of the file before the roots.
const HEAD: usize = 65;

/// All fanouts of one profile. Clones share the directory.
#[derive(Clone, Debug)]
pub(super) struct Fanouts {
    directory: PathBuf,
    profile: Profile,
}

impl Fanouts {
    pub(super) fn open(directory: &Path, profile: Profile) -> io::Result<Self> {
        let directory = directory.join("fanouts");
        files::make_sharded(&directory)?;
        Ok(Fanouts { directory, profile })
    }

    /// The roots of all pieces of the content, chunk by chunk; `None` if they are unknown.
    pub(super) fn get(&self, digest: &Digest) -> io::Result<Option<Arc<[SectorRoot]>>> {
        let Some(path) = self.path(digest) else { return Ok(None) };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // A base sector cannot hold more roots than this.
        let limit = (HEAD + self.profile.sector_size().bytes()) as u64;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        let Some((head, roots)) = bytes.split_at_checked(HEAD) else { return Ok(None) };
        let (fanout, []) = roots.as_chunks::<{ SectorRoot::SIZE }>() else { return Ok(None) };
        let sound = head == self.head(digest, roots).as_bytes();
        Ok(sound.then(|| fanout.iter().map(|root| SectorRoot::from_bytes(*root)).collect()))
    }

    /// Stores a fanout durably.
    pub(super) fn put(&self, digest: &Digest, fanout: &[SectorRoot]) -> io::Result<()> {
        let Some(path) = self.path(digest) else { return Ok(()) };
        let roots: Vec<u8> = fanout.iter().flat_map(SectorRoot::as_bytes).copied().collect();
        files::replace(&path, &[self.head(digest, &roots).as_bytes(), &roots])
    }

    /// Removes fanouts that `keep` returns false for, and foreign files. They may come back after a power cut.
    pub(super) fn retain<E: From<io::Error>>(&self, mut keep: impl FnMut(&Digest) -> Result<bool, E>) -> Result<(), E> {
        for path in files::each(&self.directory)? {
            let path = path?;
            let name = path.file_name().and_then(|name| name.to_str());
            let digest = name.and_then(Digest::from_file_name);
            let known = digest.filter(|digest| self.path(digest).as_ref() == Some(&path));
            if !known.map_or(Ok(false), |digest| keep(&digest))? {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn head(&self, digest: &Digest, roots: &[u8]) -> String {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(format!("{} {digest}\n", self.profile).as_bytes());
        hasher.update(roots);
        format!("{}\n", hasher.finish().encoded())
    }

    /// `None` for content with an unknown digest algorithm.
    fn path(&self, digest: &Digest) -> Option<PathBuf> {
        digest.algorithm()?;
        Some(self.directory.join(digest.encoded().get(..2)?).join(digest.file_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fanout_comes_back_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let of = |profile: &str| Fanouts::open(place.path(), profile.parse().unwrap()).unwrap();
        let fanouts = of("4KiB/2+1");
        let digests = [b"a", b"b"].map(|bytes| Digest::of(Algorithm::Sha512, bytes));
        let roots: Vec<SectorRoot> = (0..6).map(|byte| SectorRoot::from_bytes([byte; 32])).collect();
        assert_eq!(fanouts.get(&digests[0]).unwrap(), None);
        fanouts.put(&digests[0], &roots).unwrap();
        assert_eq!(fanouts.get(&digests[0]).unwrap().as_deref(), Some(&roots[..]));
        assert_eq!(of("4KiB/2+2").get(&digests[0]).unwrap(), None);
        assert_eq!(fanouts.get(&"md5:aabb".parse().unwrap()).unwrap(), None);
        let path = fanouts.path(&digests[0]).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut turned = whole.clone();
        turned[100] ^= 1;
        let renamed = fanouts.path(&digests[1]).unwrap();
        for spoilt in [&b""[..], &whole[..65], &whole[..70], &whole[..whole.len() - 32], &turned] {
            fs::write(&path, spoilt).unwrap();
            assert_eq!(fanouts.get(&digests[0]).unwrap(), None, "{} bytes", spoilt.len());
        }
        fs::write(&renamed, &whole).unwrap();
        assert_eq!(fanouts.get(&digests[1]).unwrap(), None);
    }

    #[test]
    fn what_nobody_wants_goes_with_leftovers() {
        let place = tempfile::tempdir().unwrap();
        let fanouts = Fanouts::open(place.path(), Profile::DEFAULT).unwrap();
        let digests = [b"a", b"b"].map(|bytes| Digest::of(Algorithm::Blake3, bytes));
        let roots = [SectorRoot::from_bytes([7; 32])];
        for digest in &digests {
            fanouts.put(digest, &roots).unwrap();
        }
        fs::write(fanouts.directory.join("00/sha256-00.tmp"), "").unwrap();
        fanouts.retain(|digest| io::Result::Ok(*digest == digests[1])).unwrap();
        assert_eq!(fanouts.get(&digests[0]).unwrap(), None);
        assert!(fanouts.get(&digests[1]).unwrap().is_some());
        assert_eq!(files::each(&fanouts.directory).unwrap().count(), 1);
    }
}
