//! A `skyberth portal` as a child process, started as users start it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use harness::client::{Request, Target};
use harness::server::free_port;

/// A running portal. Dropping it kills the process.
#[derive(Debug)]
pub struct Portal {
    target: Target,
    start: Start,
    child: Child,
}

/// The options to start it again.
#[derive(Clone, Debug)]
struct Start {
    binary: PathBuf,
    data: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
}

impl Portal {
    /// Starts a portal with its data in `folder` on a free port. Settings come by environment, such as
    /// `PORTAL_PROFILE`.
    pub fn start(binary: &Path, folder: &Path, log: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let settings = settings.iter().map(|(key, value)| (format!("SKYBERTH_{key}"), (*value).to_owned())).collect();
        let start = Start { binary: binary.to_owned(), data: folder.join("data"), log: log.to_owned(), settings };
        start.on_port(free_port()?)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// `kill -9`, then a start with the same data at the same address.
    pub fn crash(mut self) -> anyhow::Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        self.start.clone().on_port(self.target.port)
    }

    fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let log = self.start.log.display();
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the portal ended with {status}; see {log}");
            }
            if self.target.send(&Request::new("HEAD", "/")).is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the portal does not answer HEAD / with 200 after {limit:?}; see {log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Start {
    fn on_port(self, port: u16) -> anyhow::Result<Portal> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .args(["portal", "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(&self.data)
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        let target = Target::local(port);
        let mut portal = Portal { target, start: self, child };
        portal.wait_ready(Duration::from_secs(30))?;
        Ok(portal)
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
