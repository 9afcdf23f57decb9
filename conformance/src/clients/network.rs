//! Real clients before a registry that stores to portals: what they pushed is pulled again when nothing of it is here.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::fixture::Image;
use super::round::{ROW, Round, Setting, THREE_LAYERS};
use super::{Rows, containerd, docker, oras, skopeo, verify};
use crate::client::{Request, Target};
use crate::gates::network::front::{Front, Manner};
use crate::gates::network::stack::{Bench, Stack};
use crate::gates::network::status::{self, Metrics, TROUBLE, warnings};
use crate::gates::network::{STALL, local, patience};
use crate::gates::note;
use crate::scale::Scale;
use crate::server::Server;

/// So many portals, all of which have everything: each may be the only honest one.
pub const PORTALS: usize = 3;

/// A client with its round, and how it pulls [`again`] into an empty store and compares bit for bit.
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

/// The registry before its portals.
pub struct Network<'a> {
    bench: Bench<'a>,
    stack: Stack,
    /// `None` only if it could not be started again.
    server: RefCell<Option<Server>>,
}

impl<'a> Network<'a> {
    pub fn start(binary: &'a Path, folder: &Path, log: &Path, scale: Scale) -> anyhow::Result<Self> {
        let bench = Bench { binary, folder: folder.to_owned(), scale };
        let mut stack = Stack::new(&bench, PORTALS)?;
        log.clone_into(&mut stack.options.log);
        let server = stack.start()?;
        Ok(Network { bench, stack, server: RefCell::new(Some(server)) })
    }

    pub fn target(&self) -> Target {
        self.stack.options.target()
    }

    /// What makes another registry store to the same portals.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.stack.options.env.clone()
    }

    fn restart(&self, change: impl FnOnce(Server) -> anyhow::Result<Server>) -> anyhow::Result<()> {
        let server = self.server.borrow_mut().take().context("the registry does not run")?;
        *self.server.borrow_mut() = Some(change(server)?);
        Ok(())
    }

    fn make_cold(&self) -> anyhow::Result<()> {
        self.stack.set_all(&Manner::Honest);
        self.restart(|server| self.stack.make_cold(server))
    }
}

/// All of it; `wanted` says which clients.
pub fn run(network: &Network, setting: &Setting, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let clients: Vec<&Client> = CLIENTS.iter().filter(|client| wanted(client.name)).collect();
    for client in &clients {
        setting.round(client.name, client.rows)?;
    }
    setting.row("portals: all is placed and read back", || {
        network.stack.settle(&network.target(), patience(&network.bench))
    });
    setting.row("portals: all local blobs are gone", || network.make_cold());
    for client in &clients {
        again(setting, client, "pull again cold, bit for bit", |pull| {
            let sent = network.stack.sent();
            pull()?;
            let (sent, size) = (network.stack.sent() - sent, THREE_LAYERS.iter().sum::<u64>());
            ensure!(sent >= size, "the portals sent {sent} bytes for an image of {size}, so it was not cold");
            Ok(())
        })?;
    }
    setting.row("portals: everything else cold, bit for bit", || everything(&network.target()));
    without_portals(network, setting, &clients)?;
    with_bad_portals(network, setting, &clients)
}

/// One row: the image of the client's round is pulled into an empty store, by whatever is done around it.
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

/// Every tag of every repository.
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

/// What is here is served without any portal; what is not is refused, so that a client can go elsewhere.
fn without_portals(network: &Network, setting: &Setting, clients: &[&Client]) -> anyhow::Result<()> {
    network.stack.set_all(&Manner::Gone);
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
    network.stack.set_all(&Manner::Honest);
    Ok(())
}

fn refused(round: &Round, client: &Client, image: &Image) -> anyhow::Result<()> {
    let path = format!("/v2/{}/blobs/{}", round.repository("image"), image.config);
    let answer = round.target.send(&Request::get(path))?;
    answer.expect(503)?.need("Retry-After")?;
    let Err(error) = (client.pull)(round, image) else { anyhow::bail!("it was pulled without its config") };
    let said = format!("{error:#}");
    // Some clients tell the status, others what the registry wrote for people.
    let says_so = ["503", "Service Unavailable", "cannot be had now"].iter().any(|words| said.contains(words));
    ensure!(says_so, "the client does not tell why: {said}");
    Ok(())
}

/// One portal is gone, one lies, one stalls for a while, and which one does what changes from client to client.
fn with_bad_portals(network: &Network, setting: &Setting, clients: &[&Client]) -> anyhow::Result<()> {
    let log = &network.stack.options.log;
    let mut said = Said::default();
    for (number, client) in clients.iter().enumerate() {
        let [gone, lying, stalling] = [0, 1, 2].map(|place| &network.stack.portals[(number + place) % PORTALS].front);
        setting.row(&format!("portals: cold once more for {}", client.name), || network.make_cold());
        again(setting, client, "pull cold: one portal gone, one lying, one stalling", |pull| {
            let (from, before) = (status::length(log), Metrics::of(&network.target())?);
            gone.set(Manner::Gone);
            lying.set(Manner::Lying);
            stalling_for_a_while(stalling, pull)?;
            said.gone += warnings(log, from, &gone.authority())?.len();
            said.lying += warnings(log, from, &lying.authority())?.len();
            let after = Metrics::of(&network.target())?;
            said.metrics.extend(after.grown(&before, &TROUBLE).iter().map(|name| (*name).to_owned()));
            Ok(())
        })?;
    }
    network.stack.set_all(&Manner::Honest);
    setting.row("portals: metrics and log tell of the trouble", || said.check());
    Ok(())
}

/// From the first request that it gets on.
fn stalling_for_a_while(front: &Front, pull: &dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    const LOOK: Duration = Duration::from_millis(20);
    let (before, over) = (front.mark(), AtomicBool::new(false));
    front.set(Manner::Stalled);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut since = None;
            while !over.load(Ordering::Relaxed) && since.is_none_or(|since: Instant| since.elapsed() < STALL) {
                if since.is_none() && front.mark() > before {
                    since = Some(Instant::now());
                }
                std::thread::sleep(LOOK);
            }
            front.set(Manner::Honest);
        });
        let pulled = pull();
        over.store(true, Ordering::Relaxed);
        pulled
    })
}

/// What the registry said of bad portals, in all pulls together.
#[derive(Debug, Default)]
struct Said {
    gone: usize,
    lying: usize,
    metrics: Vec<String>,
}

impl Said {
    fn check(&mut self) -> anyhow::Result<()> {
        self.metrics.sort();
        self.metrics.dedup();
        note(&format!("warnings of portals that are gone: {}, that lie: {}", self.gone, self.lying));
        note(&format!("metrics that grew: {}", self.metrics.join(", ")));
        ensure!(self.lying > 0, "no warning names a portal that lies");
        ensure!(self.gone > 0, "no warning names a portal that is gone");
        ensure!(!self.metrics.is_empty(), "no metric tells of the trouble");
        Ok(())
    }
}
