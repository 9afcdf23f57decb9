//! A whole real Skynet in one process, behind the front that portals had: the judge judged.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use super::tools::Tools;
use crate::client::Target;

/// Hosts, a miner and a portal of skyd's testing build; dropping it kills the process. Its contracts end after some
/// twenty minutes, so each run has its own.
#[derive(Debug)]
pub struct Network {
    target: Target,
    child: Child,
}

impl Network {
    /// Starts it with its data in `folder`. It refuses to run where an interface but loopback is up, because its hosts
    /// listen on all of them.
    pub fn start(tools: &Tools, folder: &Path, log: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut child = Command::new(tools.program("skyd-network")?)
            .arg(folder)
            .arg("127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()
            .context("start skyd-network")?;
        let stdout = child.stdout.take().context("its stdout")?;
        let mut network = Network { target: Target { host: String::new(), port: 0 }, child };
        // It says its addresses when it is ready, or ends.
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let front = lines.find_map(|line| line.strip_prefix("front ").map(str::to_owned));
        let front = front.with_context(|| format!("skyd-network did not get ready; see {}", log.display()))?;
        network.target = Target::parse(&front)?;
        Ok(network)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
