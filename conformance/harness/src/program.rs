//! Runs an external program with a time limit, and logs its output.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A command line with its limit and log.
#[derive(Debug)]
pub struct Program {
    command: Command,
    limit: Duration,
    log: PathBuf,
}

/// A program's exit status and output.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    line: String,
}

impl Program {
    /// A program by path or name. Its output is appended to `log`.
    pub fn new(program: impl AsRef<OsStr>, log: &Path) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Program { command, limit: Duration::from_mins(2), log: log.to_owned() }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub fn envs<V: AsRef<OsStr>>(mut self, settings: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        self.command.envs(settings);
        self
    }

    pub fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// The program's standard input; empty by default.
    pub fn input(mut self, bytes: &[u8]) -> anyhow::Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        self.command.stdin(file);
        Ok(self)
    }

    /// The time limit. At the limit the whole process group is killed.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs to the end. A failing exit status is an error with the last lines of stderr.
    pub fn run(self) -> anyhow::Result<Ended> {
        let ended = self.run_any()?;
        if !ended.status.success() {
            bail!("`{}` ended with {}: {}", ended.line, ended.status, ended.tail());
        }
        Ok(ended)
    }

    /// Runs to the end, expects a failure, and returns the output.
    pub fn run_failing(self) -> anyhow::Result<String> {
        let ended = self.run_any()?;
        if ended.status.success() {
            bail!("`{}` succeeded where it had to fail", ended.line);
        }
        Ok(ended.said())
    }

    /// Runs to the end, with any exit status.
    pub fn run_any(self) -> anyhow::Result<Ended> {
        self.start()?.wait()
    }

    /// Starts the program and its time limit.
    pub fn start(mut self) -> anyhow::Result<Running> {
        let line = line_of(&self.command);
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        self.command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
        let child = self.command.spawn().with_context(|| format!("start `{line}`"))?;
        let deadline = Instant::now() + self.limit;
        Ok(Running { child, stdout, stderr, deadline, limit: self.limit, line, log: self.log })
    }
}

/// A running program. Dropping it kills its process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    deadline: Instant,
    limit: Duration,
    line: String,
    log: PathBuf,
}

impl Running {
    /// Waits for the end, at most until the limit.
    pub fn wait(mut self) -> anyhow::Result<Ended> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return self.ended(status);
            }
            if Instant::now() > self.deadline {
                kill_group(&mut self.child);
                let status = self.child.wait()?;
                let (limit, ended) = (self.limit, self.ended(status)?);
                bail!("it still ran after {limit:?}, with the last lines {}: `{}`", ended.tail(), ended.line);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// True if it has not ended.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    fn ended(&mut self, status: ExitStatus) -> anyhow::Result<Ended> {
        let ended = Ended {
            status,
            stdout: read_whole(&mut self.stdout)?,
            stderr: read_whole(&mut self.stderr)?,
            line: std::mem::take(&mut self.line),
        };
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "$ {}\n{}[{status}]", ended.line, ended.said())?;
        Ok(ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_group(&mut self.child);
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Standard output as text, without the line end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.stdout).with_context(|| format!("`{}` did not print JSON", self.line))
    }

    /// All output. Binary output is only counted.
    pub fn said(&self) -> String {
        let stdout = match std::str::from_utf8(&self.stdout) {
            Ok(text) if text.len() <= 64 * 1024 => text.to_owned(),
            _ => format!("({} bytes)\n", self.stdout.len()),
        };
        format!("{stdout}{}", String::from_utf8_lossy(&self.stderr))
    }

    fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join(" | ").chars().take(600).collect()
    }
}

/// The executable `name` in `folder`, or else on the system's path. A missing tool is an error.
pub fn find(name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(folder.to_owned())
        .chain(["/usr/bin", "/usr/sbin"].map(PathBuf::from))
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is not installed (.ci/tools installs it)"))
}

#[expect(unsafe_code, reason = "std cannot signal a process group")]
fn kill_group(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // SAFETY: the group was made for this child, which was not waited for yet.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn read_whole(file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Program {
        Program::new("sh", &folder.join("log")).args(["-c", script])
    }

    #[test]
    fn a_program_over_its_limit_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let program = shell("echo before; sleep 30 & wait", folder.path()).limit(Duration::from_millis(300));
        let error = program.run().unwrap_err().to_string();
        assert!(error.contains("still ran after 300ms") && error.contains("before"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failing_program_is_quoted_and_logged() {
        let folder = tempfile::tempdir().unwrap();
        let error = shell("echo why >&2; exit 3", folder.path()).run().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("why"), "{error}");
        assert!(shell("true", folder.path()).run_failing().is_err());
        assert!(std::fs::read_to_string(folder.path().join("log")).unwrap().contains("why"));
    }
}
