//! Identities of portals. A copy counts at the portal that has it, and not at another one that answers at its address.
//! Copies on the registry's own machine never make it safe to close.

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::Target;
use harness::gate::wait_until;
use harness::local;
use harness::operate::operate_as;
use harness::server::{Server, ServerOptions, free_port};
use harness::site::Site;
use harness::status::{self, Backlog};
use harness::surroundings::{BACKEND, DOMAINS, PORTALS};

use super::images::Library;
use super::{KIB, MIB, patience};
use crate::attached::{ATTACHED, LISTEN};
use crate::case::Bench;

const LENGTHS: [usize; 3] = [KIB, 70 * KIB, 5 * MIB];
const YES: &str = "safe to close: yes";
/// How long a wrong "yes" is waited for.
const QUIET: Duration = Duration::from_secs(5);

/// A registry with a portal in its process, of which only the registry is left: another portal, new and empty, answers
/// at the same address.
struct Scene {
    portal: ServerOptions,
    registry: ServerOptions,
    library: Library,
}

impl Scene {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let portal = ServerOptions::new(bench.binary, &bench.folder.join("portal"))?.portal();
        let address = portal.target().authority();
        let registry = ServerOptions::new(bench.binary, &bench.folder.join("registry"))?;
        let attached = registry.clone().env(ATTACHED, "true").env(LISTEN, &address);
        let server = attached.start()?;
        let library = Library::push(Site::new(server.target(), "identity").repo("a"), &["sha256"], &LENGTHS)?;
        status::settle(&server.target(), patience(bench))?;
        says(&attached, "only on this machine")?;
        server.terminate(patience(bench))?;
        let registry = registry.env(BACKEND.0, BACKEND.1).env(PORTALS, &format!("http://{address}"));
        Ok(Scene { portal, registry: registry.env(DOMAINS, "another machine"), library })
    }

    fn status(&self) -> anyhow::Result<String> {
        Ok(operate_as(&self.registry, "status")?.said)
    }

    /// Waits until the registry says that it is safe to close.
    fn until_yes(&self, bench: &Bench) -> anyhow::Result<()> {
        let said = wait_until(patience(bench), || self.status().is_ok_and(|said| said.contains(YES)));
        ensure!(said, "never safe to close: {}", self.status()?);
        Ok(())
    }

    /// Loses the machine: all local content, and the index.
    fn lose(&self, server: Server) -> anyhow::Result<()> {
        server.kill()?;
        local::delete_all(&self.registry.data)?;
        std::fs::remove_dir_all(self.registry.data.join("index")).context("the index")
    }
}

fn says(options: &ServerOptions, word: &str) -> anyhow::Result<()> {
    let said = operate_as(options, "status")?.said;
    ensure!(said.contains(word), "no {word:?} in: {said}");
    Ok(())
}

/// `status` said yes at once, and the content was gone with the machine.
pub fn empty_portal(bench: &Bench) -> anyhow::Result<()> {
    let scene = Scene::new(bench)?;
    let _portal = scene.portal.start()?;
    let server = scene.registry.start()?;
    scene.until_yes(bench)?;
    scene.lose(server)?;
    let _server = scene.registry.start()?;
    scene.library.check().context("after `status` said yes, and the machine was lost")
}

/// Content that only the portal of before has is not said to be at the new one, and comes back with any push.
pub fn lost_with_portal(bench: &Bench) -> anyhow::Result<()> {
    let scene = Scene::new(bench)?;
    let _portal = scene.portal.start()?;
    local::delete_all(&scene.registry.data)?;
    let server = scene.registry.start()?;
    let wrong = wait_until(QUIET, || scene.status().is_ok_and(|said| said.contains(YES)));
    ensure!(!wrong, "{YES}, although nobody has the content any more");
    let Backlog { count, .. } = Backlog::of(&server.target())?;
    ensure!(count >= LENGTHS.len() as u64, "only {count} contents lack a copy");
    let library = Library::push(scene.library.repo.clone(), &["sha256"], &LENGTHS)?;
    scene.until_yes(bench)?;
    scene.lose(server)?;
    let _server = scene.registry.start()?;
    library.check().context("pushed again")
}

/// A portal that moves to another address keeps its copies.
pub fn moved_portal(bench: &Bench) -> anyhow::Result<()> {
    let portal = ServerOptions::new(bench.binary, &bench.folder.join("portal"))?.portal();
    let registry = ServerOptions::new(bench.binary, &bench.folder.join("registry"))?.env(BACKEND.0, BACKEND.1);
    let at = |target: &Target| {
        let url = format!("http://{}", target.authority());
        registry.clone().env(PORTALS, &url).env(DOMAINS, "another machine")
    };
    let running = portal.start()?;
    let options = at(&portal.target());
    let server = options.start()?;
    let library = Library::push(Site::new(server.target(), "moved").repo("a"), &["sha256"], &LENGTHS)?;
    status::settle(&server.target(), patience(bench))?;
    server.kill()?;
    local::delete_all(&options.data)?;
    running.kill()?;
    let portal = ServerOptions { port: free_port()?, ..portal };
    let _running = portal.start()?;
    let options = at(&portal.target());
    let server = options.start()?;
    library.check().context("from the portal at its new address")?;
    let counted = wait_until(patience(bench), || Backlog::of(&server.target()).is_ok_and(|found| found.count == 0));
    ensure!(counted, "copies at the moved portal do not count");
    says(&options, YES)
}
