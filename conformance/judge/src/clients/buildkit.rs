//! BuildKit with its own daemon: a build with attestations, and a registry cache used by an empty builder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::daemon::Daemon;
use harness::noise::noise;
use harness::program::Program;
use harness::verify;
use serde_json::Value;

use super::round::{MIB, Round};

const LIMIT: Duration = Duration::from_mins(5);
const DOCKERFILE: &str = "FROM scratch AS made\nCOPY big /big\nFROM scratch\nCOPY --from=made /big /copied\n";

pub fn run(round: &Round) -> anyhow::Result<()> {
    let context = round.folder("context")?;
    fs::write(context.join("Dockerfile"), DOCKERFILE)?;
    fs::write(context.join("big"), noise("buildkit", 8 * MIB as usize))?;
    round.row("build with attestations, push image and cache (mode=max)", LIMIT, || {
        let builder = Builder::start(round, "first")?;
        builder.build(&context, "first", &["--export-cache", &cache(round, ",mode=max")])?;
        let manifest = whole_index(round, "first")?;
        let attests = manifest["manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["annotations"]["vnd.docker.reference.type"] == "attestation-manifest");
        ensure!(attests, "no attestation in the index: {manifest}");
        verify::registry_is_whole(&round.target, &round.repository("cache"), "v1").map(drop)
    });
    round.row("an empty builder imports the cache and builds the same layers", LIMIT, || {
        let builder = Builder::start(round, "second")?;
        let said = builder.build(&context, "second", &["--import-cache", &cache(round, "")])?;
        ensure!(said.matches("CACHED").count() >= 2, "the steps were not taken from the cache: {said}");
        ensure!(layers(round, "first")? == layers(round, "second")?, "other layers than those of the first build");
        Ok(())
    });
    Ok(())
}

fn cache(round: &Round, more: &str) -> String {
    format!("type=registry,ref={}:v1{}{more}", round.reference("cache"), insecure(round))
}

fn insecure(round: &Round) -> &'static str {
    round.plain(",registry.insecure=true").unwrap_or_default()
}

/// The pushed index, after all manifests and blobs below it were read and verified.
fn whole_index(round: &Round, tag: &str) -> anyhow::Result<Value> {
    let repository = round.repository("image");
    let (index, _) = verify::registry_is_whole(&round.target, &repository, tag)?;
    for child in index["manifests"].as_array().context("not an index")? {
        let digest = child["digest"].as_str().context("no digest")?;
        verify::registry_is_whole(&round.target, &repository, digest)?;
    }
    Ok(index)
}

fn layers(round: &Round, tag: &str) -> anyhow::Result<Vec<String>> {
    let index = whole_index(round, tag)?;
    let digest = index["manifests"][0]["digest"].as_str().context("no image in the index")?;
    let (image, _) = verify::registry_is_whole(&round.target, &round.repository("image"), digest)?;
    Ok(verify::digests_in(&image).split_off(1)) // without the config, which holds the time of the build
}

/// A buildkitd with its own store, empty at the start.
struct Builder<'a> {
    round: &'a Round<'a>,
    socket: PathBuf,
    _daemon: Daemon,
}

impl<'a> Builder<'a> {
    fn start(round: &'a Round<'a>, name: &str) -> anyhow::Result<Self> {
        let folder = round.folder(&format!("buildkitd-{name}"))?;
        let socket = folder.join("sock");
        let config = folder.join("buildkitd.toml");
        // It assumes http for registries on loopback, unless told otherwise.
        fs::write(
            &config,
            format!("[registry.{:?}]\n  http = {}\n", round.target.authority(), round.target.tls.is_none()),
        )?;
        let mut command = Command::new(round.find("buildkitd")?);
        command
            .args(["--oci-worker-snapshotter=native", "--containerd-worker=false", "--oci-worker-net=host"])
            .arg(format!("--addr=unix://{}", socket.display()))
            .arg(format!("--root={}", folder.join("root").display()))
            .arg(format!("--config={}", config.display()))
            .envs(round.environment())
            .env("TMPDIR", &folder);
        let probe = || {
            let workers = buildctl(round, &socket).and_then(|buildctl| buildctl.args(["debug", "workers"]).run_any());
            workers.is_ok_and(|ended| ended.status.success())
        };
        let daemon = Daemon::start(command, &round.log_of("buildkitd"), probe)?;
        Ok(Builder { round, socket: socket.clone(), _daemon: daemon })
    }

    /// Builds and pushes under the tag. Returns the progress output as text.
    fn build(&self, context: &Path, tag: &str, options: &[&str]) -> anyhow::Result<String> {
        let name = format!("{}:{tag}", self.round.reference("image"));
        let build = ["build", "--progress=plain", "--frontend=dockerfile.v0", "--opt=attest:provenance=mode=max"];
        let ended = buildctl(self.round, &self.socket)?
            .args(build)
            .arg(format!("--local=context={}", context.display()))
            .arg(format!("--local=dockerfile={}", context.display()))
            .arg(format!("--output=type=image,name={name},push=true{}", insecure(self.round)))
            .args(options)
            .run()?;
        Ok(ended.said())
    }
}

fn buildctl(round: &Round, socket: &Path) -> anyhow::Result<Program> {
    Ok(round.program("buildctl")?.arg(format!("--addr=unix://{}", socket.display())))
}
