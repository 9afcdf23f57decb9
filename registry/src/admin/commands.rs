//! Runs a command on a registry.

use std::sync::Arc;

use super::{Command, Item, Output, Reply, fsck, hold, list, remove, status};
use crate::catalog::fact::Visibility;
use crate::gc::collect;
use crate::oci::RepositoryName;
use crate::service::{Error, Registry};

/// Runs a command. The last reply says how it ended.
pub async fn run(registry: &Arc<Registry>, command: Command, out: &Output) {
    out.end(Reply::node()).await;
    let about = match &command {
        Command::Ls { target: Some(target) } | Command::Rm { target } => format!("{}: ", target.repository),
        Command::Visibility { repository, .. } => format!("{repository}: "),
        _ => String::new(),
    };
    let result = match command {
        Command::Status => status::status(registry, out).await.map(|()| true),
        Command::Ls { target } => list::list(registry, target, out).await.map(|()| true),
        Command::Rm { target } => remove::remove(registry, target, out).await.map(|()| true),
        Command::Visibility { repository, visibility } => {
            set_visibility(registry, repository, visibility, out).await.map(|()| true)
        }
        Command::Gc { dry_run } => gc(registry, dry_run, out).await.map(|()| true),
        Command::Fsck { repair } => fsck::check(registry, repair, out).await,
        Command::Hold => {
            hold::hold(registry, out).await;
            Ok(true)
        }
    };
    out.end(match result {
        Ok(sound) => Reply::Done(sound),
        Err(error) => Reply::Failed(format!("{about}{error}")),
    })
    .await;
}

async fn set_visibility(
    registry: &Arc<Registry>,
    repository: RepositoryName,
    visibility: Visibility,
    out: &Output,
) -> Result<(), Error> {
    registry.set_visibility(&repository, visibility).await?;
    out.item(Item::Visibility { repository, visibility }).await;
    Ok(())
}

async fn gc(registry: &Arc<Registry>, dry_run: bool, out: &Output) -> Result<(), Error> {
    let collected = collect(registry, dry_run).await?;
    out.item(Item::Collection { dry_run, collected }).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Fixture;

    /// A mistyped name among several commands could not be found.
    #[tokio::test]
    async fn an_unknown_repository_is_named() {
        let fixture = Fixture::new(Duration::from_hours(1));
        let target: crate::admin::Target = "team/absent".parse().unwrap();
        let repository = target.repository.clone();
        let hide = Command::Visibility { repository, visibility: Visibility::Private };
        for command in [Command::Ls { target: Some(target.clone()) }, Command::Rm { target: target.clone() }, hide] {
            let (out, mut replies) = Output::new();
            run(&fixture.registry, command, &out).await;
            drop(out);
            let mut last = None;
            while let Some(reply) = replies.recv().await {
                last = Some(reply);
            }
            let Some(Reply::Failed(error)) = last else { panic!("{last:?}") };
            assert_eq!(error, "team/absent: repository is not known to this registry");
        }
    }
}
