//! A whole real Skynet in one process, behind the usual front of portals, to judge the judge.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use harness::client::Target;

use super::tools::Tools;

/// Hosts, a miner and a portal of skyd's testing build. Dropping it kills the process. Its contracts end after some
/// twenty minutes, so each run has its own.
#[derive(Debug)]
pub struct Network {
    target: Target,
    api: String,
    password: String,
    child: Child,
}

impl Network {
    /// Starts it with its data in `folder`. It refuses to run if an interface other than loopback is up, because its
    /// hosts listen on all of them.
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
        let target = Target::new("", 0);
        let mut network = Network { target, api: String::new(), password: String::new(), child };
        // It prints its addresses when it is ready, skyd's own first and the front's last. Otherwise it ends.
        for line in BufReader::new(stdout).lines() {
            match line?.split(' ').collect::<Vec<_>>()[..] {
                ["api", api, "password", password] => {
                    (network.api, network.password) = (api.to_owned(), password.to_owned());
                }
                ["front", front] => {
                    network.target = Target::parse(front)?;
                    break;
                }
                _ => {}
            }
        }
        ensure!(network.target.port != 0, "skyd-network did not get ready; see {}", log.display());
        ensure!(!network.api.is_empty(), "skyd-network does not say where skyd's own API is");
        Ok(network)
    }

    /// The address of the front.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The URL of skyd's own API.
    pub fn api(&self) -> String {
        self.api.clone()
    }

    /// The password of that API.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
