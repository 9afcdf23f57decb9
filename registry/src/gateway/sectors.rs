//! Stores which skyfiles contain a data sector, as pairs of roots, in files by the first byte of the sector's root.
//!
//! ```text
//! sectors/<first 2 hex>    for each sector and each skyfile with it, 64 bytes: its root, then the root of the base
//! sector
//! ```
//! A pair is a hint, checked by its reader against the skyfile's record and fanout. So until a sweep, a pair may appear
//! twice, or name a removed skyfile. Pairs are durable before the record of their skyfile is written. All functions
//! here block.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use content_store::{make_directory, sync_data, sync_directory};
use skynet_formats::sector::SectorRoot;

use super::files;

/// The root of a sector, and the root of the base sector of a skyfile with it.
pub(super) type Pair = (SectorRoot, SectorRoot);

const PAIR: usize = 2 * SectorRoot::SIZE;
/// Bytes read at a time: a multiple of the size of a pair.
const STEP: usize = 1024 * PAIR;
/// Most skyfiles examined for one sector: the newest ones.
const MAX_SKYFILES: usize = 256;

/// All pairs. Clones share the directory.
#[derive(Clone, Debug)]
pub(super) struct Sectors {
    directory: PathBuf,
}

impl Sectors {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let directory = directory.join("sectors");
        make_directory(&directory)?;
        Ok(Sectors { directory })
    }

    /// The base sectors of skyfiles with this sector, the newest first.
    pub(super) fn of(&self, sector: &SectorRoot) -> io::Result<Vec<SectorRoot>> {
        let mut found = VecDeque::new();
        each_pair(&self.path(sector.as_bytes()[0]), |(root, base)| {
            if root == *sector && !found.contains(&base) {
                found.push_front(base);
                found.truncate(MAX_SKYFILES);
            }
        })?;
        Ok(found.into())
    }

    /// Adds pairs durably.
    pub(super) fn add(&self, mut pairs: Vec<Pair>) -> io::Result<()> {
        pairs.sort_unstable();
        let mut is_new = false;
        for pairs in pairs.chunk_by(|one, other| one.0.as_bytes()[0] == other.0.as_bytes()[0]) {
            let path = self.path(pairs[0].0.as_bytes()[0]);
            is_new |= !path.try_exists()?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            // Part of a pair, left by a crash, is overwritten.
            let end = file.metadata()?.len() / PAIR as u64 * PAIR as u64;
            file.write_all_at(&bytes_of(pairs), end)?;
            sync_data(&file)?;
        }
        // A crash before this may lose the pairs. No record depends on them yet.
        if is_new { sync_directory(&self.directory) } else { Ok(()) }
    }

    /// Removes duplicates, and the pairs of skyfiles for which `keep` returns false. It has one file in memory at a
    /// time: about 640 KiB for 10 TiB in sectors of 4 MiB.
    pub(super) fn retain(&self, mut keep: impl FnMut(&SectorRoot) -> io::Result<bool>) -> io::Result<()> {
        for shard in 0..=u8::MAX {
            let path = self.path(shard);
            let mut pairs = Vec::new();
            each_pair(&path, |pair| pairs.push(pair))?;
            let (before, mut seen, mut known) = (pairs.len(), HashSet::new(), HashMap::new());
            let mut kept = Vec::new();
            for pair in pairs {
                let wanted = match known.get(&pair.1) {
                    Some(wanted) => *wanted,
                    None => *known.entry(pair.1).or_insert(keep(&pair.1)?),
                };
                if wanted && seen.insert(pair) {
                    kept.push(pair);
                }
            }
            if kept.len() < before {
                files::replace(&path, &[&bytes_of(&kept)])?;
            }
        }
        Ok(())
    }

    /// Removes all pairs. They may come back after a power cut.
    pub(super) fn clear(&self) -> io::Result<()> {
        fs::read_dir(&self.directory)?.try_for_each(|entry| fs::remove_file(entry?.path()))
    }

    fn path(&self, shard: u8) -> PathBuf {
        self.directory.join(format!("{shard:02x}"))
    }
}

/// Calls `each` with all pairs of a file, which may be absent.
fn each_pair(path: &Path, mut each: impl FnMut(Pair)) -> io::Result<()> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut step = Vec::with_capacity(STEP);
    loop {
        step.clear();
        file.by_ref().take(STEP as u64).read_to_end(&mut step)?;
        let (roots, _) = step.as_chunks::<{ SectorRoot::SIZE }>();
        let (pairs, _) = roots.as_chunks::<2>();
        for [sector, base] in pairs {
            each((SectorRoot::from_bytes(*sector), SectorRoot::from_bytes(*base)));
        }
        if step.len() < STEP {
            return Ok(());
        }
    }
}

fn bytes_of(pairs: &[Pair]) -> Vec<u8> {
    pairs.iter().flat_map(|(sector, base)| [sector.as_bytes(), base.as_bytes()]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(number: u16) -> SectorRoot {
        let mut bytes = [number as u8; 32];
        bytes[1] = (number >> 8) as u8;
        SectorRoot::from_bytes(bytes)
    }

    #[test]
    fn a_sector_has_its_skyfiles_the_last_first() {
        let place = tempfile::tempdir().unwrap();
        let sectors = Sectors::open(place.path()).unwrap();
        assert!(sectors.of(&root(1)).unwrap().is_empty());
        sectors.add(vec![(root(1), root(9)), (root(2), root(9)), (root(257), root(9))]).unwrap();
        sectors.add(vec![(root(1), root(8))]).unwrap();
        sectors.add(vec![(root(1), root(9)), (root(1), root(8))]).unwrap();
        assert_eq!(sectors.of(&root(1)).unwrap(), [root(8), root(9)]);
        assert_eq!(sectors.of(&root(257)).unwrap(), [root(9)]);
        assert!(sectors.of(&root(513)).unwrap().is_empty());
        sectors.retain(|base| Ok(*base == root(8))).unwrap();
        assert_eq!(sectors.of(&root(1)).unwrap(), [root(8)]);
        assert_eq!(fs::metadata(sectors.path(1)).unwrap().len(), 64, "what stood twice went too");
        assert!(sectors.of(&root(2)).unwrap().is_empty());
        sectors.clear().unwrap();
        assert!(sectors.of(&root(1)).unwrap().is_empty());
    }

    #[test]
    fn what_a_crash_leaves_of_a_pair_is_written_over() {
        let place = tempfile::tempdir().unwrap();
        let sectors = Sectors::open(place.path()).unwrap();
        for torn in [1, 63, 64, 100] {
            sectors.add(vec![(root(1), root(9))]).unwrap();
            let file = OpenOptions::new().write(true).open(sectors.path(1)).unwrap();
            file.set_len(file.metadata().unwrap().len() + torn).unwrap();
            assert_eq!(sectors.of(&root(1)).unwrap(), [root(9)], "{torn}");
        }
        sectors.add(vec![(root(1), root(8))]).unwrap();
        assert_eq!(sectors.of(&root(1)).unwrap(), [root(8), root(9)]);
    }

    #[test]
    fn of_too_many_skyfiles_the_last_are_looked_at() {
        let place = tempfile::tempdir().unwrap();
        let sectors = Sectors::open(place.path()).unwrap();
        sectors.add((0..3000).map(|base| (root(0), root(base))).collect()).unwrap();
        let found = sectors.of(&root(0)).unwrap();
        assert_eq!(found.len(), MAX_SKYFILES);
        assert!(found.iter().all(|base| base.as_bytes()[0] > 0xe0), "not the last");
    }
}
