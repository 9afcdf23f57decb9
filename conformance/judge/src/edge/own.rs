//! Servers started for single rows, with the settings that the row needs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::server::{Server, ServerOptions};
use harness::site::Site;
use harness::surroundings::{Surroundings, SurroundingsArgs};

/// Starts servers from a binary, in a directory that is removed when the run ends.
#[derive(Debug)]
pub struct Workshop {
    binary: PathBuf,
    /// Dropped before the directory, so that the portals end before their data is removed.
    surroundings: Surroundings,
    folder: tempfile::TempDir,
}

impl Workshop {
    pub fn new(binary: &Path, surroundings: &SurroundingsArgs) -> anyhow::Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("no binary at {}", binary.display()))?;
        let folder = tempfile::tempdir()?;
        let surroundings = surroundings.start(&binary, folder.path())?;
        Ok(Workshop { binary, surroundings, folder })
    }

    /// Starts a server with these settings on its own data.
    pub fn start(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let mut options =
            ServerOptions::new(&self.binary, &self.folder.path().join(name))?.envs(&self.surroundings.settings);
        for (key, value) in settings {
            options = options.env(key, value);
        }
        options.start().with_context(|| {
            let log = std::fs::read_to_string(&options.log).unwrap_or_default();
            format!("start a server for {name}: {}", log.lines().last().unwrap_or("its log is empty"))
        })
    }
}

pub fn site(server: &Server, row: &str) -> Site {
    Site::new(server.target(), row)
}
