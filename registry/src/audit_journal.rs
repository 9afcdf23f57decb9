//! The audit journal: who changed what, who logged in, and what was denied.
//!
//! It is kept in the data directory, in two files of JSON lines: `audit/changes`, and `audit/access` for logins and denials. A
//! file that has reached its limit replaces the one before it, so denials can never push changes out. What is in it stays on
//! this machine. It has no passwords, tokens or names that failed to log in.
//!
//! A line is written before the answer to the change. It is not synced: a power cut may lose the last seconds, a crash of the
//! process none. Changes themselves are in the journal of the catalog.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// Most bytes of each file. There are two of each kind.
const MOST_CHANGES: u64 = 16 << 20;
const MOST_ACCESS: u64 = 4 << 20;
/// Most bytes of a line that is read.
const LONGEST_LINE: u64 = 64 * 1024;
/// Most logins and denials that wait to be written. Those beyond it are counted.
const WAITING: usize = 64;

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Something was changed.
    Done,
    /// Somebody logged in.
    LoggedIn,
    /// It was denied.
    Denied,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since the Unix epoch.
    pub time: u64,
    /// Who: an identity, or `operator` for a command on the machine.
    pub by: String,
    /// The id of the personal token that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The address of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What, in words.
    pub action: String,
    /// The repository that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The tag, digest, user or id that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The digest that was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Logins and denials before this one that were too many to be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Entry {
    /// A command on the machine.
    pub fn of_operator(action: &str, repository: Option<String>, target: Option<String>) -> Self {
        Entry {
            time: now(),
            by: "operator".to_owned(),
            token: None,
            client: None,
            request: None,
            action: action.to_owned(),
            repository,
            target,
            digest: None,
            outcome: Outcome::Done,
            left_out: 0,
        }
    }
}

/// The journal of a node.
#[derive(Debug)]
pub struct AuditJournal {
    directory: PathBuf,
    waiting: Arc<Semaphore>,
    left_out: AtomicU64,
}

impl AuditJournal {
    /// The journal in this directory, which need not exist.
    pub fn in_directory(directory: PathBuf) -> Self {
        AuditJournal { directory, waiting: Arc::new(Semaphore::new(WAITING)), left_out: AtomicU64::new(0) }
    }

    /// Writes an entry: a change before this returns, a login or denial soon, unless too many wait. A failure is logged, since
    /// nothing can be undone.
    pub async fn keep(self: &Arc<Self>, entry: Entry) {
        if entry.outcome == Outcome::Done {
            let journal = Arc::clone(self);
            let _ = tokio::task::spawn_blocking(move || journal.write(&entry)).await;
        } else {
            self.write_soon(entry);
        }
    }

    fn write_soon(self: &Arc<Self>, mut entry: Entry) {
        let Ok(permit) = Arc::clone(&self.waiting).try_acquire_owned() else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let journal = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            entry.left_out = journal.left_out.swap(0, Ordering::Relaxed);
            journal.write(&entry);
            drop(permit);
        });
    }

    fn write(&self, entry: &Entry) {
        if let Err(error) = self.append(entry) {
            tracing::error!(%error, action = entry.action, by = entry.by, "the audit journal could not be written");
        }
    }

    /// Adds an entry. Blocks.
    pub fn append(&self, entry: &Entry) -> io::Result<()> {
        let (name, most) = match entry.outcome {
            Outcome::Done => ("changes", MOST_CHANGES),
            Outcome::LoggedIn | Outcome::Denied => ("access", MOST_ACCESS),
        };
        fs::create_dir_all(&self.directory)?;
        let _lock = self.lock()?;
        let path = self.directory.join(name);
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if fs::metadata(&path).is_ok_and(|meta| meta.len() + line.len() as u64 > most) {
            fs::rename(&path, self.directory.join(format!("{name}.old")))?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?.write_all(&line)
    }

    /// Waits for other processes that write. Those are commands beside a running node.
    fn lock(&self) -> io::Result<File> {
        let path = self.directory.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        file.lock()?;
        Ok(file)
    }

    /// Gives all entries to `take`, the oldest first within changes and within logins and denials. A line that is cut off is
    /// skipped. Blocks.
    pub fn read(&self, mut take: impl FnMut(Entry)) -> io::Result<()> {
        for name in ["changes.old", "changes", "access.old", "access"] {
            read_file(&self.directory.join(name), &mut take)?;
        }
        Ok(())
    }
}

fn read_file(path: &Path, take: &mut impl FnMut(Entry)) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    loop {
        line.clear();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Ok(entry) = serde_json::from_slice(&line) {
            take(entry);
        }
    }
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, outcome: Outcome) -> Entry {
        Entry { time: number, outcome, ..Entry::of_operator("test", Some("a".to_owned()), None) }
    }

    fn times(journal: &AuditJournal) -> Vec<u64> {
        let mut found = Vec::new();
        journal.read(|entry| found.push(entry.time)).unwrap();
        found
    }

    /// Who floods a node with denials could have hidden a change.
    #[test]
    fn denials_never_push_changes_out() {
        let folder = tempfile::tempdir().unwrap();
        let journal = AuditJournal::in_directory(folder.path().join("audit"));
        assert_eq!(times(&journal), Vec::<u64>::new());
        journal.write(&entry(1, Outcome::Done));
        let long = Entry { action: "x".repeat(50_000), ..entry(2, Outcome::Denied) };
        for _ in 0..400 {
            journal.write(&long);
        }
        let found = times(&journal);
        assert!(found[0] == 1 && (80..=168).contains(&found.len()), "{}", found.len());
        let size: u64 =
            fs::read_dir(folder.path().join("audit")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(size <= 2 * MOST_ACCESS + 1000, "{size}");
    }

    #[test]
    fn a_line_that_was_cut_off_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let journal = AuditJournal::in_directory(folder.path().to_owned());
        journal.write(&entry(1, Outcome::Done));
        let path = folder.path().join("changes");
        let mut text = fs::read(&path).unwrap();
        text.extend(b"{\"time\":2,\n");
        fs::write(&path, text).unwrap();
        journal.write(&entry(3, Outcome::Done));
        assert_eq!(times(&journal), [1, 3]);
    }

    #[tokio::test]
    async fn what_is_left_out_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Arc::new(AuditJournal::in_directory(folder.path().to_owned()));
        let all = Arc::clone(&journal.waiting).acquire_many_owned(WAITING as u32).await.unwrap();
        journal.write_soon(entry(1, Outcome::Denied));
        drop(all);
        journal.write_soon(entry(2, Outcome::Denied));
        let _all_are_written = journal.waiting.acquire_many(WAITING as u32).await.unwrap();
        let mut found = Vec::new();
        journal.read(|entry| found.push((entry.time, entry.left_out))).unwrap();
        assert_eq!(found, [(2, 1)]);
    }
}
