//! `deploy/compose.yaml` unchanged, run by docker-compose with the image under test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::client::login::Login;
use harness::client::{Request, Target};
use harness::program::Program;
use harness::server::free_port;

use super::IMAGE;
use super::cases::push_blob;
use super::engine::Engine;
use super::first_login;

/// The image's name in the file.
const NAME: &str = "skyberth";
const PROJECT: &str = "skyberth-check";
const READY: Duration = Duration::from_mins(1);

/// The services of the file. Dropping this removes them with their network and volume.
struct Project<'a> {
    engine: &'a Engine,
    file: PathBuf,
    port: u16,
    login: Option<Arc<Login>>,
}

pub fn run(engine: &Engine, context: &Path) -> anyhow::Result<()> {
    engine.docker()?.args(["tag", IMAGE, NAME]).run()?;
    let file = std::path::absolute(context)?.join("deploy/compose.yaml");
    let mut project = Project { engine, file, port: free_port()?, login: None };
    project.up()?;
    let account = first_login(&project.compose()?.args(["logs", "--no-color", "--no-log-prefix"]).run()?.said())?;
    project.login = Some(Arc::new(Login::new(Some(account))));
    let (path, bytes) = push_blob(&project.target(), "by-compose")?;
    project.compose()?.arg("stop").run()?;
    let container = project.compose()?.args(["ps", "--all", "--quiet"]).run()?.text();
    let code = engine.docker()?.args(["inspect", "--format", "{{.State.ExitCode}}", &container]).run()?.text();
    ensure!(code == "0", "`docker-compose stop` ended it with {code}");
    project.up()?;
    let answer = project.target().send(&Request::get(&path))?;
    ensure!(answer.status == 200 && answer.body == bytes, "status {} after stop and start", answer.status);
    Ok(())
}

impl Project<'_> {
    fn compose(&self) -> anyhow::Result<Program> {
        let compose = self.engine.compose()?.env("SKYBERTH_PUBLISH", format!("127.0.0.1:{}", self.port));
        Ok(compose.arg("--file").arg(&self.file).args(["--project-name", PROJECT]))
    }

    /// Starts the services, and waits for an answer on the published port.
    fn up(&self) -> anyhow::Result<()> {
        self.compose()?.args(["up", "--detach", "--no-build"]).run()?;
        let deadline = Instant::now() + READY;
        while !self.target().send(&Request::get("/readyz")).is_ok_and(|answer| answer.status == 200) {
            ensure!(Instant::now() < deadline, "it is not ready after {READY:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn target(&self) -> Target {
        Target { login: self.login.clone(), ..Target::local(self.port) }
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        if let Ok(compose) = self.compose() {
            let _ = compose.args(["down", "--volumes"]).run();
        }
    }
}
