//! Runs a command on a registry.

use std::sync::Arc;

use super::{Command, Item, Output, Reply, fsck, hold, list, remove, status};
use crate::gc::collect;
use crate::service::{Error, Registry};

/// Index entries read in one go.
pub(super) const BATCH: usize = 256;

/// Runs a command. The last reply says how it ended.
pub async fn run(registry: &Arc<Registry>, command: Command, out: &Output) {
    out.end(Reply::node()).await;
    let result = match command {
        Command::Status => status::status(registry, out).await.map(|()| true),
        Command::Ls { target } => list::list(registry, target, out).await.map(|()| true),
        Command::Rm { target } => remove::remove(registry, target, out).await.map(|()| true),
        Command::Gc { dry_run } => gc(registry, dry_run, out).await.map(|()| true),
        Command::Fsck { repair } => fsck::check(registry, repair, out).await,
        Command::Hold => {
            hold::hold(registry, out).await;
            Ok(true)
        }
    };
    out.end(match result {
        Ok(sound) => Reply::Done(sound),
        Err(error) => Reply::Failed(error.to_string()),
    })
    .await;
}

async fn gc(registry: &Arc<Registry>, dry_run: bool, out: &Output) -> Result<(), Error> {
    let collected = collect(registry, dry_run).await?;
    out.item(Item::Collection { dry_run, collected }).await;
    Ok(())
}
