//! The registry of a run: one that the check starts and can kill, or a running one by URL.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use harness::client::Target;
use harness::operate::operate_as;
use harness::server::{Server, ServerOptions};
use harness::surroundings::Surroundings;

/// A registry that can run scripts repeatedly, each time from an empty state.
#[derive(Debug)]
pub struct Place {
    kind: Kind,
    runs: usize,
}

#[derive(Debug)]
enum Kind {
    /// `folder` contains one directory for each fresh start.
    Own {
        binary: PathBuf,
        folder: PathBuf,
        surroundings: Surroundings,
        server: Option<Box<Server>>,
        options: Option<ServerOptions>,
    },
    Url(Target),
}

impl Place {
    /// A registry started from a binary, with data below `folder`.
    pub fn own(binary: &Path, folder: &Path, surroundings: Surroundings) -> Self {
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        Place { kind: Kind::Own { binary, folder, surroundings, server: None, options: None }, runs: 0 }
    }

    /// A running registry. It is never restarted; new names serve instead.
    pub fn url(target: Target) -> Self {
        Place { kind: Kind::Url(target), runs: 0 }
    }

    /// True if it is started empty for each run.
    pub fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own { .. })
    }

    /// An empty registry, and the prefix for its repository names.
    pub fn fresh(&mut self) -> anyhow::Result<String> {
        self.runs += 1;
        match &mut self.kind {
            Kind::Url(_) => Ok(format!("run-{}-{}/", std::process::id(), self.runs)),
            Kind::Own { binary, folder, surroundings, server, options } => {
                *server = None;
                if let Some(old) = options.take().and_then(|old: ServerOptions| Some(old.data.parent()?.to_owned())) {
                    let _ = std::fs::remove_dir_all(old);
                }
                let new = ServerOptions::new(binary, &folder.join(self.runs.to_string()))?
                    .env("SKYBERTH_GC_GRACE", "0s")
                    .env("SKYBERTH_GC_INTERVAL", "24h")
                    .envs(&surroundings.settings);
                *server = Some(Box::new(new.start()?));
                *options = Some(new);
                Ok(String::new())
            }
        }
    }

    pub fn target(&self) -> anyhow::Result<Target> {
        match &self.kind {
            Kind::Url(target) => Ok(target.clone()),
            Kind::Own { options, .. } => Ok(options.as_ref().context("not started")?.target()),
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Kind::Own { server, .. } = &mut self.kind else { bail!("cannot kill a registry by URL") };
        if let Some(server) = server.take() {
            server.kill()?;
        }
        Ok(())
    }

    pub fn start(&mut self) -> anyhow::Result<()> {
        let Kind::Own { server, options, .. } = &mut self.kind else { bail!("cannot start a registry by URL") };
        *server = Some(Box::new(options.as_ref().context("never started")?.start()?));
        Ok(())
    }

    /// Kills the server with `kill -9` and starts it again.
    pub fn restart(&mut self, without_index: bool) -> anyhow::Result<()> {
        self.kill()?;
        if without_index {
            let index = self.data()?.join("index");
            std::fs::remove_dir_all(&index).with_context(|| index.display().to_string())?;
        }
        self.start()
    }

    pub fn data(&self) -> anyhow::Result<PathBuf> {
        match &self.kind {
            Kind::Own { options, .. } => Ok(options.as_ref().context("never started")?.data.clone()),
            Kind::Url(_) => bail!("the data of a registry by URL cannot be reached"),
        }
    }

    /// Runs `skyberth gc` without grace.
    pub fn collect(&mut self, stopped: bool) -> anyhow::Result<()> {
        if stopped {
            self.kill()?;
        }
        let Kind::Own { options, .. } = &self.kind else { bail!("cannot collect in a registry by URL") };
        operate_as(options.as_ref().context("never started")?, "gc")?.sound()?;
        if stopped { self.start() } else { Ok(()) }
    }
}
