//! `kill -9` of a registry with an attached portal, at random moments of pushes, deletes, placement, eviction and
//! unpin; and the memory of both.

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::{Request, Target};
use harness::gate::{note, wait_until};
use harness::noise::Noise;
use harness::program::{Ended, Program};
use harness::report::{Outcome, Report};
use harness::server::{Server, ServerOptions, free_port};
use harness::site::{Site, sha256};
use harness::{local, status};

use super::crashes::{CACHE, CLIENTS, LIVES};
use super::memory::ALLOWANCE;
use super::{Args, MIB, patience};
use crate::attached::{ATTACHED, LISTEN, places};
use crate::case::Bench;
use crate::crowd::{Crowd, rounds};
use crate::memory::process::Watch;
use crate::streamed;

pub const NAME: &str = "crash rounds, attached portal";
/// Rounds after which everything is read cold, besides at the end.
const COLD_EVERY: usize = 10;

/// A node with an attached portal.
struct Node {
    options: ServerOptions,
    portal: Target,
}

pub fn run(args: &Args, report: &mut Report, bench: &Bench) {
    let count = args.rounds.unwrap_or(bench.scale.pick(2, 5, 100));
    let node = match Node::new(bench) {
        Ok(node) => node.with(&[
            ("SKYBERTH_STORAGE_CACHE_SIZE", CACHE),
            ("SKYBERTH_GC_GRACE", "1s"),
            ("SKYBERTH_GC_INTERVAL", "1s"),
            // Unpinned content is removed at once, so that a missing sector is noticed if it is still needed.
            ("SKYBERTH_PORTAL_SWEEP_INTERVAL", "1s"),
        ]),
        Err(error) => return report.add(NAME, Outcome::Fail(format!("{error:#}")), Duration::ZERO),
    };
    let mut crowd = Crowd::new(CLIENTS, bench.seed);
    let begin = || node.options.start();
    let server = rounds(report, NAME, count, begin, |number, server| {
        let (mut server, said) = node.round(server, &mut crowd)?;
        if number % COLD_EVERY == COLD_EVERY - 1 {
            server = node.cold(server, &mut crowd, bench)?;
        }
        Ok((server, said))
    });
    let Some(server) = server else { return };
    let mut left = None;
    report.case(format!("{NAME}: each content is at the portal, and all of it is there cold"), || {
        status::settle(&server.target(), patience(bench))?;
        crowd.verify(&server.target(), true).context("placed, and evicted where the budget says so")?;
        node.is_at_its_portal(&crowd)?;
        let server = node.cold(server, &mut crowd, bench)?;
        node.is_at_its_portal(&crowd).context("cold")?;
        left = Some(server);
        Ok(())
    });
    report.case(format!("{NAME}: nothing is left at the portal when all is deleted"), || {
        // Interrupted uploads protect the blobs of their repositories.
        let options = left.context("the server did not get so far")?.kill()?.env("SKYBERTH_GC_UPLOAD_EXPIRY", "1s");
        let server = options.start()?;
        crowd.delete_all(&server.target())?;
        let left = || local::bytes_below(&node.options.data.join("portal/sectors")).unwrap_or(u64::MAX);
        note(&format!("{} bytes of sectors when all was deleted", left()));
        let is_empty = wait_until(patience(bench), || left() == 0);
        ensure!(is_empty, "{} bytes of sectors are left that nobody holds", left());
        drop(server);
        Ok(())
    });
}

impl Node {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let portal = Target::local(free_port()?);
        let options = ServerOptions::new(bench.binary, &bench.folder.join("registry"))?;
        Ok(Node { options: options.env(ATTACHED, "true").env(LISTEN, &portal.authority()), portal })
    }

    fn with(self, settings: &[(&str, &str)]) -> Self {
        let options = settings.iter().fold(self.options, |options, (key, value)| options.env(key, value));
        Node { options, ..self }
    }

    /// One life, a check of the stopped node, a start, and a check of every promise.
    fn round(&self, server: Server, crowd: &mut Crowd) -> anyhow::Result<(Server, String)> {
        let (before, life) = (crowd.count(), crowd.life(LIVES));
        crowd.work(server, life, || Ok(()))?;
        self.is_sound()?;
        let server = self.options.start().context("after the kill")?;
        crowd.verify(&server.target(), false)?;
        let (pushes, deletes) = crowd.count();
        let here = local::content_bytes(&self.options.data)? >> 20;
        let done = format!("{} pushes, {} deletes, {here} MiB here", pushes - before.0, deletes - before.1);
        Ok((server, format!("killed after {life:.0?}, {done}")))
    }

    /// Deletes all local content of the registry, so that only its own portal can supply it.
    fn cold(&self, server: Server, crowd: &mut Crowd, bench: &Bench) -> anyhow::Result<Server> {
        status::settle(&server.target(), patience(bench))?;
        server.kill()?;
        local::delete_all(&self.options.data)?;
        self.is_sound()?;
        let server = self.options.start().context("without local content")?;
        crowd.verify(&server.target(), true).context("cold")?;
        let metrics = status::Metrics::of(&server.target())?;
        let (came, failures) = (metrics.sum(&["skyberth_cold_bytes_total"]), metrics.sum(&["read_back_failures"]));
        note(&format!("{came} bytes came from the portal"));
        ensure!(came > 0.0, "nothing came from the portal, so it was not cold");
        ensure!(failures < 1.0, "{failures} placements are recorded whose bytes are not there");
        Ok(server)
    }

    /// Runs the stopped node's own check.
    fn is_sound(&self) -> anyhow::Result<()> {
        let said = self.skyberth(&["fsck"])?;
        ensure!(
            said.status.success() && said.text().contains("0 of them damaged or missing"),
            "fsck after kill -9: {}, {}",
            said.status,
            said.said()
        );
        Ok(())
    }

    /// Expects all content of every image to have a skylink, at which the portal returns those bytes.
    fn is_at_its_portal(&self, crowd: &Crowd) -> anyhow::Result<()> {
        let mut found = 0;
        for pusher in &crowd.pushers {
            for digest in pusher.held() {
                let listed = self.skyberth(&["ls", &format!("{}@{digest}", pusher.repo)])?;
                ensure!(listed.status.success(), "ls {digest}: {}", listed.said());
                let places = places(&listed.text());
                ensure!(places.iter().any(|(of, _)| *of == digest), "no skylink of {digest}: {}", listed.said());
                for (digest, skylink) in &places {
                    let answer = self.portal.send(&Request::get(format!("/{skylink}")))?;
                    let bytes = &answer.expect(200).with_context(|| format!("{digest} at {skylink}"))?.body;
                    ensure!(sha256(bytes) == *digest, "{skylink} is not {digest} but {} bytes", bytes.len());
                }
                found += places.len();
            }
        }
        ensure!(found > 0, "nothing is left, so nothing was tried");
        note(&format!("{found} skylinks give what was pushed"));
        Ok(())
    }

    fn skyberth(&self, words: &[&str]) -> anyhow::Result<Ended> {
        let log = self.options.log.with_file_name("commands.log");
        let program = Program::new(&self.options.binary, &log).args(words).arg("--data").arg(&self.options.data);
        self.options.env.iter().fold(program, |program, (key, value)| program.env(key, value)).run_any()
    }
}

/// The two programs in one process may take as much memory as both of them alone.
pub fn memory(bench: &Bench) -> anyhow::Result<()> {
    let length = bench.scale.pick(128, 256, 2048) * MIB as u64;
    let node = Node::new(bench)?;
    // Idle, with both of them running.
    let idle = node.options.start()?;
    let watch = Watch::start(idle.pid())?;
    let resident = watch.finish()?.idle();
    idle.kill()?;
    // Pushed while there is no portal, so that the push does not count.
    let alone = ServerOptions { env: Vec::new(), ..node.options.clone() };
    let server = alone.start()?;
    let repo = Site::new(server.target(), "memory").repo("a");
    streamed::put(&repo, "placed", length)?.expect(201)?;
    server.kill()?;

    let server = node.options.start()?;
    let watch = Watch::over(server.pid(), resident);
    status::settle(&server.target(), patience(bench))?;
    let placed = status::Metrics::of(&server.target())?.sum(&["skyberth_placed_bytes_total"]);
    ensure!(placed >= length as f64, "{placed} bytes were placed after this start, so not all of it was watched");
    within("placing", watch)?;
    server.kill()?;
    local::delete_all(&node.options.data)?;
    let server = node.options.start()?;
    let watch = Watch::start(server.pid())?;
    let noise = Noise::new("placed", length);
    streamed::fetch(&repo, &noise.clone().digest(), noise)?;
    within("pulling cold", watch)
}

fn within(what: &str, watch: Watch) -> anyhow::Result<()> {
    let growth = watch.finish()?;
    note(&format!("{what}, registry and portal in one: {growth}"));
    ensure!(growth.total() < ALLOWANCE, "{what}: more than {} MiB: {growth}", ALLOWANCE >> 20);
    Ok(())
}
