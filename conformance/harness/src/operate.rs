//! Runs the operator's `skyberth` commands on a data directory.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::server::ServerOptions;

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub said: String,
}

/// Runs `skyberth COMMAND --data DATA ARGUMENTS`, on a running node or on a stopped node's files.
pub fn operate(binary: &Path, command: &str, data: &Path, arguments: &[&str]) -> anyhow::Result<Ended> {
    run(Command::new(binary).arg(command).arg("--data").arg(data).args(arguments))
}

/// Runs a command on this server's data, with its settings.
pub fn operate_as(options: &ServerOptions, command: &str) -> anyhow::Result<Ended> {
    let settings = options.env.iter().map(|(key, value)| (key, value));
    run(Command::new(&options.binary).arg(command).arg("--data").arg(&options.data).envs(settings))
}

fn run(command: &mut Command) -> anyhow::Result<Ended> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok(Ended { code: output.status.code(), said: String::from_utf8_lossy(&said).into_owned() })
}

impl Ended {
    /// Expects exit code 0.
    pub fn sound(&self) -> anyhow::Result<&Self> {
        self.with_code(0)
    }

    pub fn with_code(&self, code: i32) -> anyhow::Result<&Self> {
        ensure!(self.code == Some(code), "exit code {:?} instead of {code}: {}", self.code, self.said);
        Ok(self)
    }
}
