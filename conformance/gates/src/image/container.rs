//! One container of the image: started with a volume and options, queried through its published port, stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::client::{Request, Target};
use harness::server::free_port;

use super::IMAGE;
use super::engine::{Engine, NETWORK};

/// The image's data directory.
pub const DATA: &str = "/var/lib/skyberth";
const READY: Duration = Duration::from_mins(1);

/// A running container. Dropping it removes it with its anonymous volumes.
#[derive(Debug)]
pub struct Container<'a> {
    engine: &'a Engine,
    id: String,
    port: u16,
}

impl<'a> Container<'a> {
    /// Starts `serve` for everybody, with these options of `docker run`. `volume` is a directory of this machine.
    pub fn start(engine: &'a Engine, options: &[&str], volume: Option<&Path>) -> anyhow::Result<Self> {
        Container::start_as_is(engine, &[options, &["--env=SKYBERTH_AUTH_ANONYMOUS=all"]].concat(), volume)
    }

    /// Starts `serve` with these options of `docker run`.
    pub fn start_as_is(engine: &'a Engine, options: &[&str], volume: Option<&Path>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut run = engine.docker()?.args(["run", "--detach", "--network", NETWORK]);
        run = run.args(["--publish", &format!("127.0.0.1:{port}:5000")]);
        if let Some(volume) = volume {
            run = run.arg("--volume").arg(format!("{}:{DATA}", volume.display()));
        }
        let id = run.args(options).arg(IMAGE).run()?.text();
        Ok(Container { engine, id, port })
    }

    /// Starts it like `start`, and waits for an answer on the published port.
    pub fn ready(engine: &'a Engine, options: &[&str], volume: Option<&Path>) -> anyhow::Result<Self> {
        let container = Container::start(engine, options, volume)?;
        container.wait_ready()?;
        Ok(container)
    }

    /// Starts it again after a stop.
    pub fn again(&self) -> anyhow::Result<()> {
        self.engine.docker()?.args(["start", &self.id]).run()?;
        self.wait_ready()
    }

    pub fn wait_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            if self.target().send(&Request::get("/readyz")).is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if self.inspect("{{.State.Status}}")? == "exited" {
                bail!("it ended: {}", self.logs()?);
            }
            ensure!(Instant::now() < deadline, "it is not ready after {READY:?}: {}", self.logs()?);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn target(&self) -> Target {
        Target::local(self.port)
    }

    /// `127.0.0.1:PORT`. For docker, that is a registry without TLS.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn inspect(&self, format: &str) -> anyhow::Result<String> {
        Ok(self.engine.docker()?.args(["inspect", "--format", format, &self.id]).run()?.text())
    }

    pub fn logs(&self) -> anyhow::Result<String> {
        Ok(self.engine.docker()?.args(["logs", &self.id]).run()?.said())
    }

    /// Runs the binary inside, as the container's user.
    pub fn exec(&self, args: &[&str]) -> anyhow::Result<String> {
        let exec = self.engine.docker()?.args(["exec", &self.id, "/usr/local/bin/skyberth"]);
        Ok(exec.args(args).run()?.text())
    }

    /// The lines of proc(5)'s status of its process.
    pub fn process(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let pid = self.inspect("{{.State.Pid}}")?;
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let words = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(fields.map(|(name, value)| (name.to_owned(), words(value))).collect())
    }

    /// Soft and hard limit of open files.
    pub fn descriptors(&self) -> anyhow::Result<(String, String)> {
        let text = fs::read_to_string(format!("/proc/{}/limits", self.inspect("{{.State.Pid}}")?))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit of files")?;
        let mut words = line.split_whitespace().map(str::to_owned);
        words.next().zip(words.next()).context("no limit of files")
    }

    /// Waits until it ends by itself, and returns its exit status.
    pub fn wait(&self) -> anyhow::Result<i32> {
        Ok(self.engine.docker()?.args(["wait", &self.id]).limit(READY).run()?.text().parse()?)
    }

    /// Stops it with docker's stop: SIGTERM, later SIGKILL. It must end with 0 before that.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.engine.docker()?.args(["stop", &self.id]).run()?;
        let code = self.inspect("{{.State.ExitCode}}")?;
        ensure!(code == "0", "SIGTERM ended it with {code}: {}", self.logs()?);
        Ok(())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Ok(docker) = self.engine.docker() {
            let _ = docker.args(["rm", "--force", "--volumes", &self.id]).run();
        }
    }
}
