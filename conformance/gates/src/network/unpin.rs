//! Removal of copies of unreferenced content at portals, including late removals.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::Target;
use harness::expect::absent;
use harness::gate::{note, wait_until};
use harness::manifest::{CONFIG, LAYER, Manifest, described, image};
use harness::noise::noise;
use harness::operate::operate_as;
use harness::proxy::Fault;
use harness::proxy::exchange::Exchange;
use harness::server::Server;
use harness::site::{Repo, Site, sha256};
use harness::{local, status};

use super::stack::{Mark, Stack};
use super::{MIB, patience};
use crate::case::Bench;

/// An image with a large and a small layer: four contents, with its config and manifest.
struct Image {
    layers: [Vec<u8>; 2],
    config: Vec<u8>,
    manifest: Manifest,
}

impl Image {
    fn new(label: &str) -> Self {
        let layers = [noise(&format!("large {label}"), 6 * MIB), noise(&format!("small {label}"), 700)];
        let config = format!(r#"{{"author":"{label}"}}"#).into_bytes();
        let described_layers: Vec<_> = layers.iter().map(|layer| described(LAYER, layer)).collect();
        let manifest = image(&described(CONFIG, &config), &described_layers);
        Image { layers, config, manifest }
    }

    fn push(&self, repo: &Repo) -> anyhow::Result<()> {
        for bytes in self.layers.iter().chain([&self.config]) {
            repo.push_blob(bytes)?;
        }
        repo.store("latest", &self.manifest)
    }

    /// Deletes and collects it.
    fn delete(&self, repo: &Repo, stack: &Stack) -> anyhow::Result<()> {
        repo.delete(&repo.manifest(&self.manifest.digest()))?.expect(202)?;
        operate_as(&stack.options, "gc")?.sound()?;
        for bytes in self.layers.iter().chain([&self.config]) {
            absent(repo, &repo.blob(&sha256(bytes)))?;
        }
        Ok(())
    }

    fn check(&self, repo: &Repo) -> anyhow::Result<()> {
        for bytes in self.layers.iter().chain([&self.config]) {
            let answer = repo.get(&repo.blob(&sha256(bytes)))?;
            answer.expect(200)?;
            ensure!(answer.body == *bytes, "{} bytes came back changed", bytes.len());
        }
        let answer = repo.get(&repo.manifest("latest"))?;
        ensure!(answer.status == 200 && answer.body == self.manifest.bytes, "the manifest answers {}", answer.status);
        Ok(())
    }
}

pub fn reaches_portals(bench: &Bench) -> anyhow::Result<()> {
    const CONTENTS: usize = 4;
    const COPIES: usize = 2;
    let stack = Stack::new(bench, COPIES)?;
    let server = stack.start()?;
    let repo = Site::new(server.target(), "unpin").repo("a");
    let (image, kept) = (Image::new("deleted"), Image::new("kept"));
    image.push(&repo)?;
    let other = Site::new(server.target(), "unpin").repo("b");
    kept.push(&other)?;
    stack.settle(&repo.target, patience(bench))?;
    let mark = stack.mark();
    image.delete(&repo, &stack)?;
    let unpins = || {
        let all = stack.since(&mark);
        let done = all.iter().filter(|exchange| exchange.is_unpin() && exchange.is_success());
        let paths: BTreeSet<String> = done.clone().map(|exchange| exchange.path.clone()).collect();
        (done.count(), paths.len())
    };
    wait_until(Duration::from_mins(1), || unpins().0 >= CONTENTS * COPIES);
    // Any further unpins would be of content that must stay.
    std::thread::sleep(Duration::from_secs(2));
    let (count, distinct) = unpins();
    note(&format!("{count} unpins of {distinct} skylinks"));
    ensure!(count >= CONTENTS * COPIES, "{count} unpins were answered well, {CONTENTS} contents at {COPIES} portals");
    ensure!(distinct == CONTENTS, "{distinct} skylinks were unpinned, {CONTENTS} contents deleted");
    let _server = stack.make_cold(server)?;
    absent(&repo, &repo.manifest("latest")).context("the deleted image, after a cold start")?;
    kept.check(&other).context("the image that was kept, cold")
}

/// A cache so small that everything is evicted that may be.
const CACHE: u64 = 8 << 20;
/// Longest time for a registry to check its cache.
const EVICTED_WITHIN: Duration = Duration::from_secs(90);

/// An image that was placed and deleted. Its unpins have reached the portals, which delay them.
struct Deleted {
    stack: Stack,
    server: Server,
    repo: Repo,
    image: Image,
    mark: Mark,
}

impl Deleted {
    fn new(bench: &Bench, label: &str) -> anyhow::Result<Self> {
        let stack = Stack::new(bench, 2)?.with(&[("SKYBERTH_STORAGE_CACHE_SIZE", "8MiB")]);
        let server = stack.start()?;
        let repo = Site::new(server.target(), label).repo("a");
        let image = Image::new(label);
        image.push(&repo)?;
        stack.settle(&repo.target, patience(bench))?;
        let mark = stack.mark();
        stack.set_all(&Fault::Holding("/unpin"));
        image.delete(&repo, &stack)?;
        let deleted = Deleted { stack, server, repo, image, mark };
        let came = wait_until(Duration::from_mins(1), || deleted.unpins(|_| true) > 0);
        ensure!(came, "no unpin came within a minute");
        Ok(deleted)
    }

    fn unpins(&self, counts: impl Fn(&Exchange) -> bool) -> usize {
        self.stack.since(&self.mark).iter().filter(|exchange| exchange.is_unpin() && counts(exchange)).count()
    }
}

/// The unpin of deleted content takes effect after the same content was pushed again. The node must not rely on copies
/// until it has seen them after that.
pub fn late(bench: &Bench) -> anyhow::Result<()> {
    let deleted = Deleted::new(bench, "late")?;
    let Deleted { stack, repo, image, .. } = &deleted;
    image.push(repo).context("pushed again")?;
    // Time enough to take it for placed and read back.
    std::thread::sleep(Duration::from_secs(5));
    note(&format!("{} unpins arrive late", deleted.unpins(|_| true)));
    stack.set_all(&Fault::None);
    press(stack, &repo.target, bench)?;
    image.check(repo).context("after the late unpin, under pressure on the cache")?;
    status::wait_placed(&repo.target, patience(bench))?;
    let Deleted { server, repo, image, stack: _stack, .. } = deleted;
    let _server = server.kill()?.start()?;
    image.check(&repo).context("after kill -9")
}

/// Longest wait of content that is pushed again for its placement, whatever else the portals are asked.
const PLACED_WITHIN: Duration = Duration::from_secs(10);

/// The unpins of deleted content are not answered at all while the same content is pushed again. It must be placed
/// without waiting for them, and survive their late arrival.
pub fn held(bench: &Bench) -> anyhow::Result<()> {
    let deleted = Deleted::new(bench, "held")?;
    let Deleted { stack, repo, image, .. } = &deleted;
    let again = stack.mark();
    image.push(repo).context("pushed again")?;
    let pushed = Instant::now();
    status::wait_placed(&repo.target, PLACED_WITHIN).context("pushed again while no unpin is answered")?;
    let held = deleted.unpins(|_| true);
    note(&format!("placed {:.1?} after the push; {held} unpins are held", pushed.elapsed()));
    let answered = deleted.unpins(Exchange::is_success);
    ensure!(answered == 0, "{answered} unpins were answered, so they were not held");
    let sent = stack.since(&again).iter().filter(|exchange| exchange.is_upload() && exchange.is_success()).count();
    ensure!(sent > 0, "nothing was uploaded again, so its placement is only believed");
    stack.set_all(&Fault::None);
    press(stack, &repo.target, bench)?;
    image.check(repo).context("after the late unpins, under pressure on the cache")
}

/// Fills the cache with other content, so that everything is evicted that may be. The image is not read meanwhile, so
/// it is the oldest.
fn press(stack: &Stack, target: &Target, bench: &Bench) -> anyhow::Result<()> {
    const PRESSING: usize = 4;
    let other = Site::new(target.clone(), "late").repo("b");
    for number in 0..PRESSING {
        other.push_blob(&noise(&format!("pressing {number}"), 6 * MIB))?;
    }
    stack.settle(target, patience(bench))?;
    let here = || local::content_bytes(&stack.options.data).unwrap_or(u64::MAX);
    let most = CACHE + 7 * MIB as u64;
    wait_until(EVICTED_WITHIN, || here() <= most);
    note(&format!("{} bytes are local after an eviction", here()));
    ensure!(here() <= most, "{} bytes are local: nothing is evicted, so nothing was tested", here());
    Ok(())
}
