//! `status`, `ls`, `gc` and `fsck`: asked of the running node if there is one, else done on the data directory itself.

use std::sync::Arc;

use anyhow::ensure;

use super::attached::Beside;
use super::node::Node;
use super::{print, warn};
use crate::admin::{self, Command, Reply, client};
use crate::catalog::local::{journal, known_end};
use crate::config::Loaded;
use crate::data_dir::{self, DataDir, Kind};
use crate::telemetry::metrics::Metrics;

/// Carries out a command; `false` if it found faults.
pub(super) fn operate(loaded: &Loaded, command: Command) -> anyhow::Result<bool> {
    let path = &loaded.config.storage.data;
    ensure!(DataDir::exists(path), "{} is no Skyberth data directory", path.display());
    let socket = data_dir::socket(path);
    if client::is_running(&socket) {
        return client::send(&socket, &command, &mut print);
    }
    let beside = Beside::of_stopped(&loaded.config)?;
    let node = Node::open(&loaded.config, beside, Arc::new(Metrics::new()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(run_here(&node, command));
    node.registry.catalog().close();
    result
}

/// `fsck` looks at a stopped node's journal before anything else opens it: opening refuses a damaged one.
pub(super) fn fsck(loaded: &Loaded, repair: bool) -> anyhow::Result<bool> {
    let path = loaded.config.storage.data.clone();
    if DataDir::exists(&path) && !client::is_running(&data_dir::socket(&path)) && !check_journal(&path, repair)? {
        return Ok(false);
    }
    operate(loaded, Command::Fsck { repair })
}

/// True if the journal can be opened now.
fn check_journal(path: &std::path::Path, repair: bool) -> anyhow::Result<bool> {
    let data = DataDir::open(path, Kind::Registry)?;
    if !data.journal().exists() {
        return Ok(true);
    }
    let findings = journal::verify(&data.journal(), known_end(&data.index()))?;
    for finding in &findings {
        print(&format!("{} at byte {}: {}", finding.file.display(), finding.offset, finding.what));
    }
    if !findings.iter().any(|finding| finding.kind == journal::FindingKind::Damage) {
        return Ok(true);
    }
    if !repair {
        warn("the journal is damaged; `skyberth fsck --repair` keeps what can be read and says what is lost");
        return Ok(false);
    }
    let expected = data.journal_id().map(str::parse).transpose()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let repaired = journal::repair(&data.journal(), expected, known_end(&data.index()), u64::try_from(now)?)?;
    for missing in &repaired.missing {
        print(&format!("lost: {missing}"));
    }
    if let Some(place) = &repaired.moved_to {
        print(&format!("kept {} records; the damaged files are in {}", repaired.kept, place.display()));
    }
    Ok(true)
}

async fn run_here(node: &Node, command: Command) -> anyhow::Result<bool> {
    let (out, mut replies) = admin::Output::new();
    let registry = Arc::clone(&node.registry);
    let running = tokio::spawn(async move { admin::run(&registry, command, &out).await });
    let mut result = Err(anyhow::anyhow!("the command ended without a word"));
    while let Some(reply) = replies.recv().await {
        match reply {
            Reply::Line(text) => print(&text),
            Reply::Done(sound) => result = Ok(sound),
            Reply::Failed(why) => result = Err(anyhow::anyhow!(why)),
        }
    }
    running.await?;
    result
}
