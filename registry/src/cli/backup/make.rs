//! Makes a backup.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use content_store::hasher::Hasher;
use content_store::{ContentStore, StoreError};
use tempfile::NamedTempFile;

use super::Place;
use super::archive::{ArchiveWriter, Content, Counts, ENDPOINTS, FORMAT, Head, USERS};
use super::patient::Patient;
use crate::access::LocalUsers;
use crate::admin::Command;
use crate::admin::client::Connection;
use crate::catalog::local::{journal, known_end};
use crate::catalog::{Catalog, CatalogOptions, OpenReport};
use crate::cli::operate::{busy, running};
use crate::cli::{backend, print, warn};
use crate::config::Config;
use crate::data_dir::{self, DataDir, Kind};
use crate::oci::Digest;
use crate::placement::{Domain, Remote, names_in};
use crate::telemetry::metrics::Metrics;
use crate::units::{bytes, count};

/// Digests read in one go.
const BATCH: usize = 256;
/// Attempts to copy the journal when a compaction removes a file meanwhile. The next compaction is then far off.
const ATTEMPTS: u32 = 20;
/// Attempts after any other error, such as a full disk.
const HOPELESS_ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// Makes a backup. Returns `false` if content is missing from it that is nowhere else.
pub(in crate::cli) fn make(
    config: &Config,
    target: &Place,
    output: Option<Partial>,
    content: Content,
) -> anyhow::Result<bool> {
    let mut kept = Kept::of(config)?;
    let state = State::copy(config, &kept)?;
    let head = Head {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        time: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64,
        journal: state.report.journal.to_string(),
        sequence: state.report.sequence,
        content,
    };
    let counts = match output {
        None => {
            let (counts, mut stream) = state.write(&head, Patient::stdout()?)?;
            stream.flush()?;
            kept.check()?;
            counts
        }
        Some(partial) => {
            let output = Named::new(partial.file.as_file(), partial.file.path());
            let (counts, mut file) = state.write(&head, BufWriter::new(output))?;
            file.flush()?;
            drop(file);
            partial.file.as_file().sync_all().with_context(|| format!("sync {}", partial.file.path().display()))?;
            kept.check()?;
            partial.publish()?;
            counts
        }
    };
    tell(target, &head, counts);
    Ok(counts.missing == 0)
}

fn tell(target: &Place, head: &Head, counts: Counts) {
    let say = if *target == Place::Stream { warn } else { print };
    let pieces = |pieces, size| format!("{}, {}", count(pieces, "blob"), bytes(size));
    say(&format!(
        "backup of {} at record {}: {} in {}",
        head.journal,
        head.sequence,
        bytes(counts.bytes),
        count(counts.files, "file")
    ));
    if counts.elsewhere > 0 {
        let pieces = pieces(counts.elsewhere, counts.elsewhere_bytes);
        say(&format!("not in the backup, but on portals by the records (portals were not asked): {pieces}"));
    }
    if counts.missing > 0 {
        let pieces = pieces(counts.missing, counts.missing_bytes);
        say(&format!("NOT COMPLETE: neither in the backup nor on portals by the records: {pieces}"));
    }
}

/// Keeps files of content from being removed.
enum Kept {
    /// The running node keeps them while the connection is open.
    ByNode(Connection),
    /// The lock keeps a node from starting.
    ByLock { _data: DataDir },
}

impl Kept {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let path = &config.storage.data;
        let Some(mut node) = running(path)? else {
            let data = DataDir::open_to_read(path, Kind::Registry).map_err(|error| busy(error.into(), path))?;
            return Ok(Kept::ByLock { _data: data });
        };
        node.ask(Command::Hold)?;
        node.wait_until_held()?;
        Ok(Kept::ByNode(node))
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let is_kept = match self {
            Kept::ByNode(node) => node.is_open(),
            Kept::ByLock { .. } => true,
        };
        ensure!(is_kept, "the node stopped during the backup and may have removed files since: run the backup again");
        Ok(())
    }
}

/// The journal and store as of one moment.
struct State {
    catalog: Catalog,
    report: OpenReport,
    store: ContentStore,
    /// Files of the data directory that go into the archive if they are there, by their names in it.
    files: [(&'static str, PathBuf); 2],
    /// The directory of the copied journal and its index.
    scratch: tempfile::TempDir,
}

impl State {
    fn copy(config: &Config, kept: &Kept) -> anyhow::Result<Self> {
        let path = &config.storage.data;
        let scratch = tempfile::Builder::new().prefix("skyberth-backup-").tempdir();
        let scratch = scratch.context("create a temporary directory for the journal (set TMPDIR to choose where)")?;
        // The attached portal is in the same directory and would be lost with it, so its copies do not count.
        let names = names_in(&data_dir::endpoints(path));
        let backend = backend::backend(&config.storage, None, &names, &Metrics::new().backend)?;
        let here: Vec<bool> = backend::domains(&config.storage, false).iter().map(Domain::is_here).collect();
        let wanted = || backend.as_deref().map(|backend| Remote::wanted(backend, &here));
        let mut attempt = 0;
        let (catalog, report) = loop {
            attempt += 1;
            match State::open_copy(config, path, scratch.path(), wanted()) {
                Ok(opened) => break opened,
                Err(error) if matches!(kept, Kept::ByLock { .. }) || attempt >= attempts(&error) => return Err(error),
                Err(_) => thread::sleep(PAUSE),
            }
        };
        let users = LocalUsers::in_directory(data_dir::access(path)).path();
        let files = [(USERS, users), (ENDPOINTS, data_dir::endpoints(path))];
        Ok(State { catalog, report, store: ContentStore::open_to_read(path), files, scratch })
    }

    /// Copies the journal and opens the copy. Opening completes what a crash at that moment would have interrupted.
    fn open_copy(
        config: &Config,
        data: &Path,
        scratch: &Path,
        placement: Option<crate::catalog::Wanted>,
    ) -> anyhow::Result<(Catalog, OpenReport)> {
        let (from, to, index) = (data.join("journal"), scratch.join("journal"), scratch.join("index"));
        for directory in [&to, &index] {
            if directory.exists() {
                fs::remove_dir_all(directory)?;
            }
        }
        fs::create_dir(&to)?;
        for name in journal::files(&from)?.iter().rev() {
            let copy = to.join(name);
            fs::copy(from.join(name), &copy).with_context(|| format!("copy {name} of the journal"))?;
            // Opening the copy may write to it, even if the original is read-only.
            fs::set_permissions(&copy, Permissions::from_mode(0o600))?;
        }
        // Check first: opening would cut off records that have become unreadable.
        let findings = journal::verify(&to, known_end(&data.join("index")))?;
        if let Some(fault) = findings.iter().find(|finding| finding.kind == journal::FindingKind::Damage) {
            bail!("the journal is damaged, run `skyberth fsck`: {} at byte {}", fault.what, fault.offset);
        }
        let mut options = CatalogOptions::new(&to, index);
        let id = DataDir::journal_in(data)?.context("this node was never started, so there is nothing to back up")?;
        options.expected_journal = Some(id.parse().context("skyberth.json has no valid journal id")?);
        // The journal's files go into the archive unchanged.
        options.journal.compact_at_least = u64::MAX;
        options.index_cache_bytes = config.storage.index_cache.bytes();
        options.placement = placement;
        let opened = Catalog::open(options)?;
        Ok(opened)
    }

    fn write<W: Write>(&self, head: &Head, output: W) -> anyhow::Result<(Counts, W)> {
        let mut archive = ArchiveWriter::begin(output, head)?;
        let journal = self.scratch.path().join("journal");
        for name in journal::files(&journal)? {
            let mut file = File::open(journal.join(&name))?;
            let length = file.metadata()?.len();
            archive.add(&format!("journal/{name}"), length, &mut file)?;
        }
        // A change replaces the file, so an open one stays as it is.
        for (name, path) in &self.files {
            match File::open(path) {
                Ok(mut file) => archive.add(name, file.metadata()?.len(), &mut file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        let (mut counts, mut after) = (Counts::default(), None);
        loop {
            let held = self.catalog.referenced_after(after.as_ref(), BATCH)?;
            for digest in &held {
                self.write_content(digest, head.content, &mut archive, &mut counts)?;
            }
            after = held.last().cloned();
            if held.len() < BATCH {
                break;
            }
        }
        let output = archive.finish(counts)?;
        self.catalog.close();
        Ok((counts, output))
    }

    fn write_content<W: Write>(
        &self,
        digest: &Digest,
        content: Content,
        archive: &mut ArchiveWriter<W>,
        counts: &mut Counts,
    ) -> anyhow::Result<()> {
        let Some(size) = self.catalog.referenced_size(digest)? else { return Ok(()) };
        let has_copy = match self.catalog.wanted() {
            Some(wanted) => wanted.survives(&self.catalog.placements(digest)?),
            None => false,
        };
        let file = match content {
            Content::None => None,
            Content::Needed if has_copy => None,
            Content::Needed | Content::All => self.open(digest, size)?,
        };
        match file {
            Some(file) => {
                add(archive, digest, size, file)?;
                counts.files += 1;
                counts.bytes += size;
            }
            None if has_copy => {
                counts.elsewhere += 1;
                counts.elsewhere_bytes += size;
            }
            // A missing list of unit roots is computed again from its content.
            None if self.catalog.is_only_a_list(digest)? => {}
            None => {
                counts.missing += 1;
                counts.missing_bytes += size;
            }
        }
        Ok(())
    }

    /// Opens content; `None` if its file is missing or has the wrong length.
    fn open(&self, digest: &Digest, size: u64) -> anyhow::Result<Option<File>> {
        match self.store.open_content(digest, size) {
            Ok(file) => Ok(Some(file)),
            Err(StoreError::Missing { .. } | StoreError::WrongLength { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// How often copying the journal is tried before this error is reported.
fn attempts(error: &anyhow::Error) -> u32 {
    let is_gone = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_gone { ATTEMPTS } else { HOPELESS_ATTEMPTS }
}

/// Adds content, and fails if it does not match its digest: a restore would refuse that archive.
fn add<W: Write>(archive: &mut ArchiveWriter<W>, digest: &Digest, size: u64, file: File) -> anyhow::Result<()> {
    let algorithm = digest.algorithm().context("the node has content with an unknown digest algorithm")?;
    let mut checked = Checked { file, hasher: Hasher::new(algorithm) };
    let (algorithm, hex) = (digest.algorithm_name(), digest.encoded());
    archive
        .add(&format!("blobs/{algorithm}/{}/{hex}", &hex[..2]), size, &mut checked)
        .with_context(|| format!("copy {digest}"))?;
    let found = checked.hasher.finish();
    ensure!(found == *digest, "the file of {digest} is damaged: run `skyberth fsck --repair`, then the backup again");
    Ok(())
}

struct Checked {
    file: File,
    hasher: Hasher,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// A temporary file that gets its final name when it is complete. So a failed backup never replaces an earlier one. The
/// temporary name is unique.
#[derive(Debug)]
pub(in crate::cli) struct Partial {
    file: NamedTempFile,
    target: PathBuf,
}

impl Partial {
    /// Creates the file; `None` for standard output.
    pub(in crate::cli) fn of(target: &Place) -> anyhow::Result<Option<Self>> {
        let Place::File(target) = target else { return Ok(None) };
        ensure!(!target.is_dir(), "{} is a directory; the backup needs a file name", target.display());
        check_replaceable(target)?;
        let directory = directory_of(target);
        ensure!(directory.is_dir(), "{} is no directory; create it, or write elsewhere", directory.display());
        let mut name = target.file_name().context("the backup needs a file name")?.to_owned();
        name.push(".");
        // Readable only by its owner, since the archive contains all content of the registry.
        let file = tempfile::Builder::new().prefix(&name).suffix(".partial").tempfile_in(directory);
        let file = file.with_context(|| {
            format!(
                "create a file beside {} (as the user of server.run_as, if one is set; - is standard output)",
                target.display()
            )
        })?;
        Ok(Some(Partial { file, target: target.clone() }))
    }

    fn publish(self) -> anyhow::Result<()> {
        check_replaceable(&self.target)?;
        self.file.persist(&self.target).with_context(|| format!("create {}", self.target.display()))?;
        Ok(File::open(directory_of(&self.target))?.sync_all()?)
    }
}

/// An output whose errors name its file. Those of a full disk would name only what was being copied.
pub(super) struct Named<W> {
    output: W,
    path: PathBuf,
}

impl<W: Write> Named<W> {
    pub(super) fn new(output: W, path: &Path) -> Self {
        Named { output, path: path.to_owned() }
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("write {}: {error}", self.path.display()))
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes).map_err(|error| self.named(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush().map_err(|error| self.named(&error))
    }
}

/// Only a plain file may be replaced: renaming over a device, pipe or link would remove that.
fn check_replaceable(target: &Path) -> anyhow::Result<()> {
    let is_other = fs::symlink_metadata(target).is_ok_and(|found| !found.is_file());
    let name = target.display();
    ensure!(!is_other, "{name} exists and is not a plain file; write to - and redirect it there");
    Ok(())
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
