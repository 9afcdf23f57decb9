//! A start with other portals in the list: copies at portals outside the list do not count, until these are listed
//! again.

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::{Request, Target};
use harness::gate::note;
use harness::local;
use harness::operate::operate_as;
use harness::proxy::Fault;
use harness::server::Server;
use harness::site::Site;
use harness::status::{Backlog, Metrics};
use harness::surroundings::storing_to;

use super::images::Library;
use super::stack::Stack;
use super::{KIB, MIB, patience};
use crate::case::Bench;

const LENGTHS: [usize; 3] = [KIB, 70 * KIB, 5 * MIB];
/// A cache so small that everything is evicted that may be.
const CACHE: (&str, &str) = ("SKYBERTH_STORAGE_CACHE_SIZE", "1KiB");

pub fn not_configured(bench: &Bench) -> anyhow::Result<()> {
    let mut stack = Stack::new(bench, 2)?;
    let server = start_on(&mut stack, [0, 1])?;
    let target = server.target();
    let library = Library::push(Site::new(target.clone(), "elsewhere").repo("a"), &["sha256"], &LENGTHS)?;
    stack.settle(&target, patience(bench))?;
    server.kill()?;

    // Another portal replaces the second. It accepts nothing yet, so that all content has one copy of two.
    let before = stack.portals[1].proxy.mark();
    stack.portals[2].proxy.set(Fault::Gone);
    stack = stack.with(&[CACHE]);
    let server = start_on(&mut stack, [0, 2])?;
    let Backlog { count, .. } = Backlog::of(&target)?;
    ensure!(count >= LENGTHS.len() as u64, "{count} contents lack a place, though one of two portals has none of them");
    let said = operate_as(&stack.options, "status")?.sound()?.said.clone();
    ensure!(said.contains("safe to close: no"), "{said}");
    ensure!(said.contains("not configured"), "`status` does not mention copies that do not count: {said}");
    ensure!(told(&target)? >= LENGTHS.len() as f64, "neither do the metrics");
    // It checks its cache when it starts, and then at least this often.
    std::thread::sleep(Duration::from_secs(bench.scale.pick(3, 3, 35)));
    let here = local::content_bytes(&stack.options.data)?;
    ensure!(here >= library.bytes(), "{here} of {} bytes are local while one copy of two counts", library.bytes());

    stack.portals[2].proxy.set(Fault::None);
    stack.settle(&target, patience(bench))?;
    let uploads = stack.portals[2].proxy.exchanges().iter().filter(|exchange| exchange.is_upload()).count();
    note(&format!("{count} contents were placed at another portal, by {uploads} requests"));
    stack.portals[0].kill()?;
    let server = stack.make_cold(server)?;
    library.check().context("from the new portal alone")?;
    let asked = stack.portals[1].proxy.since(before).len();
    ensure!(asked == 0, "the portal that is not configured was asked {asked} times");
    server.kill()?;
    local::delete_all(&stack.options.data)?;

    // The first list again, with the copies that these portals still have.
    stack.portals[0].restart()?;
    let _server = start_on(&mut stack, [0, 1])?;
    let backlog = Backlog::of(&target)?;
    ensure!(backlog.count == 0, "{backlog:?}: what the first portals have does not count again");
    ensure!(told(&target)? >= LENGTHS.len() as f64, "the metrics say nothing of what the new portal has");
    library.check().context("from the first portals")
}

/// The counts in metrics and `/readyz` of content and removals at portals that are not configured.
fn told(target: &Target) -> anyhow::Result<f64> {
    let counted = Metrics::of(target)?.sum(&["elsewhere"]);
    let ready = target.send(&Request::get("/readyz"))?.expect(200)?.json()?;
    let field = |name: &str| ready["durability"][name].as_f64().with_context(|| format!("/readyz has no {name}"));
    let said = field("elsewhere")? + field("elsewhere_unpins")?;
    ensure!((counted - said).abs() < 0.5, "{counted} by the metrics, {said} by /readyz");
    Ok(counted)
}

/// A start with two copies on two portals.
fn start_on(stack: &mut Stack, portals: [usize; 2]) -> anyhow::Result<Server> {
    let urls: Vec<String> = portals.iter().map(|number| stack.portals[*number].proxy.url()).collect();
    stack.options = stack.options.clone().envs(&storing_to(&urls, 2));
    stack.start()
}
