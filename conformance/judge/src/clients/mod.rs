//! Rounds with real clients: each pushes, pulls into an empty store, and compares bit for bit.
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

use round::{Round, Setting};

/// Which registry is judged, and by which clients.
#[derive(clap::Args, Debug)]
pub struct ClientsArgs {
    /// The `skyberth` binary.
    #[arg(long, conflicts_with = "url")]
    binary: Option<PathBuf>,
    /// Rows that restart the server are not applicable to a running registry.
    #[command(flatten)]
    target: TargetArgs,
    /// Folder of the Go clients; those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
    /// Clients to run, by name; all if absent.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// The rows of one client.
pub type Rows = fn(&Round) -> anyhow::Result<()>;

const CLIENTS: &[(&str, Rows)] = &[
    ("raw", raw::run),
    ("crane", crane::run),
    ("oras", oras::run),
    ("regctl", regctl::run),
    ("skopeo", skopeo::run),
    ("podman", podman::run),
    ("buildah", buildah::run),
    ("docker", docker::run),
    ("containerd", containerd::run),
    ("buildkit", buildkit::run),
    ("helm", helm::run),
    ("cosign", cosign::run),
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
    for (name, rows) in clients {
        setting.round(name, *rows)?;
    }
    drop(server);
    setting.into_report().finish(folder)
}

/// The folder of logs below a folder of reports. Rounds add to the logs; those of an earlier run go.
pub fn logs_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let logs = folder.join("clients");
    let _ = std::fs::remove_dir_all(&logs);
    std::fs::create_dir_all(&logs)?;
    Ok(logs)
}
