//! Rounds with real clients. Each pushes, pulls into an empty store, and compares byte for byte.
#![expect(clippy::unnecessary_wraps, reason = "the rows of all clients have one signature")]

mod buildah;
mod buildkit;
pub mod containerd;
mod cosign;
mod crane;
pub mod docker;
mod helm;
pub mod oras;
mod partial;
mod podman;
pub mod raw;
mod regctl;
pub mod round;
pub mod skopeo;

use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::gate::named;
use harness::scale::Scale;
use harness::server::ServerOptions;
use harness::target::TargetArgs;

pub use round::Rows;
use round::Setting;

/// Options: the registry to judge, and the clients.
#[derive(clap::Args, Debug)]
pub struct ClientsArgs {
    /// The `skyberth` binary.
    #[arg(long, conflicts_with = "url")]
    binary: Option<PathBuf>,
    /// Without `--binary`, rows that restart the server are not applicable.
    #[command(flatten)]
    target: TargetArgs,
    /// Directory of the Go clients. Those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
    /// Clients to run, by name; by default all.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// The slowest first.
const CLIENTS: &[(&str, Rows)] = &[
    ("docker", docker::run),
    ("podman", podman::run),
    ("skopeo", skopeo::run),
    ("containerd", containerd::run),
    ("regctl", regctl::run),
    ("buildah", buildah::run),
    ("buildkit", buildkit::run),
    ("cosign", cosign::run),
    ("crane", crane::run),
    ("oras", oras::run),
    ("raw", raw::run),
    ("helm", helm::run),
];

pub fn run(args: &ClientsArgs, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let clients = named(CLIENTS, "client", |(name, _)| name, &args.only)?;
    let scratch = tempfile::Builder::new().prefix("clients").tempdir()?;
    let logs = logs_in(folder.unwrap_or(scratch.path()))?;
    let tools = std::path::absolute(&args.tools)?;
    let (server, target) = if let Some(target) = args.target.target()? {
        (None, target)
    } else {
        let binary = args.binary.as_deref().context("--binary or --url is needed")?;
        let mut options = ServerOptions::new(binary, &scratch.path().join("server"))?;
        options.log = logs.join("server.log");
        let server = options.start()?;
        let target = server.target();
        (Some(server), target)
    };
    let setting = Setting::new("clients", args.binary.clone(), target, tools, scratch.path(), &logs, scale);
    setting.rounds(clients.into_iter().copied())?;
    drop(server);
    setting.into_report().finish(folder)
}

/// The directory of logs below a directory of reports. It removes logs of an earlier run; rounds append to theirs.
pub fn logs_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let logs = folder.join("clients");
    let _ = std::fs::remove_dir_all(&logs);
    std::fs::create_dir_all(&logs)?;
    Ok(logs)
}
