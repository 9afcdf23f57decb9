//! Restores a backup into an empty directory.
//!
//! The steps, and what a crash right after each leaves behind:
//!
//! 1. The directory is created and locked. Left: an empty directory.
//! 2. `journal/` is created, then the archive's entries are written and synced. Content is compared with its digest
//!    first. Left: a directory that is not empty and has no `skyberth.json`. Neither a node nor a restore starts on it.
//! 3. The archive's checksum is compared, the journal is checked, all directories are synced. Left: the same.
//! 4. `skyberth.json` is written. Left: a node.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use content_store::ContentStore;
use content_store::hasher::Hasher;

use super::archive::{self, Counts, ENDPOINTS, End, Head, USERS};
use crate::catalog::local::journal::{self, FindingKind, JournalId};
use crate::cli::print;
use crate::data_dir::{Kind, NewDataDir};
use crate::oci::Digest;
use crate::units::{bytes, count};

/// Subdirectories that exist before the directory becomes a node's.
const MADE: [&str; 5] = ["access", "journal", "blobs", "uploads", "quarantine"];

/// Restores a backup. Returns `false` if the backup was not complete.
pub(in crate::cli) fn restore(data: &Path, input: impl Read) -> anyhow::Result<bool> {
    let target = NewDataDir::reserve(data)?;
    let restored = fill(data, input).inspect_err(|_| {
        // Best effort: any remains cannot be mistaken for a node.
        for name in MADE {
            let _ = fs::remove_dir_all(data.join(name));
        }
        let _ = fs::remove_file(data.join(ENDPOINTS));
    });
    let (head, End { counts, .. }) = restored.context("nothing was restored")?;
    target.publish(Kind::Registry, head.journal.clone())?;
    tell(data, &head, counts);
    Ok(counts.missing == 0)
}

fn tell(data: &Path, head: &Head, counts: Counts) {
    let files = count(counts.files, "file");
    print(&format!("restored {} up to record {}: {} in {files}", head.journal, head.sequence, bytes(counts.bytes)));
    if counts.elsewhere > 0 {
        let (blobs, size) = (count(counts.elsewhere, "blob"), bytes(counts.elsewhere_bytes));
        print(&format!("on portals only, by the records: {blobs}, {size}; configure the same portals"));
    }
    if counts.missing > 0 {
        let (blobs, size) = (count(counts.missing, "blob"), bytes(counts.missing_bytes));
        print(&format!("NOT COMPLETE: the backup lacks {blobs}, {size}; push them again"));
    }
    print(&format!("start the node with: skyberth serve --data {}", data.display()));
}

fn fill(data: &Path, input: impl Read) -> anyhow::Result<(Head, End)> {
    let journal = data.join("journal");
    // It may be there, as an empty file system of its own. From the next step on the directory is not empty.
    fs::create_dir_all(&journal).with_context(|| format!("create {}", journal.display()))?;
    let store = ContentStore::open(data)?;
    let mut found = Counts::default();
    let (head, end) = archive::read(input, &mut |name, length, bytes| {
        if let Some(file) = name.strip_prefix("journal/") {
            ensure!(journal::is_file(file), "the backup is damaged: {name:?} is not a journal file");
            return write_file(&journal.join(file), bytes);
        }
        if name == USERS {
            fs::create_dir_all(data.join("access"))?;
            return write_file(&data.join(USERS), bytes);
        }
        if name == ENDPOINTS {
            return write_file(&data.join(ENDPOINTS), bytes);
        }
        let digest = digest(name).with_context(|| format!("the backup is damaged: unexpected entry {name:?}"))?;
        found.files += 1;
        found.bytes += length;
        write_content(&store, &digest, length, bytes)
    })?;
    let same = (found.files, found.bytes) == (end.counts.files, end.counts.bytes);
    ensure!(same, "the backup is damaged: its number of files or bytes differs from its last entry");
    check_journal(&journal, &head)?;
    for directory in [&journal, &data.join("access"), data] {
        match File::open(directory) {
            Ok(directory) => directory.sync_all()?,
            // A node may have no users of its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((head, end))
}

fn write_file(path: &Path, source: &mut dyn Read) -> anyhow::Result<()> {
    let mut file = File::create_new(path).with_context(|| format!("create {}", path.display()))?;
    let failed = || format!("write {}", path.display());
    archive::copy(source, |bytes| file.write_all(bytes).with_context(failed))?;
    file.sync_all().with_context(failed)
}

/// `blobs/sha256/ab/abcd…`
fn digest(name: &str) -> Option<Digest> {
    let mut parts = name.strip_prefix("blobs/")?.split('/');
    let (algorithm, shard, hex) = (parts.next()?, parts.next()?, parts.next()?);
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    (parts.next().is_none() && digest.algorithm().is_some() && hex.get(..2) == Some(shard)).then_some(digest)
}

fn write_content(store: &ContentStore, digest: &Digest, length: u64, source: &mut dyn Read) -> anyhow::Result<()> {
    let algorithm = digest.algorithm().context("unknown digest algorithm")?;
    let (staged, mut hasher, mut offset) = (store.stage(length)?, Hasher::new(algorithm), 0);
    archive::copy(source, |bytes| {
        staged.write_at(bytes, offset).with_context(|| format!("write the content of {digest}"))?;
        hasher.update(bytes);
        offset += bytes.len() as u64;
        Ok(())
    })?;
    let found = hasher.finish();
    ensure!(found == *digest, "the backup is damaged: the content of {digest} has the digest {found}");
    Ok(staged.publish(digest)?)
}

/// Checks that the journal can be opened, and that it is the one named by the backup.
fn check_journal(directory: &Path, head: &Head) -> anyhow::Result<()> {
    let expected: JournalId = head.journal.parse().context("the backup has no valid journal id")?;
    let known_end = Some((expected, head.sequence));
    let findings = journal::verify(directory, known_end)?;
    let fault = findings.iter().find(|finding| finding.kind != FindingKind::TornTail);
    if let Some(journal::Finding { file, what, .. }) = fault {
        return Err(io::Error::other(format!("{}: {what}", file.display()))).context("the backup's journal is damaged");
    }
    let (_, opened) = journal::open_to_read(directory, Some(expected), known_end)?;
    ensure!(
        opened.last_sequence == head.sequence,
        "the backup is damaged: its journal ends at another record than it says"
    );
    Ok(())
}
