//! Which content a base sector is of: a small file for each, and how much of the journal they speak of.
//!
//! ```text
//! state.json                     the journal, the profile, and the sequence up to which all content has its record
//! links/<first 2 hex>/<root hex> the digest and the length of the content with that base sector; for content of a single
//!                                unit that has a fanout also the root of that unit, which no list of unit roots has
//! ```
//! All of it can be made again. A record that cannot be read is as good as none. Everything here blocks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use storage_backends::fs::{make_directory, sync_data, sync_directory};
use storage_backends::skynet::sector::SectorRoot;

use crate::oci::Digest;

const STATE: &str = "state.json";
const STATE_IN_THE_MAKING: &str = "state.json.tmp";
/// What a record in the making ends with; no root does.
const IN_THE_MAKING: &str = ".tmp";
/// No record is longer: the longest digest, a number, a root.
const MAX_RECORD: u64 = 512;

/// Content, as its record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) digest: Digest,
    pub(super) length: u64,
    /// See the module.
    pub(super) unit: Option<SectorRoot>,
}

impl Record {
    fn to_text(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{} {} {unit}\n", self.digest, self.length),
            None => format!("{} {}\n", self.digest, self.length),
        }
    }

    /// The line break is part of it: one that was cut off is none.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (digest, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let unit = words.next().map(|word| word.parse().ok().ok_or(())).transpose().ok()?;
        words.next().is_none().then_some(Record { digest, length, unit })
    }
}

/// How far the records go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) journal: String,
    pub(super) profile: String,
    pub(super) sequence: u64,
}

/// All records. Clones share the directory.
#[derive(Clone, Debug)]
pub(super) struct Records {
    directory: PathBuf,
}

impl Records {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let links = directory.join("links");
        make_directory(directory)?;
        make_directory(&links)?;
        for shard in 0..=u8::MAX {
            make_directory(&links.join(format!("{shard:02x}")))?;
        }
        sync_directory(&links)?;
        sync_directory(directory)?;
        Ok(Records { directory: directory.to_owned() })
    }

    /// What has this base sector.
    pub(super) fn get(&self, root: &SectorRoot) -> io::Result<Option<Record>> {
        let file = match File::open(self.path(root)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        match file.take(MAX_RECORD).read_to_string(&mut text) {
            Ok(_) => Ok(Record::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a group of records that become durable together.
    pub(super) fn batch(&self) -> Batch {
        Batch { records: self.clone(), files: Vec::new(), shards: BTreeSet::new() }
    }

    /// Removes the records that `keep` says no to, and what is no record; answers how many went. They need not be gone
    /// after a power cut.
    pub(super) fn retain<E: From<io::Error>>(
        &self,
        mut keep: impl FnMut(&Record) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let mut removed = 0;
        for shard in fs::read_dir(self.directory.join("links"))? {
            for entry in fs::read_dir(shard?.path())? {
                let path = entry?.path();
                let root = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                let record = root.map_or(Ok(None), |root| self.get(&root))?;
                let kept = record.map_or(Ok(false), |record| keep(&record))?;
                if !kept {
                    fs::remove_file(&path)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// How far the records go; `None` if that cannot be told.
    pub(super) fn state(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(self.directory.join(STATE)).ok()?).ok()
    }

    /// Says, durably, how far they go: after those records are durable.
    pub(super) fn set_state(&self, state: &State) -> io::Result<()> {
        let new = self.directory.join(STATE_IN_THE_MAKING);
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        sync_data(&file)?;
        // A crash before this: what comes after the old sequence is looked at again.
        fs::rename(new, self.directory.join(STATE))?;
        sync_directory(&self.directory)
    }

    fn path(&self, root: &SectorRoot) -> PathBuf {
        let name = root.to_string();
        self.directory.join("links").join(&name[..2]).join(name)
    }
}

/// Records that are written and not yet durable.
#[derive(Debug)]
pub(super) struct Batch {
    records: Records,
    files: Vec<File>,
    shards: BTreeSet<PathBuf>,
}

impl Batch {
    /// Writes a record, in place of another of this root. A crash before the end of the batch may leave it, or nothing, or
    /// an empty file: it is written again, since the state does not speak of it yet.
    pub(super) fn put(&mut self, root: &SectorRoot, record: &Record) -> io::Result<()> {
        if self.records.get(root)?.as_ref() == Some(record) {
            return Ok(());
        }
        let path = self.records.path(root);
        let mut new = path.clone().into_os_string();
        new.push(IN_THE_MAKING);
        let mut file = File::create(&new)?;
        file.write_all(record.to_text().as_bytes())?;
        fs::rename(new, &path)?;
        self.files.push(file);
        self.shards.extend(path.parent().map(Path::to_owned));
        Ok(())
    }

    /// Makes them durable.
    pub(super) fn finish(self) -> io::Result<()> {
        self.files.iter().try_for_each(sync_data)?;
        self.shards.iter().try_for_each(|shard| sync_directory(shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root(byte: u8) -> SectorRoot {
        SectorRoot::from_bytes([byte; 32])
    }

    fn record(number: u8, unit: Option<SectorRoot>) -> Record {
        Record { digest: format!("sha256:{number:064x}").parse().unwrap(), length: u64::from(number), unit }
    }

    #[test]
    fn records_come_back_and_go_when_nobody_wants_them() {
        let place = tempfile::tempdir().unwrap();
        let records = Records::open(place.path()).unwrap();
        assert_eq!(records.get(&root(1)).unwrap(), None);
        let mut batch = records.batch();
        batch.put(&root(1), &record(1, None)).unwrap();
        batch.put(&root(2), &record(2, Some(root(7)))).unwrap();
        batch.put(&root(2), &record(2, Some(root(8)))).unwrap();
        batch.finish().unwrap();
        let records = Records::open(place.path()).unwrap();
        assert_eq!(records.get(&root(1)).unwrap(), Some(record(1, None)));
        assert_eq!(records.get(&root(2)).unwrap(), Some(record(2, Some(root(8)))));
        let removed = records.retain(|record| io::Result::Ok(record.length == 2)).unwrap();
        assert_eq!((removed, records.get(&root(1)).unwrap()), (1, None));
        assert!(records.get(&root(2)).unwrap().is_some());
    }

    #[test]
    fn what_a_crash_leaves_is_no_record() {
        let place = tempfile::tempdir().unwrap();
        let records = Records::open(place.path()).unwrap();
        let whole = record(3, None).to_text();
        for text in ["", "\0\0\0\0", &whole[..whole.len() - 1], &format!("{} ", whole.trim_end()), "\u{ff}"] {
            fs::write(records.path(&root(3)), text).unwrap();
            assert_eq!(records.get(&root(3)).unwrap(), None, "{text:?}");
        }
        fs::write(records.path(&root(3)), [0xff, 0xfe]).unwrap();
        assert_eq!(records.get(&root(3)).unwrap(), None);
        fs::write(place.path().join("links/03/leftover.tmp"), "x").unwrap();
        assert_eq!(records.retain(|_| io::Result::Ok(true)).unwrap(), 2);
    }

    #[test]
    fn the_state_is_what_was_set_last_or_unknown() {
        let place = tempfile::tempdir().unwrap();
        let records = Records::open(place.path()).unwrap();
        assert_eq!(records.state(), None);
        let state = State { journal: "j".into(), profile: "4MiB/1+4".into(), sequence: 7 };
        records.set_state(&State { sequence: 3, ..state.clone() }).unwrap();
        records.set_state(&state).unwrap();
        assert_eq!(records.state(), Some(state));
        fs::write(place.path().join(STATE), "{").unwrap();
        assert_eq!(records.state(), None);
    }

    proptest! {
        #[test]
        fn any_record_survives_its_text(length: u64, digest in "[0-9a-f]{64}", unit in prop::option::of(any::<[u8; 32]>())) {
            let record = Record {
                digest: format!("sha256:{digest}").parse().unwrap(),
                length,
                unit: unit.map(SectorRoot::from_bytes),
            };
            prop_assert_eq!(Record::parse(&record.to_text()), Some(record));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}|sha256:[0-9a-f]{64} [0-9]{0,21}( [0-9a-f]{0,65})?\n") {
            let _ = Record::parse(&text);
        }
    }
}
