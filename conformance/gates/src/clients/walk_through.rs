//! The README's walk-through, command by command: a push, skylinks, a layer from the portal, a cold pull.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use conformance::clients::docker::Docker;
use conformance::clients::round::{ROW, Round, Setting, THREE_LAYERS};
use harness::client::{Request, Target};
use harness::daemon::Daemon;
use harness::gate::wait_until;
use harness::layout::Image;
use harness::scale::Scale;
use harness::server::free_port;
use harness::status::metric;
use harness::verify;

use super::attached;
use super::readme::{README, blocks};
use crate::attached::places;

const HEADING: &str = "## With a portal";
/// The README's assumptions: the default addresses, and an image that everyone has.
const REGISTRY: &str = "127.0.0.1:5000";
const PORTAL: &str = "127.0.0.1:9980";
const IMAGE: &str = "busybox";
const REPOSITORY: &str = "library/busybox";

/// Options: what to judge, and with which clients.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Directory of the Go clients. Those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
}

pub fn run(args: &Args, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let scratch = tempfile::Builder::new().prefix("walk").tempdir()?;
    let logs = folder.unwrap_or(scratch.path()).join("walk-through");
    std::fs::create_dir_all(&logs)?;
    let binary = args.binary.canonicalize().with_context(|| format!("no binary at {}", args.binary.display()))?;
    let tools = std::path::absolute(&args.tools)?;
    let target = Target::local(free_port()?);
    let setting = Setting::new("walk-through", Some(binary), target, tools, scratch.path(), &logs, scale);
    setting.round("README", walk)?;
    setting.round("attached", attached::run)?;
    setting.into_report().finish(folder)
}

/// Runs each command as a row. A failed row does not stop the others, but rows that need its result fail too.
fn walk(round: &Round) -> anyhow::Result<()> {
    let mut walk = Walk::prepare(round)?;
    // The first block keeps the local content, the second loses it. Later blocks are for several machines.
    let blocks = blocks(README, HEADING);
    let [keeping, losing, ..] = &blocks[..] else { bail!("{HEADING:?} has {} blocks", blocks.len()) };
    for line in keeping.iter().chain(losing) {
        round.row(line, ROW, || walk.step(line));
    }
    round.row("that pull came from the portal", ROW, || walk.was_cold());
    round.row("an empty docker pulls the same image", ROW, || walk.pull_elsewhere());
    Ok(())
}

struct Walk<'a> {
    round: &'a Round<'a>,
    docker: Docker<'a>,
    image: Image,
    /// Working directory of the commands.
    folder: PathBuf,
    portal: Target,
    node: Option<Daemon>,
    manifest: String,
    /// Digest and skylink of all content of the image.
    places: Vec<(String, String)>,
}

impl<'a> Walk<'a> {
    fn prepare(round: &'a Round<'a>) -> anyhow::Result<Self> {
        let docker = Docker::start(round, "walk")?;
        let image = round.image(IMAGE, &THREE_LAYERS)?;
        docker.load(&image, &format!("{IMAGE}:latest"))?;
        std::os::unix::fs::symlink(round.binary()?, round.folder("bin")?.join("skyberth"))?;
        let portal = Target::local(free_port()?);
        let (folder, manifest, places) = (round.folder("here")?, String::new(), Vec::new());
        Ok(Walk { round, docker, image, folder, portal, node: None, manifest, places })
    }

    fn step(&mut self, line: &str) -> anyhow::Result<()> {
        let line = line
            .replace(REGISTRY, &self.round.target.authority())
            .replace(PORTAL, &self.portal.authority())
            .replace("DIGEST", &self.manifest);
        match line.as_str() {
            serve if serve.starts_with("skyberth serve") => self.serve(serve),
            "skyberth status" => self.wait_until_placed(),
            list if list.starts_with("skyberth ls") && list.contains('@') => self.find_places(list),
            list if list.starts_with("skyberth ls") => self.find_tag(list),
            fetch if fetch.contains("SKYLINK") => self.fetch(fetch),
            loss if loss.starts_with("rm ") => {
                self.node = None;
                self.shell(loss).map(drop)
            }
            other => self.shell(other).map(drop),
        }
    }

    /// Runs a command line in the directory where the node was started, and returns its output.
    fn shell(&self, line: &str) -> anyhow::Result<String> {
        let program = self.round.program("bash")?.args(["-c", &format!("set -o pipefail; {line}")]);
        Ok(self
            .surroundings()
            .into_iter()
            .fold(program, |program, (key, value)| program.env(key, value))
            .folder(&self.folder)
            .run()?
            .text())
    }

    fn surroundings(&self) -> Vec<(&'static str, String)> {
        let path = format!("{}:{}", self.round.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        vec![
            ("PATH", path),
            ("DOCKER_HOST", self.docker.host()),
            ("SKYBERTH_SERVER_LISTEN", self.round.target.authority()),
            ("SKYBERTH_PORTAL_LISTEN", self.portal.authority()),
        ]
    }

    fn serve(&mut self, line: &str) -> anyhow::Result<()> {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("exec {line}")]).envs(self.surroundings()).current_dir(&self.folder);
        let target = self.round.target.clone();
        let ready = || target.send(&Request::get("/readyz")).is_ok_and(|answer| answer.status == 200);
        let log = self.round.log_of("walk-through-server");
        self.node = Some(Daemon::start(command, &log, ready)?);
        let greeting = format!("http://{}", self.portal.authority());
        // It is printed right after the node is ready.
        let said = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(&greeting));
        ensure!(wait_until(Duration::from_secs(5), said), "the greeting does not name {greeting}");
        Ok(())
    }

    fn wait_until_placed(&self) -> anyhow::Result<()> {
        let mut said = String::new();
        let safe = wait_until(ROW / 2, || {
            said = self.shell("skyberth status").unwrap_or_default();
            said.contains("all of it is at the attached portal")
        });
        ensure!(safe, "still: {said}");
        Ok(())
    }

    fn find_tag(&mut self, line: &str) -> anyhow::Result<()> {
        let said = self.shell(line)?;
        let (_, digest) = verify::registry_is_whole(&self.round.target, REPOSITORY, "latest")?;
        ensure!(said.contains(":latest") && said.contains(&digest), "{digest} is not in: {said}");
        self.manifest = digest;
        Ok(())
    }

    fn find_places(&mut self, line: &str) -> anyhow::Result<()> {
        self.places = places(&self.shell(line)?);
        let (manifest, digest) = verify::registry_is_whole(&self.round.target, REPOSITORY, "latest")?;
        for digest in verify::digests_in(&manifest).into_iter().chain([digest]) {
            ensure!(self.places.iter().any(|(found, _)| *found == digest), "no skylink of {digest}");
        }
        Ok(())
    }

    fn fetch(&self, line: &str) -> anyhow::Result<()> {
        ensure!(!self.places.is_empty(), "no skylink is known");
        self.places.iter().try_for_each(|(digest, skylink)| {
            let said = self.shell(&line.replace("SKYLINK", skylink))?;
            let found = said.split_whitespace().next().unwrap_or_default();
            ensure!(*digest == format!("sha256:{found}"), "{digest} at {skylink} is {said}");
            Ok(())
        })
    }

    fn was_cold(&self) -> anyhow::Result<()> {
        // Measured first, since later steps pull as well.
        let cold = metric(&self.round.target, "skyberth_cold_bytes_total")?;
        let (manifest, _) = verify::registry_is_whole(&self.round.target, REPOSITORY, "latest")?;
        let layers = manifest["layers"].as_array().context("layers")?;
        let wanted: u64 = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
        ensure!(cold >= wanted as f64, "{cold} bytes came from the portal, the layers have {wanted}");
        Ok(())
    }

    /// Pulls by tag and by digest into an empty store, and compares byte for byte.
    fn pull_elsewhere(&self) -> anyhow::Result<()> {
        let empty = Docker::start(self.round, "empty")?;
        let name = format!("{}/{REPOSITORY}", self.round.target.authority());
        for source in [format!("{name}:latest"), format!("{name}@{}", self.manifest)] {
            empty.pulls(&source, &self.manifest, &self.image)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_every_part_of_the_walk() {
        let blocks = blocks(README, HEADING);
        let lines = |block: usize, start: &str| blocks[block].iter().filter(|line| line.starts_with(start)).count();
        for (block, start) in [
            (0, "skyberth serve --with-portal"),
            (0, "docker push"),
            (0, "skyberth status"),
            (0, "skyberth ls library/busybox@DIGEST"),
            (0, "curl"),
            (1, "rm -r skyberth-data/blobs skyberth-data/index"),
            (1, "skyberth serve --with-portal"),
            (1, "docker pull"),
        ] {
            assert_eq!(lines(block, start), 1, "{start}");
        }
    }
}
