//! Stores the gateway's records: a file for each base sector, beside the files of `sectors` and `fanouts`.
//!
//! ```text
//! links/<first 2 hex>/<root hex> digest and length of the content with that base sector, and whether its sectors are
//! listed
//! sectors/                       see `sectors`
//! fanouts/                       see `fanouts`
//! state.json                     see `state`
//! ```
//! All of it can be rebuilt. An unreadable record counts as missing. All functions here block.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use content_store::{make_directory, sync_data, sync_directory};
use skynet_formats::profile::Profile;
use skynet_formats::sector::{SectorRoot, sector_root};

use super::fanouts::Fanouts;
use super::files;
use super::sectors::Sectors;
use super::state::StateFile;
use crate::oci::Digest;

/// Longest record: the longest digest, a number, a word.
const MAX_RECORD: u64 = 512;

/// A skyfile, as its record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skyfile {
    pub(super) digest: Digest,
    pub(super) length: u64,
    /// True if all its data sectors have pairs. False if only its skylink was known.
    pub(super) listed: bool,
}

impl Skyfile {
    pub(super) fn to_text(&self) -> String {
        let listed = if self.listed { "listed" } else { "skylink" };
        format!("{} {} {listed}\n", self.digest, self.length)
    }

    /// Parses a record. Without its line break a record is incomplete, and counts as missing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (digest, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let listed = match words.next()? {
            "listed" => true,
            "skylink" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Skyfile { digest, length, listed })
    }
}

/// Content and its base sector, to be recorded.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) base: SectorRoot,
    pub(super) record: Skyfile,
    /// The sectors that contain the content, if the base sector does not.
    pub(super) sectors: Vec<SectorRoot>,
}

/// All records. Clones share the directory.
#[derive(Clone, Debug)]
pub(super) struct Records {
    links: PathBuf,
    pub(super) sectors: Sectors,
    pub(super) fanouts: Fanouts,
    pub(super) state: StateFile,
    /// The root of a sector of zeros. It gets no pairs, since any content may have such sectors.
    zeros: SectorRoot,
}

impl Records {
    pub(super) fn open(directory: &Path, profile: Profile) -> io::Result<Self> {
        let links = directory.join("links");
        make_directory(directory)?;
        files::make_sharded(&links)?;
        let (sectors, fanouts) = (Sectors::open(directory)?, Fanouts::open(directory, profile)?);
        let state = StateFile::in_directory(directory);
        sync_directory(directory)?;
        Ok(Records { links, sectors, fanouts, state, zeros: sector_root(profile.sector_size(), &[]) })
    }

    /// The record of this base sector; `None` if there is none.
    pub(super) fn get(&self, root: &SectorRoot) -> io::Result<Option<Skyfile>> {
        let file = match File::open(self.path(root)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        match file.take(MAX_RECORD).read_to_string(&mut text) {
            Ok(_) => Ok(Skyfile::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes records durably, except those that exist unchanged.
    ///
    /// A crash after the pairs leaves pairs without a record. They are added again with the record, and a sweep removes
    /// the duplicates. A crash while records are written may leave them, no files, or empty files, which count as
    /// missing.
    pub(super) fn put(&self, found: &[Found]) -> io::Result<()> {
        let mut new = Vec::new();
        let mut seen = HashSet::new();
        for one in found.iter().rev().filter(|one| seen.insert((one.base, one.record.listed))) {
            let stands = self.get(&one.base)?;
            let listed = one.record.listed || stands.as_ref().is_some_and(|stands| stands.listed);
            if stands != Some(Skyfile { listed, ..one.record.clone() }) {
                new.push(one);
            }
        }
        let pairs = new.iter().flat_map(|one| {
            let distinct: BTreeSet<SectorRoot> = one.sectors.iter().copied().collect();
            distinct.into_iter().filter(|root| *root != self.zeros).map(|root| (root, one.base))
        });
        self.sectors.add(pairs.collect())?;
        let mut shards = BTreeSet::new();
        let mut files = Vec::new();
        // For one base sector, a listed record is written last and wins.
        new.sort_by_key(|one| one.record.listed);
        for one in new {
            let path = self.path(&one.base);
            files.push(files::write(&path, &[one.record.to_text().as_bytes()])?);
            shards.extend(path.parent().map(Path::to_owned));
        }
        files.iter().try_for_each(sync_data)?;
        shards.iter().try_for_each(|shard| sync_directory(shard))
    }

    /// Removes the records for which `keep` returns false, invalid files, and the pairs and fanouts of both. Returns
    /// how many records were removed.
    pub(super) fn retain<E: From<io::Error>>(
        &self,
        mut keep: impl FnMut(&Digest) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let (mut removed, mut shards) = (0, BTreeSet::new());
        for path in files::each(&self.links)? {
            let path = path?;
            let root = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let record = root.map_or(Ok(None), |root| self.get(&root))?;
            if !record.map_or(Ok(false), |record| keep(&record.digest))? {
                fs::remove_file(&path)?;
                shards.extend(path.parent().map(Path::to_owned));
                removed += 1;
            }
        }
        self.fanouts.retain(keep)?;
        if removed > 0 {
            // Records first: if a power cut brought a record back after its pairs were removed, it would have none.
            shards.iter().try_for_each(|shard| sync_directory(shard))?;
            self.sectors.retain(|base| self.path(base).try_exists())?;
        }
        Ok(removed)
    }

    /// Removes all records.
    pub(super) fn clear(&self) -> io::Result<()> {
        // The state first: any files that remain after a power cut are then ignored.
        self.state.remove()?;
        files::each(&self.links)?.try_for_each(|path| fs::remove_file(path?))?;
        self.fanouts.retain(|_| io::Result::Ok(false))?;
        self.sectors.clear()
    }

    fn path(&self, root: &SectorRoot) -> PathBuf {
        let name = root.to_string();
        self.links.join(&name[..2]).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root(byte: u8) -> SectorRoot {
        SectorRoot::from_bytes([byte; 32])
    }

    fn record(number: u8, listed: bool) -> Skyfile {
        Skyfile { digest: format!("sha256:{number:064x}").parse().unwrap(), length: u64::from(number), listed }
    }

    fn found(base: u8, listed: bool, sectors: &[u8]) -> Found {
        let sectors = sectors.iter().map(|byte| root(*byte)).collect();
        Found { base: root(base), record: record(base, listed), sectors }
    }

    fn open(place: &tempfile::TempDir) -> Records {
        Records::open(place.path(), Profile::DEFAULT).unwrap()
    }

    #[test]
    fn records_come_back_and_go_when_nobody_wants_them() {
        let place = tempfile::tempdir().unwrap();
        let records = open(&place);
        assert_eq!(records.get(&root(1)).unwrap(), None);
        records.put(&[found(1, true, &[]), found(2, true, &[20, 21, 20])]).unwrap();
        let records = open(&place);
        assert_eq!(records.get(&root(1)).unwrap(), Some(record(1, true)));
        assert_eq!(records.get(&root(2)).unwrap(), Some(record(2, true)));
        assert_eq!(records.sectors.of(&root(20)).unwrap(), [root(2)]);
        records.put(&[found(3, true, &[20])]).unwrap();
        let removed = records.retain(|digest| io::Result::Ok(*digest != record(2, true).digest)).unwrap();
        assert_eq!((removed, records.get(&root(2)).unwrap()), (1, None));
        assert!(records.get(&root(1)).unwrap().is_some());
        assert_eq!(records.sectors.of(&root(20)).unwrap(), [root(3)]);
        assert!(records.sectors.of(&root(21)).unwrap().is_empty());
    }

    #[test]
    fn what_stands_is_not_written_again_and_no_less_than_it_was() {
        let place = tempfile::tempdir().unwrap();
        let records = open(&place);
        let pairs = || fs::metadata(place.path().join("sectors/14")).map_or(0, |file| file.len());
        records.put(&[found(1, false, &[])]).unwrap();
        assert_eq!((records.get(&root(1)).unwrap(), pairs()), (Some(record(1, false)), 0));
        for _ in 0..2 {
            records.put(&[found(1, true, &[20]), found(1, true, &[20]), found(1, false, &[])]).unwrap();
            records.put(&[found(1, false, &[])]).unwrap();
            assert_eq!((records.get(&root(1)).unwrap(), pairs()), (Some(record(1, true)), 64));
        }
    }

    #[test]
    fn what_a_crash_leaves_is_no_record() {
        let place = tempfile::tempdir().unwrap();
        let records = open(&place);
        let whole = record(3, true).to_text();
        for text in ["", "\0\0\0\0", &whole[..whole.len() - 1], &format!("{} ", whole.trim_end()), "\u{ff}"] {
            fs::write(records.path(&root(3)), text).unwrap();
            assert_eq!(records.get(&root(3)).unwrap(), None, "{text:?}");
        }
        fs::write(records.path(&root(3)), [0xff, 0xfe]).unwrap();
        assert_eq!(records.get(&root(3)).unwrap(), None);
        // A crash after the pairs and before the record.
        records.sectors.add(vec![(root(30), root(3))]).unwrap();
        records.put(&[found(3, true, &[30])]).unwrap();
        assert_eq!(records.sectors.of(&root(30)).unwrap(), [root(3)]);
        fs::write(place.path().join("links/03/leftover.tmp"), "x").unwrap();
        assert_eq!(records.retain(|_| io::Result::Ok(true)).unwrap(), 1);
        assert_eq!(fs::metadata(place.path().join("sectors/1e")).unwrap().len(), 64);
    }

    #[test]
    fn zeros_are_nobodys() {
        let place = tempfile::tempdir().unwrap();
        let records = open(&place);
        let mut one = found(1, true, &[20]);
        one.sectors.push(records.zeros);
        records.put(&[one]).unwrap();
        assert!(records.sectors.of(&records.zeros).unwrap().is_empty());
        records.clear().unwrap();
        assert_eq!(records.get(&root(1)).unwrap(), None);
        assert!(records.sectors.of(&root(20)).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_record_survives_its_text(length: u64, digest in "[0-9a-f]{64}", listed: bool) {
            let record = Skyfile { digest: format!("sha256:{digest}").parse().unwrap(), length, listed };
            prop_assert_eq!(Skyfile::parse(&record.to_text()), Some(record));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}|sha256:[0-9a-f]{64} [0-9]{0,21}( [a-z]{0,8})?\n") {
            let _ = Skyfile::parse(&text);
        }
    }
}
