//! Cold pulls by real clients while one portal is gone, one stalls, and one gives old answers again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use conformance::clients::raw;
use conformance::clients::round::{Setting, THREE_LAYERS};
use harness::client::Target;
use harness::front::exchange::Exchange;
use harness::front::replay::Replayed;
use harness::front::{Front, Manner};
use harness::gate::{note, wait_until};
use harness::local;
use harness::noise::noise;
use harness::status::{self, Metrics, TROUBLE, warnings};
use harness::verify;

use super::network::{Client, Network, PORTALS, again};
use crate::network::STALL;
use crate::skynet::entry::{Entry, Place};
use crate::skynet::site::{Profile, Site};

/// One that lies is for the network gate; here one gives old answers again.
pub fn run(network: &Network, setting: &Setting, clients: &[&Client]) -> anyhow::Result<()> {
    let repository = setting.repository("portals/older");
    setting.row("portals: older content of the same lengths is there too", || {
        give_each_length_twice(network, setting, clients, &repository)
    });
    let entries = Entries::new(network)?;
    setting.row("portals: entries in two revisions are there", || entries.write());
    let replaying = Manner::Replaying(Arc::new(network.stack.old()));
    pulls(network, setting, clients, &replaying)?;
    setting.row("portals: old entries are given again, and the registry asks for none at all", || {
        entries.check(network, &replaying)
    });
    Ok(())
}

/// How long a registry may take to keep what was read.
const KEPT_WITHIN: Duration = Duration::from_secs(20);

/// Where the portals stand that are gone, bad and stalling, from client to client. Before one that stalls has been given up
/// nobody asks the one behind the next; so the bad one is never behind both others.
const ORDERS: [[usize; PORTALS]; 4] = [[0, 1, 2], [2, 1, 0], [2, 0, 1], [1, 0, 2]];

/// One portal is gone, one gives old answers, one stalls for a while: a row for each client.
fn pulls(network: &Network, setting: &Setting, clients: &[&Client], replaying: &Manner) -> anyhow::Result<()> {
    let log = &network.stack.options.log;
    let mut said = Said::default();
    for (number, client) in clients.iter().enumerate() {
        let [gone, bad, stalling] = ORDERS[number % ORDERS.len()].map(|place| &network.stack.portals[place].front);
        // The first wrong answer is the last one that a portal is asked for: so it is the manifest's, or a layer's.
        let (cold, all) = if number % 2 == 0 { ("all", true) } else { ("layers", false) };
        setting.row(&format!("portals: {cold} cold once more for {}", client.name), || {
            network.make_cold()?;
            if all { Ok(()) } else { only_layers_cold(network, &client.repository(setting), client.tag) }
        });
        again(setting, client, &format!("pull {cold} cold: one portal gone, one replaying, one stalling"), |pull| {
            let (from, before, mark) = (status::length(log), Metrics::of(&network.target())?, bad.mark());
            gone.set(Manner::Gone);
            bad.set(replaying.clone());
            stalling_for_a_while(stalling, pull)?;
            said.gone += warnings(log, from, &gone.authority())?.len();
            said.bad += warnings(log, from, &bad.authority())?.len();
            let after = Metrics::of(&network.target())?;
            let grown = after.grown(&before, &TROUBLE);
            said.counted += grown.iter().filter(|name| name.contains(&bad.authority())).count();
            said.metrics.extend(grown.iter().map(|name| (*name).to_owned()));
            was_met(bad, mark)
        })?;
    }
    network.stack.set_all(&Manner::Honest);
    setting.row("portals: metrics and log tell of the replaying one", || said.check());
    Ok(())
}

/// The image is read whole, and its large contents are deleted here.
fn only_layers_cold(network: &Network, repository: &str, tag: &str) -> anyhow::Result<()> {
    let (manifest, _) = verify::registry_is_whole(&network.target(), repository, tag)?;
    let layers = manifest["layers"].as_array().context("no layers")?;
    let layers: Vec<&str> = layers.iter().filter_map(|layer| layer["digest"].as_str()).collect();
    ensure!(layers.len() == THREE_LAYERS.len(), "{} layers", layers.len());
    // What was read cold becomes a file after the last byte has left.
    let data = &network.stack.options.data;
    let kept = wait_until(KEPT_WITHIN, || layers.iter().all(|digest| local::has(data, digest)));
    ensure!(kept, "not all layers are kept here {KEPT_WITHIN:?} after they were read");
    network.restart(|server| {
        let options = server.kill()?;
        layers.iter().try_for_each(|digest| local::delete(&options.data, digest))?;
        options.start()
    })
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

/// A fault that nobody met shows nothing.
fn was_met(front: &Front, mark: usize) -> anyhow::Result<()> {
    let count = |kind| front.replayed(mark, kind);
    let (alike, other) = (count(Replayed::SameLength), count(Replayed::OtherLength));
    note(&format!("given instead: {alike} times other content of the same length, {other} times of another length"));
    ensure!(alike > 0, "no old answer of the right length was given, so nothing was tried");
    Ok(())
}

/// For each length that only one of the clients' contents has, another content of that length, as of an older image.
fn give_each_length_twice(
    network: &Network,
    setting: &Setting,
    clients: &[&Client],
    repository: &str,
) -> anyhow::Result<()> {
    let target = network.target();
    let mut lengths = BTreeSet::new();
    for client in clients {
        lengths.extend(lengths_of(&target, &client.repository(setting), client.tag)?);
    }
    ensure!(lengths.len() > THREE_LAYERS.len(), "the images have only the lengths {lengths:?}");
    let old = network.stack.old();
    let single: Vec<u64> = lengths.into_iter().filter(|length| !old.has_two_of(*length)).collect();
    let contents: Vec<Vec<u8>> =
        single.iter().map(|length| noise(&format!("older {length}"), *length as usize)).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    raw::push_artifact(&target, repository, "v0", &contents)?;
    network.settle()?;
    let old = network.stack.old();
    let missing: Vec<_> = single.iter().filter(|length| !old.has_two_of(**length)).collect();
    ensure!(missing.is_empty(), "nothing was read of other content with the lengths {missing:?}");
    note(&format!("{} contents were added", single.len()));
    Ok(())
}

/// Of the manifest, the config and the layers.
fn lengths_of(target: &Target, repository: &str, tag: &str) -> anyhow::Result<Vec<u64>> {
    let bytes = verify::manifest(target, repository, tag)?;
    let manifest: serde_json::Value = serde_json::from_slice(&bytes)?;
    let layers = manifest["layers"].as_array().context("no layers")?;
    let sizes = layers.iter().chain([&manifest["config"]]).map(|one| one["size"].as_u64().context("no size"));
    sizes.chain([Ok(bytes.len() as u64)]).collect()
}

/// What the registry said of bad portals, in all pulls together.
#[derive(Debug, Default)]
struct Said {
    gone: usize,
    bad: usize,
    /// Metrics that name the bad one.
    counted: usize,
    metrics: Vec<String>,
}

impl Said {
    fn check(&mut self) -> anyhow::Result<()> {
        self.metrics.sort();
        self.metrics.dedup();
        note(&format!("warnings of portals that are gone: {}, that are bad: {}", self.gone, self.bad));
        note(&format!("metrics that grew: {}", self.metrics.join(", ")));
        ensure!(self.bad > 0, "no warning names a portal that gives wrong bytes");
        ensure!(self.gone > 0, "no warning names a portal that is gone");
        ensure!(self.counted > 0, "no metric tells of trouble with the bad one");
        Ok(())
    }
}

/// An entry at each portal, which the judge reads: the registry is not known to read any.
///
/// It computes the skylink of each digest itself, so no entry stands between a pull and its bytes, and an old one has
/// nobody to mislead. The row fails on the day that the registry asks for one.
struct Entries {
    /// One a portal, through its front.
    places: Vec<(Site, Place)>,
}

impl Entries {
    fn new(network: &Network) -> anyhow::Result<Self> {
        let place = |front: &Front| -> anyhow::Result<(Site, Place)> {
            let site = Site::new(Target::parse(&front.url())?, Profile::DEFAULT);
            let place = Place::new(&site, "replayed");
            Ok((site, place))
        };
        let places = network.stack.portals.iter().map(|portal| place(&portal.front)).collect::<anyhow::Result<_>>()?;
        Ok(Entries { places })
    }

    fn write(&self) -> anyhow::Result<()> {
        for (site, place) in &self.places {
            for entry in revisions(place) {
                entry.post(site)?.expect(204)?;
                entry.stands(site)?;
            }
        }
        Ok(())
    }

    fn check(&self, network: &Network, replaying: &Manner) -> anyhow::Result<()> {
        network.stack.set_all(replaying);
        let again = self.places.iter().try_for_each(|(site, place)| revisions(place)[0].stands(site));
        network.stack.set_all(&Manner::Honest);
        again?;
        let all = network.stack.since(&network.stack.beginning());
        let is_ours = |one: &Exchange| self.places.iter().any(|(_, place)| one.path.contains(&place.data_key()));
        let asked: Vec<&Exchange> = all.iter().filter(|one| one.is_of_entry() && !is_ours(one)).collect();
        let replayed = asked.iter().filter(|one| one.replayed == Some(Replayed::Entry)).count();
        note(&format!(
            "the registry asked for {} entries in all rounds, so an old one had nobody to mislead; content is what it reads",
            asked.len()
        ));
        ensure!(
            asked.is_empty(),
            "it asks for entries now: {}, {replayed} answered with old ones; here must stand what is to come of that",
            asked.len()
        );
        Ok(())
    }
}

fn revisions(place: &Place) -> [Entry<'_>; 2] {
    [place.entry(b"old", 0), place.entry(b"new", 1)]
}
