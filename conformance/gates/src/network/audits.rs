//! Portals that lose copies while they stay who they are. `status` never says yes meanwhile, and what can be repaired is.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::gate::{note, wait_until};
use harness::local;
use harness::operate::operate_as;
use harness::server::ServerOptions;
use harness::site::Site;
use harness::status;
use harness::surroundings::storing_to;

use super::images::Library;
use super::{KIB, MIB, patience};
use crate::case::Bench;
use crate::rot::damage::{files, flip};

const LENGTHS: [usize; 3] = [KIB, 70 * KIB, 9 * MIB];
const YES: &str = "safe to close: yes";
/// Audits that a day brings, in seconds.
const SOON: [(&str, &str); 2] =
    [("SKYBERTH_STORAGE_AUDIT_INTERVAL", "2s"), ("SKYBERTH_STORAGE_FULL_READ_INTERVAL", "3s")];

/// Portals without proxies, and a registry that audits all the time.
struct Scene {
    portals: Vec<ServerOptions>,
    registry: ServerOptions,
}

impl Scene {
    fn new(bench: &Bench, portals: usize, copies: usize) -> anyhow::Result<Self> {
        let portal =
            |number| Ok(ServerOptions::new(bench.binary, &bench.folder.join(format!("portal-{number}")))?.portal());
        let portals: Vec<ServerOptions> = (0..portals).map(portal).collect::<anyhow::Result<_>>()?;
        let urls: Vec<String> = portals.iter().map(|one| format!("http://{}", one.target().authority())).collect();
        let registry = ServerOptions::new(bench.binary, &bench.folder.join("registry"))?;
        Ok(Scene { portals, registry: registry.envs(&storing_to(&urls, copies)).envs(&SOON.map(owned)) })
    }

    fn push(&self) -> anyhow::Result<Library> {
        Library::push(Site::new(self.registry.target(), "audits").repo("a"), &["sha256"], &LENGTHS)
    }

    fn status(&self) -> anyhow::Result<String> {
        Ok(operate_as(&self.registry, "status")?.said)
    }

    fn until(&self, bench: &Bench, what: &str, holds: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let said = wait_until(patience(bench), || self.status().is_ok_and(|said| holds(&said)));
        ensure!(said, "never {what}: {}", self.status()?);
        Ok(())
    }

    /// The sectors of a portal, the longest first.
    fn sectors(&self, portal: usize) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = files(&self.portals[portal].data.join("sectors"))?;
        found.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
        Ok(found.into_iter().map(|(path, _)| path).collect())
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// A portal is put back to a backup from before the push. Nothing noticed that, `status` said yes, and one more portal
/// that went took the content with it. With all portals down at a start it said yes, too.
pub fn portal_from_old_backup(bench: &Bench) -> anyhow::Result<()> {
    let scene = Scene::new(bench, 3, 2)?;
    let mut portals = scene.portals.iter().map(ServerOptions::start).collect::<anyhow::Result<Vec<_>>>()?;
    let server = scene.registry.start()?;
    let library = scene.push()?;
    scene.until(bench, "safe", |said| said.contains(YES))?;

    server.kill()?;
    portals.remove(0).kill()?;
    for folder in ["sectors", "pins"] {
        for (file, _) in files(&scene.portals[0].data.join(folder))? {
            std::fs::remove_file(file)?;
        }
    }
    // Nothing local makes up for it, as after an eviction.
    local::delete_all(&scene.registry.data)?;
    portals.insert(0, scene.portals[0].start()?);
    let server = scene.registry.start()?;
    let noticed = wait_until(patience(bench), || {
        status::Metrics::of(&server.target()).is_ok_and(|metrics| metrics.sum(&["copies_lost"]) > 0.5)
    });
    ensure!(noticed, "no metric counts the lost copies: {}", scene.status()?);
    scene.until(bench, "safe again", |said| said.contains(YES))?;

    server.kill()?;
    for portal in portals {
        portal.kill()?;
    }
    local::delete_all(&scene.registry.data)?;
    let server = scene.registry.start()?;
    ensure!(!scene.status()?.contains(YES), "{YES}, with all portals down at the start");
    server.kill()?;
    // The one that kept all its copies is lost for good.
    let _portals = [scene.portals[0].start()?, scene.portals[2].start()?];
    let _server = scene.registry.start()?;
    library.check().context("after a portal lost its copies, and another one was lost for good")
}

/// One damaged sector of the only copy. Pulls failed for ever, `fsck` and `status` found nothing wrong, and a push could
/// not heal it: a HEAD said that the blob was there.
pub fn damaged_sector(bench: &Bench) -> anyhow::Result<()> {
    let scene = Scene::new(bench, 1, 1)?;
    let _portal = scene.portals[0].start()?;
    let server = scene.registry.start()?;
    let library = scene.push()?;
    scene.until(bench, "safe", |said| said.contains(YES))?;
    server.kill()?;
    local::delete_all(&scene.registry.data)?;
    let damaged = scene.sectors(0)?.into_iter().next().context("the portal has sectors")?;
    flip(&damaged, 8 * 1000)?;

    let server = scene.registry.start()?;
    let large = library.items.last().context("a large blob")?;
    let path = library.repo.blob(&large.digest);
    let gone = wait_until(patience(bench), || library.repo.head(&path).is_ok_and(|head| head.status == 404));
    ensure!(gone, "a HEAD says that the blob is there, and nobody has its bytes");
    let said = scene.status()?;
    ensure!(said.contains("safe to close: no") && said.contains("lost"), "{said}");
    let checked = operate_as(&scene.registry, "fsck")?;
    ensure!(checked.said.contains(&large.digest), "fsck does not name the lost blob: {}", checked.said);
    ensure!(server.target().send(&Request::get(&path))?.status == 404, "a pull of what nobody has");

    library.repo.push_blob(&large.bytes)?;
    scene.until(bench, "safe after a push", |said| said.contains(YES))?;
    server.kill()?;
    local::delete_all(&scene.registry.data)?;
    let _server = scene.registry.start()?;
    library.check().context("pushed again")?;
    note("a push healed the blob whose sector was damaged");
    Ok(())
}
