//! Rounds with real clients: each pushes, pulls into an empty store, and compares bit for bit.
#![expect(clippy::unnecessary_wraps, reason = "the rows of all clients have one signature")]

pub mod attached;
mod bad_portals;
mod buildah;
mod buildkit;
mod containerd;
mod cosign;
mod crane;
pub mod daemon;
mod docker;
pub mod fixture;
mod helm;
mod network;
mod oras;
mod podman;
mod raw;
mod readme;
mod regctl;
mod relay;
mod round;
mod skopeo;
mod tar;
pub mod verify;
pub mod walk_through;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::client::Target;
use crate::scale::Scale;
use crate::server::ServerOptions;
use round::{Round, Setting};

/// Which registry is judged, and by which clients.
#[derive(clap::Args, Debug)]
pub struct ClientsArgs {
    /// The `skyberth` binary.
    #[arg(long, required_unless_present = "url")]
    binary: Option<PathBuf>,
    /// A running registry by its http address instead; rows that restart the server are not applicable then.
    #[arg(long, conflicts_with = "binary")]
    url: Option<String>,
    /// Folder of the Go clients; those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
    /// Clients to run, by name; all if absent.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// With 3, the registry stores to so many portals beside, and after the rounds of docker, containerd, skopeo and oras
    /// all of it is pulled again: cold, without portals, and with bad ones.
    #[arg(long, default_value_t = 0, conflicts_with = "url")]
    portals: usize,
}

type Rows = fn(&Round) -> anyhow::Result<()>;

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
    for name in &args.only {
        if CLIENTS.iter().all(|(known, _)| known != name) {
            let known: Vec<&str> = CLIENTS.iter().map(|(known, _)| *known).collect();
            bail!("no client {name}; known are {}", known.join(", "));
        }
    }
    let scratch = tempfile::Builder::new().prefix("clients").tempdir()?;
    let logs = folder.unwrap_or(scratch.path()).join("clients");
    // Rounds add to the logs; those of an earlier run go.
    let _ = std::fs::remove_dir_all(&logs);
    std::fs::create_dir_all(&logs)?;
    let tools = std::path::absolute(&args.tools)?;
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|wanted| wanted == name);
    if args.portals > 0 {
        ensure!(args.portals == network::PORTALS, "--portals {}, or none", network::PORTALS);
        let binary = args.binary.as_deref().context("--binary is needed")?;
        let log = logs.join("server.log");
        let network = network::Network::start(binary, &scratch.path().join("network"), &log, scale)?;
        let setting =
            Setting::new("clients", args.binary.clone(), network.target(), tools, scratch.path(), &logs, scale);
        let setting = setting.with_settings(network.settings());
        network::run(&network, &setting, wanted)?;
        return setting.into_report().finish(folder);
    }
    let (server, target) = if let Some(url) = &args.url {
        (None, Target::parse(url)?)
    } else {
        let binary = args.binary.as_deref().context("--binary or --url is needed")?;
        let mut options = ServerOptions::new(binary, &scratch.path().join("server"))?;
        options.log = logs.join("server.log");
        let server = options.start()?;
        let target = server.target();
        (Some(server), target)
    };
    let setting = Setting::new("clients", args.binary.clone(), target, tools, scratch.path(), &logs, scale);
    for (name, rows) in CLIENTS {
        if wanted(name) {
            setting.round(name, *rows)?;
        }
    }
    drop(server);
    setting.into_report().finish(folder)
}
