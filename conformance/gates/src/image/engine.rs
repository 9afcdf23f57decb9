//! A docker daemon with its own roots and bridge. It leaves nothing behind on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::daemon::Daemon;
use harness::program::{self, Program};

/// Directories of tools and files.
#[derive(Clone, Debug)]
pub struct Workshop {
    pub tools: PathBuf,
    pub scratch: PathBuf,
    pub log: PathBuf,
}

/// The daemon. Dropping it removes its network and stops it.
#[derive(Debug)]
pub struct Engine {
    workshop: Workshop,
    root: PathBuf,
    socket: PathBuf,
    network: bool,
    _daemon: Daemon,
}

/// The containers' network, and the name of its bridge.
pub const NETWORK: &str = "image-check";
const BRIDGE: &str = "skyimage0";
const SUBNET: &str = "10.213.77.0/24";
/// Default time limit of a docker command.
const LIMIT: Duration = Duration::from_mins(3);

impl Engine {
    /// A daemon that can run containers with published ports. It uses docker's own proxy, and so no packet filters.
    pub fn start(workshop: &Workshop, name: &str) -> anyhow::Result<Self> {
        let mut engine = Engine::start_without_network(workshop, name)?;
        let create = engine.docker()?.args(["network", "create", "--subnet", SUBNET]);
        create.args(["--opt", &format!("com.docker.network.bridge.name={BRIDGE}"), NETWORK]).run()?;
        engine.network = true;
        Ok(engine)
    }

    /// A daemon that only stores images.
    pub fn start_without_network(workshop: &Workshop, name: &str) -> anyhow::Result<Self> {
        let root = workshop.scratch.join(format!("dockerd-{name}"));
        fs::create_dir_all(root.join("home"))?;
        let socket = root.join("sock");
        let mut command = Command::new(program::find("dockerd", &workshop.tools)?);
        command
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
            .arg(format!("--data-root={}", root.join("data").display()))
            .arg(format!("--exec-root={}", root.join("exec").display()))
            .arg(format!("--pidfile={}", root.join("pid").display()))
            .arg(format!("--host=unix://{}", socket.display()));
        let probe = || {
            let asked = docker(workshop, &root, &socket).and_then(|docker| docker.arg("version").run_any());
            asked.is_ok_and(|ended| ended.status.success())
        };
        let daemon = Daemon::start(command, &workshop.log.with_file_name(format!("dockerd-{name}.log")), probe)?;
        Ok(Engine {
            workshop: workshop.clone(),
            root: root.clone(),
            socket: socket.clone(),
            network: false,
            _daemon: daemon,
        })
    }

    pub fn docker(&self) -> anyhow::Result<Program> {
        docker(&self.workshop, &self.root, &self.socket)
    }

    /// docker-compose for this daemon.
    pub fn compose(&self) -> anyhow::Result<Program> {
        let home = self.root.join("home");
        let compose = self.program("docker-compose")?.env("HOME", &home).env("DOCKER_CONFIG", &home);
        Ok(compose.env("DOCKER_HOST", format!("unix://{}", self.socket.display())))
    }

    /// Another program, with its output in the same log.
    pub fn program(&self, name: &str) -> anyhow::Result<Program> {
        Ok(Program::new(program::find(name, &self.workshop.tools)?, &self.workshop.log).limit(LIMIT))
    }

    /// A new, empty directory.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.root.join("files").join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Makes an image of a directory, owned by root.
    pub fn import(&self, folder: &Path, image: &str) -> anyhow::Result<()> {
        let archive = folder.with_extension("tar");
        let tar = self.program("tar")?.args(["--owner=0", "--group=0", "--numeric-owner", "-cf"]);
        tar.arg(&archive).arg("-C").arg(folder).arg(".").run()?;
        self.docker()?.arg("import").arg(&archive).arg(image).run()?;
        Ok(fs::remove_file(archive)?)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.network {
            return;
        }
        // The bridge outlives its daemon.
        if let Ok(docker) = self.docker() {
            let _ = docker.args(["network", "rm", NETWORK]).run();
        }
    }
}

fn docker(workshop: &Workshop, root: &Path, socket: &Path) -> anyhow::Result<Program> {
    let home = root.join("home");
    let docker = Program::new(program::find("docker", &workshop.tools)?, &workshop.log).limit(LIMIT);
    Ok(docker.env("HOME", &home).env("DOCKER_CONFIG", &home).arg("--host").arg(format!("unix://{}", socket.display())))
}
