//! A registry with its own portals, each behind a proxy that misbehaves on demand.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::Target;
use harness::gate::wait_until;
use harness::proxy::exchange::Exchange;
use harness::proxy::replay::Old;
use harness::proxy::{Fault, Proxy};
use harness::server::{Server, ServerOptions};
use harness::surroundings::{portal, storing_to};
use harness::{local, status};

use crate::case::Bench;

/// A portal and its proxy.
#[derive(Debug)]
pub struct Portal {
    pub proxy: Proxy,
    server: Option<Server>,
    options: ServerOptions,
}

impl Portal {
    fn start(bench: &Bench, number: usize, settings: &[(String, String)]) -> anyhow::Result<Self> {
        let server = portal(bench.binary, &bench.folder, number, settings)?;
        Ok(Portal { proxy: Proxy::before(&server.target())?, options: server.options.clone(), server: Some(server) })
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.server.take().map_or(Ok(()), |server| server.kill().map(drop))
    }

    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.server = Some(self.options.start().context("start a portal again")?);
        Ok(())
    }

    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.server.as_ref().context("the portal does not run")?.pid())
    }

    /// The portal's address, without the proxy.
    pub fn target(&self) -> Target {
        self.options.target()
    }

    /// The portal's URL, without the proxy.
    pub fn url(&self) -> String {
        format!("http://{}", self.options.target().authority())
    }
}

/// The number of requests at each proxy at some moment.
#[derive(Clone, Debug)]
pub struct Mark(Vec<usize>);

/// Portals, and the start options of their registry.
#[derive(Debug)]
pub struct Stack {
    pub portals: Vec<Portal>,
    pub options: ServerOptions,
}

impl Stack {
    /// Three portals. Content counts as placed when `copies` of them have it.
    pub fn new(bench: &Bench, copies: usize) -> anyhow::Result<Self> {
        Stack::of(bench, 3, copies, &[])
    }

    /// This many portals with this profile.
    pub fn of_profile(bench: &Bench, portals: usize, copies: usize, profile: &str) -> anyhow::Result<Self> {
        let setting = |section: &str| (format!("SKYBERTH_{section}_PROFILE"), profile.to_owned());
        let mut stack = Stack::of(bench, portals, copies, &[setting("PORTAL")])?;
        stack.options = stack.options.envs(&[setting("STORAGE_SKYNET")]);
        Ok(stack)
    }

    fn of(bench: &Bench, portals: usize, copies: usize, settings: &[(String, String)]) -> anyhow::Result<Self> {
        let start = |number| Portal::start(bench, number, settings);
        let portals: Vec<Portal> = (0..portals).map(start).collect::<anyhow::Result<_>>()?;
        let urls: Vec<String> = portals.iter().map(|portal| portal.proxy.url()).collect();
        let options = ServerOptions::new(bench.binary, &bench.folder.join("registry"))?
            .envs(&storing_to(&urls, copies))
            // Collection runs only when a case requests it, and then takes everything unreferenced.
            .env("SKYBERTH_GC_INTERVAL", "0s")
            .env("SKYBERTH_GC_GRACE", "0s");
        Ok(Stack { portals, options })
    }

    /// Changes the registry's settings, before it is started.
    pub fn with(mut self, settings: &[(&str, &str)]) -> Self {
        for (key, value) in settings {
            self.options = self.options.env(key, value);
        }
        self
    }

    pub fn start(&self) -> anyhow::Result<Server> {
        self.options.start().context("start the registry")
    }

    pub fn set_all(&self, fault: &Fault) {
        self.portals.iter().for_each(|portal| portal.proxy.set(fault.clone()));
    }

    /// Bytes of all downloads so far.
    pub fn sent(&self) -> u64 {
        self.portals.iter().map(|portal| portal.proxy.sent()).sum()
    }

    /// Connections so far that were closed at once, because a portal is gone.
    pub fn refused(&self) -> usize {
        self.portals.iter().map(|portal| portal.proxy.refused()).sum()
    }

    pub fn mark(&self) -> Mark {
        Mark(self.portals.iter().map(|portal| portal.proxy.mark()).collect())
    }

    /// The mark before all requests.
    pub fn beginning(&self) -> Mark {
        Mark(vec![0; self.portals.len()])
    }

    /// The requests at all proxies after a mark.
    pub fn since(&self, mark: &Mark) -> Vec<Exchange> {
        self.portals.iter().zip(&mark.0).flat_map(|(portal, mark)| portal.proxy.since(*mark)).collect()
    }

    /// The answers of all portals so far. Any portal with all content may replay them.
    pub fn old(&self) -> Old {
        Old::of(&self.since(&self.beginning()))
    }

    /// Waits until all content is placed and read back, which is when no content passes the proxies for a while.
    pub fn settle(&self, target: &Target, limit: Duration) -> anyhow::Result<()> {
        const QUIET: Duration = Duration::from_millis(1500);
        status::wait_placed(target, limit)?;
        let (mut last, mut since) = (self.traffic(), Instant::now());
        let quiet = wait_until(limit, || {
            let now = self.traffic();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > QUIET
        });
        ensure!(quiet, "content still passes {limit:?} after everything was placed");
        status::wait_placed(target, limit)
    }

    /// Bytes up and down, and the number of transfers.
    fn traffic(&self) -> (u64, usize) {
        let all = self.portals.iter().flat_map(|portal| portal.proxy.exchanges());
        let content = all.filter(|exchange| exchange.is_download() || exchange.is_upload());
        content.fold((0, 0), |(bytes, count), one| (bytes + one.sent + one.received, count + 1))
    }

    /// `kill -9`, deletes the file of this content, and starts again, as after an eviction.
    pub fn make_evicted(&self, server: Server, digest: &str) -> anyhow::Result<Server> {
        server.kill()?;
        local::delete(&self.options.data, digest)?;
        self.start().context("without one content file")
    }

    /// `kill -9`, deletes all content files, and starts again. Only journal and index remain.
    pub fn make_cold(&self, server: Server) -> anyhow::Result<Server> {
        server.kill()?;
        local::delete_all(&self.options.data)?;
        self.start().context("without local content")
    }
}
