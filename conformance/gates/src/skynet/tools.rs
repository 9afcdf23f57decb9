//! Paths of the judges' programs, which `.ci/tools skynet` installs.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use harness::program;

/// Directories of programs and scripts.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
    pub scripts: PathBuf,
}

impl Tools {
    pub fn new(folder: &Path, scripts: &Path) -> anyhow::Result<Self> {
        let scripts = std::path::absolute(scripts)?;
        ensure!(scripts.join("node").is_dir(), "{} does not hold the scripts of the SDKs", scripts.display());
        Ok(Tools { folder: std::path::absolute(folder)?, scripts })
    }

    /// A program of the system or of `.ci/tools`. A missing one is an error.
    pub fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        program::find(name, &self.folder.join("bin"))
    }

    /// Directory of the npm packages.
    pub fn node_modules(&self) -> anyhow::Result<PathBuf> {
        self.installed("skynet/node/node_modules")
    }

    pub fn python(&self) -> anyhow::Result<PathBuf> {
        self.installed("skynet/python/bin/python")
    }

    fn installed(&self, path: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(path);
        ensure!(path.exists(), "{} is not there (.ci/tools skynet installs it)", path.display());
        Ok(path)
    }
}
