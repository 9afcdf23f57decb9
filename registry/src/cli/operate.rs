//! `status`, `ls`, `rm`, `gc` and `fsck`: sent to the running node if there is one, else done on its files.
//!
//! Commands that only read write nothing to a stopped node's directory, which may be a read-only copy.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use content_store::ContentStore;

use super::attached::Beside;
use super::node::{Node, scratch};
use super::render::Form;
use super::warn;
use crate::admin::client::{ANSWERS_WITHIN, Connection, NotAnswering};
use crate::admin::reply::{Finding, Running, Safe, State, Status};
use crate::admin::{self, Command, Item, Reply};
use crate::catalog::local::{foreseen_rebuild, journal, known_end};
use crate::config::{Config, Loaded};
use crate::data_dir::{self, DataDir, DataDirError, Kind};
use crate::telemetry::metrics::Metrics;

/// A node has locked the directory, but does not accept commands now.
#[derive(Debug, thiserror::Error)]
#[error("a node is starting or stopping on {0}, and accepts no commands now")]
pub(super) struct NotReady(String);

/// Runs a command that only reads. Returns `false` if it found faults.
pub(super) fn read(loaded: &Loaded, command: Command, form: Form) -> anyhow::Result<bool> {
    operate(loaded, command, form, Node::open_to_read)
}

/// Runs a command that may change things. Returns `false` if it found faults.
pub(super) fn change(loaded: &Loaded, command: Command, form: Form) -> anyhow::Result<bool> {
    operate(loaded, command, form, |config, beside| Node::open(config, beside, Arc::new(Metrics::new())))
}

fn operate(
    loaded: &Loaded,
    command: Command,
    form: Form,
    open: impl FnOnce(&Config, Beside) -> anyhow::Result<Node>,
) -> anyhow::Result<bool> {
    let config = &loaded.config;
    if let Some(mut node) = running(&config.storage.data)? {
        node.ask(command)?;
        return node.items(None, &mut |item| form.print(&item));
    }
    let node = open(config, Beside::of_stopped(config)?).map_err(|error| busy(error, &config.storage.data))?;
    let result = runtime()?.block_on(run_here(&node, command, form));
    node.registry.catalog().close();
    result
}

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What to do where the system refuses.
const AS_ITS_USER: &str = "run this command as the user of the node";

/// The node that accepts commands on a data directory, if there is one.
pub(super) fn running(path: &Path) -> anyhow::Result<Option<Connection>> {
    let exists = DataDir::exists(path).context(AS_ITS_USER)?;
    ensure!(exists, "{} is not a Skyberth data directory; --data names that of a node", path.display());
    match Connection::open(&data_dir::socket(path)) {
        // A copy may contain another user's socket. If no node has the directory's lock, none accepts commands there.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            match DataDir::open_to_read(path, Kind::Registry) {
                Ok(_) => Ok(None),
                Err(error @ DataDirError::InUse(_)) => {
                    Err(error).context("another user's node runs there: run this command as that user")
                }
                Err(error) => Err(error).context(AS_ITS_USER),
            }
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => bail!(NotAnswering),
        connection => connection.with_context(|| format!("ask the node on {}", path.display())),
    }
}

/// Turns a failed lock into [`NotReady`].
pub(super) fn busy(error: anyhow::Error, path: &Path) -> anyhow::Error {
    match error.downcast_ref::<DataDirError>() {
        Some(DataDirError::InUse(_)) => NotReady(path.display().to_string()).into(),
        _ => error,
    }
}

/// Prints the status and returns the exit code for it. With `safe`, the code also says whether the node's disk could be
/// lost.
pub(super) fn status(loaded: &Loaded, safe: bool, form: Form) -> anyhow::Result<u8> {
    let status = match running(&loaded.config.storage.data) {
        Ok(Some(node)) => of_running(node)?,
        Ok(None) => of_stopped(&loaded.config)?,
        Err(error) if error.is::<NotAnswering>() => Status::of(Running::NotAnswering),
        Err(error) => return Err(error),
    };
    let code = code(&status, safe);
    form.print(&Item::Status(Box::new(status)));
    Ok(code)
}

fn of_running(mut node: Connection) -> anyhow::Result<Status> {
    let deadline = Instant::now() + ANSWERS_WITHIN;
    let mut found = None;
    let mut take = |item| match item {
        Item::Status(status) => found = Some(*status),
        other => drop(other),
    };
    match node.ask(Command::Status).and_then(|()| node.items(Some(deadline), &mut take)) {
        Err(error) if error.is::<NotAnswering>() => Ok(Status::of(Running::NotAnswering)),
        Err(error) => Err(error),
        Ok(_) => found.context("the node sent no status"),
    }
}

/// Time to read the records of a stopped node for its status, and additional time for the last step of that.
const RECORDS_WITHIN: Duration = Duration::from_secs(3);
const LAST_STEP: Duration = Duration::from_secs(1);

/// Counts files and reads records at the same time. `trouble` says why the records could not be read.
fn of_stopped(config: &Config) -> anyhow::Result<Status> {
    let data = match DataDir::open_to_read(&config.storage.data, Kind::Registry) {
        Err(DataDirError::InUse(_)) => return Ok(Status::of(Running::Starting)),
        // Figures may take a while. Without the lock, a node can start meanwhile.
        data => data?.unlocked(),
    };
    let (store, index) = (ContentStore::open_to_read(data.path()), data.index());
    let deadline = Instant::now() + RECORDS_WITHIN;
    let scratch = scratch()?;
    let (answer, answered) = mpsc::channel();
    let (config_of_thread, index_of_thread) = (config.clone(), scratch.path().to_owned());
    // If the disk hangs, the thread is left behind and ends with the process.
    thread::spawn(move || {
        // After the deadline nothing receives it.
        let _ = answer.send(records(&config_of_thread, data, &index_of_thread, deadline));
    });
    let mut status = admin::of_files(&store, config.storage.reserve.bytes());
    if let Ok(Some(reason)) = foreseen_rebuild(&index) {
        status.notes.push(format!("the next start rebuilds the index: {reason}"));
    }
    let why = match answered.recv_timeout((deadline + LAST_STEP).saturating_duration_since(Instant::now())) {
        Ok(Ok(records)) => return Ok(status.with_records(records)),
        // The node is certainly stopped, even if the rest is unknown.
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("the records of the journal were not read within {} s", RECORDS_WITHIN.as_secs()),
    };
    status.trouble = Some(why);
    Ok(status)
}

fn records(config: &Config, data: DataDir, index: &Path, deadline: Instant) -> anyhow::Result<Status> {
    let node = Node::of_files(config, Beside::of_stopped(config)?, data, index, Some(deadline))?;
    Ok(runtime()?.block_on(admin::of_records(&node.registry))?)
}

fn code(status: &Status, safe: bool) -> u8 {
    match (status.node, status.state) {
        (Running::Stopped, _) => 4,
        (Running::Running, Some(State::Ready | State::Degraded | State::ReadOnly)) => match status.safety.safe {
            _ if !safe => 0,
            Safe::Yes => 0,
            Safe::No | Safe::NoCopies => 5,
            Safe::NotKnown => 6,
        },
        _ => 3,
    }
}

/// Runs `fsck`. On a stopped node it checks the journal first, since opening refuses a damaged one.
pub(super) fn fsck(loaded: &Loaded, repair: bool, form: Form) -> anyhow::Result<bool> {
    let path = &loaded.config.storage.data;
    if running(path)?.is_none() && !check_journal(path, repair, form).map_err(|error| busy(error, path))? {
        return Ok(false);
    }
    let command = Command::Fsck { repair };
    if repair { change(loaded, command, form) } else { read(loaded, command, form) }
}

/// True if the journal can be opened now. With `repair`, repairs it first.
fn check_journal(path: &Path, repair: bool, form: Form) -> anyhow::Result<bool> {
    let data = match repair {
        true => DataDir::open(path, Kind::Registry)?,
        false => DataDir::open_to_read(path, Kind::Registry)?,
    };
    if !data.journal().exists() {
        return Ok(true);
    }
    let findings = journal::verify(&data.journal(), known_end(&data.index()))?;
    for journal::Finding { file, offset, what, .. } in &findings {
        let (file, offset, what) = (file.display().to_string(), *offset, what.clone());
        form.print(&Item::Finding(Finding::Journal { file, offset, what }));
    }
    if !findings.iter().any(|finding| finding.kind == journal::FindingKind::Damage) {
        return Ok(true);
    }
    if !repair {
        warn("the journal is damaged; `skyberth fsck --repair` keeps the readable records and lists the lost ones");
        return Ok(false);
    }
    repair_journal(&data, form)?;
    Ok(true)
}

fn repair_journal(data: &DataDir, form: Form) -> anyhow::Result<()> {
    let expected = data.journal_id().map(str::parse).transpose()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let repaired = journal::repair(&data.journal(), expected, known_end(&data.index()), u64::try_from(now)?)?;
    for missing in &repaired.missing {
        form.print(&Item::Finding(Finding::Lost { what: missing.to_string() }));
    }
    if let Some(place) = &repaired.moved_to {
        let moved_to = place.display().to_string();
        form.print(&Item::Finding(Finding::JournalRepaired { kept: repaired.kept, moved_to }));
    }
    Ok(())
}

async fn run_here(node: &Node, command: Command, form: Form) -> anyhow::Result<bool> {
    let (out, mut replies) = admin::Output::new();
    let registry = Arc::clone(&node.registry);
    let running = tokio::spawn(async move { admin::run(&registry, command, &out).await });
    let mut result = Err(anyhow::anyhow!("the command ended without a reply"));
    while let Some(reply) = replies.recv().await {
        match reply {
            Reply::Node { .. } => {}
            Reply::Item(item) => form.print(&item),
            Reply::Done(sound) => result = Ok(sound),
            Reply::Failed(why) => result = Err(anyhow::anyhow!(why)),
        }
    }
    running.await?;
    result
}

/// The command of `rm`. To remove a whole repository, the operator must add `--yes`.
pub(super) fn removal(target: &str, yes: bool) -> anyhow::Result<Command> {
    let target: admin::Target = target.parse()?;
    if target.reference.is_none() && !yes {
        bail!("this removes all tags and manifests of {target}: add --yes, or name one as NAME:TAG or NAME@DIGEST");
    }
    Ok(Command::Rm { target })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::reply::Safety;

    #[test]
    fn scripts_learn_from_the_exit_code_how_a_node_is() {
        let of = |node, state, safe| {
            let safety = Safety::of(safe);
            Status { state, safety, ..Status::of(node) }
        };
        let running = |state, safe| of(Running::Running, Some(state), safe);
        for (status, expected, with_safe) in [
            (running(State::Ready, Safe::Yes), 0, 0),
            (running(State::Ready, Safe::No), 0, 5),
            (running(State::Ready, Safe::NoCopies), 0, 5),
            (running(State::Degraded, Safe::NotKnown), 0, 6),
            (running(State::ReadOnly, Safe::Yes), 0, 0),
            (running(State::Rebuilding, Safe::Yes), 3, 3),
            (of(Running::Starting, None, Safe::NotKnown), 3, 3),
            (of(Running::NotAnswering, None, Safe::NotKnown), 3, 3),
            (of(Running::Stopped, None, Safe::NotKnown), 4, 4),
        ] {
            assert_eq!((code(&status, false), code(&status, true)), (expected, with_safe), "{status:?}");
        }
    }

    #[test]
    fn a_whole_repository_goes_only_if_that_is_meant() {
        assert!(removal("a/b", false).unwrap_err().to_string().contains("--yes"));
        assert!(removal("a/b", true).is_ok());
        assert!(removal("a/b:latest", false).is_ok());
    }
}
