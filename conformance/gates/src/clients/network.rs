//! Real clients of a registry that stores to portals. They pull their images again when no content is local.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use conformance::clients::round::{ROW, Round, Setting, THREE_LAYERS};
use conformance::clients::{Rows, containerd, docker, logs_in, oras, skopeo};
use harness::client::{Request, Target};
use harness::gate::{named, note};
use harness::layout::Image;
use harness::local;
use harness::proxy::Fault;
use harness::scale::Scale;
use harness::server::Server;
use harness::verify;

use crate::case::Bench;
use crate::network::patience;
use crate::network::stack::Stack;

/// Number of portals. All have everything, so that each may be the only honest one.
const PORTALS: usize = 3;

/// A client, with its rows and a pull of its image [`again`] into an empty store, compared bit for bit.
struct Client {
    name: &'static str,
    rows: Rows,
    pull: fn(&Round, &Image) -> anyhow::Result<()>,
}

const CLIENTS: [Client; 4] = [
    Client { name: "docker", rows: docker::run, pull: docker::pull },
    Client { name: "containerd", rows: containerd::run, pull: containerd::pull },
    Client { name: "skopeo", rows: skopeo::run, pull: skopeo::pull },
    Client { name: "oras", rows: oras::run, pull: oras::pull },
];

/// The registry and its portals.
struct Network<'a> {
    bench: Bench<'a>,
    stack: Stack,
    /// `None` only if a restart failed.
    server: RefCell<Option<Server>>,
}

impl<'a> Network<'a> {
    fn start(binary: &'a Path, folder: &Path, log: &Path, scale: Scale) -> anyhow::Result<Self> {
        let bench = Bench::new(binary, folder.to_owned(), scale);
        let mut stack = Stack::new(&bench, PORTALS)?;
        log.clone_into(&mut stack.options.log);
        let server = stack.start()?;
        Ok(Network { bench, stack, server: RefCell::new(Some(server)) })
    }

    fn target(&self) -> Target {
        self.stack.options.target()
    }

    /// The settings that make another registry store to the same portals.
    fn settings(&self) -> Vec<(String, String)> {
        self.stack.options.env.clone()
    }

    fn restart(&self, change: impl FnOnce(Server) -> anyhow::Result<Server>) -> anyhow::Result<()> {
        let server = self.server.borrow_mut().take().context("the registry does not run")?;
        *self.server.borrow_mut() = Some(change(server)?);
        Ok(())
    }

    /// Waits until all content is placed and read back.
    fn settle(&self) -> anyhow::Result<()> {
        self.stack.settle(&self.target(), patience(&self.bench))
    }

    /// Deletes all local content and makes all portals honest.
    fn make_cold(&self) -> anyhow::Result<()> {
        self.stack.set_all(&Fault::None);
        self.restart(|server| self.stack.make_cold(server))
    }
}

/// Options: what to judge, and with which clients.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Directory of the Go clients. Those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
    /// Clients to run, by name; by default all.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// After the rows of all clients, their images are pulled again: cold, and without portals.
pub fn run(args: &Args, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let clients: Vec<&Client> = named(&CLIENTS, "client", |client| client.name, &args.only)?;
    let scratch = tempfile::Builder::new().prefix("clients").tempdir()?;
    let logs = logs_in(folder.unwrap_or(scratch.path()))?;
    let tools = std::path::absolute(&args.tools)?;
    let network = Network::start(&args.binary, &scratch.path().join("network"), &logs.join("server.log"), scale)?;
    let binary = Some(args.binary.clone());
    let setting = Setting::new("clients", binary, network.target(), tools, scratch.path(), &logs, scale);
    let setting = setting.with_settings(network.settings());
    rounds(&network, &setting, &clients)?;
    setting.into_report().finish(folder)
}

fn rounds(network: &Network, setting: &Setting, clients: &[&Client]) -> anyhow::Result<()> {
    setting.rounds(clients.iter().map(|client| (client.name, client.rows)))?;
    setting.row("portals: all is placed and read back", || network.settle());
    setting.row("portals: all local blobs are gone", || network.make_cold());
    for client in clients {
        again(setting, client, "pull again cold, bit for bit", |pull| {
            let sent = network.stack.sent();
            pull()?;
            let (sent, size) = (network.stack.sent() - sent, THREE_LAYERS.iter().sum::<u64>());
            ensure!(sent >= size, "the portals sent {sent} bytes for an image of {size}, so it was not cold");
            Ok(())
        })?;
    }
    setting.row("portals: everything else cold, bit for bit", || everything(&network.target()));
    without_portals(network, setting, clients)
}

/// A row: `around` decides how the image of the client's round is pulled into an empty store.
fn again(
    setting: &Setting,
    client: &Client,
    what: &str,
    around: impl FnOnce(&dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    setting.round(client.name, |round| {
        let image = round.image("image", &THREE_LAYERS)?;
        round.row(what, ROW, || around(&|| (client.pull)(round, &image)));
        Ok(())
    })
}

/// Pulls every tag of every repository.
fn everything(target: &Target) -> anyhow::Result<()> {
    let listed = |path: &str, key: &str| -> anyhow::Result<Vec<String>> {
        let answer = target.send(&Request::get(format!("{path}?n=1000")))?.expect(200)?.json()?;
        let names = answer[key].as_array().with_context(|| format!("no {key} in {answer}"))?;
        Ok(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    };
    let mut count = 0;
    for repository in listed("/v2/_catalog", "repositories")? {
        for tag in listed(&format!("/v2/{repository}/tags/list"), "tags")? {
            let (manifest, _) = verify::registry_is_whole(target, &repository, &tag)?;
            let children = manifest["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
            for digest in children.iter().filter_map(|child| child["digest"].as_str()) {
                verify::registry_is_whole(target, &repository, digest)?;
            }
            count += 1 + children.len();
        }
    }
    note(&format!("{count} manifests with all their blobs"));
    Ok(())
}

/// Without portals, local content is served. Other content is refused, so that clients can use another mirror.
fn without_portals(network: &Network, setting: &Setting, clients: &[&Client]) -> anyhow::Result<()> {
    network.stack.set_all(&Fault::Gone);
    for client in clients {
        again(setting, client, "pull what is here without portals", |pull| pull())?;
    }
    setting.row("portals: the configs are evicted", || {
        network.restart(|server| {
            let options = server.kill()?;
            clients.iter().try_for_each(|client| {
                let image = setting.image_of(client.name, "image", &THREE_LAYERS)?;
                local::delete(&options.data, &image.config)
            })?;
            options.start()
        })
    });
    for client in clients {
        setting.round(client.name, |round| {
            let image = round.image("image", &THREE_LAYERS)?;
            round.row("a cold pull without portals is refused with 503", ROW, || refused(round, client, &image));
            Ok(())
        })?;
    }
    network.stack.set_all(&Fault::None);
    Ok(())
}

fn refused(round: &Round, client: &Client, image: &Image) -> anyhow::Result<()> {
    let path = format!("/v2/{}/blobs/{}", round.repository("image"), image.config);
    let answer = round.target.send(&Request::get(path))?;
    answer.expect(503)?.need("Retry-After")?;
    let Err(error) = (client.pull)(round, image) else { anyhow::bail!("it was pulled without its config") };
    let said = format!("{error:#}");
    // Some clients report the status, others the registry's message.
    let says_so = ["503", "Service Unavailable", "do not deliver it now"].iter().any(|words| said.contains(words));
    ensure!(says_so, "the client does not tell why: {said}");
    Ok(())
}
