//! The network gate: a registry that stores to portals which are slow, lie, disappear and return; and its crashes.

mod acknowledge;
mod attached;
mod audits;
mod cold;
mod crashes;
mod elsewhere;
mod faults;
mod gateway;
mod identity;
mod images;
mod manners;
mod memory;
mod outage;
mod rates;
mod replay;
mod resume;
pub mod stack;
mod staging;
mod tus;
mod unpin;

use std::path::Path;
use std::time::Duration;

use harness::gate::GateArgs;
use harness::jobs::{self, Job};
use harness::report::Report;
use harness::scale::Scale;

use crate::case::{Bench, Case, Scene};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// The unit of reads from portals.
const UNIT: u64 = 4 << 20;

/// Cases run at once. They mostly wait for placement, evictions and timeouts.
const WORKERS: usize = 8;

/// The answer of a portal whose hosts were too slow: skyd's 500, which is retryable.
const TIMED_OUT: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
     Connection: close\r\n\r\n{\"message\":\"failed to fetch skylink: base sector download timed out after 30s\"}";

/// Options of the gate.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gate: GateArgs,
    /// Number of kills. By default the scale decides.
    #[arg(long)]
    rounds: Option<usize>,
    /// Keep the data of a failed case for inspection.
    #[arg(long)]
    keep: bool,
}

/// Longest time for background work.
pub fn patience(bench: &Bench) -> Duration {
    bench.scale.pick(Duration::from_mins(2), Duration::from_mins(2), Duration::from_mins(20))
}

const CASES: &[Case] = &[
    ("all is pulled cold, bit for bit", cold::everything),
    ("with portals of ten data pieces, cold, bit for bit", cold::several_pieces),
    ("nothing is evicted before it was read back", cold::eviction),
    ("one portal gone, one lying, one stalling", faults::gone_lying_stalling),
    ("refusals of portals: the next one is asked", faults::refusals),
    ("one portal replays old answers, one is gone", replay::replaying),
    ("all portals gone: 503 for cold, warm goes on, placement resumes", outage::all_gone),
    ("all portals stall: 503 for cold, warm goes on", outage::all_stalled),
    ("the staging limit holds for uploads at once and manifests", staging::limit_holds),
    ("staging full: 503, and uploads again afterwards", outage::staging_full),
    ("cold headers come in time from slow portals", manners::headers),
    ("a cold range reads one unit too much at most", manners::range),
    ("a cold range, when lists of units are lost too", manners::range_without_lists),
    ("the same with portals of two data pieces", manners::range_without_lists_of_several_pieces),
    ("clients of one cold blob cause one fetch", manners::one_fetch),
    ("a client that leaves stops the fetch", manners::leaving),
    ("deleted content is unpinned", unpin::reaches_portals),
    ("deleted, pushed again, unpinned late", unpin::late),
    ("deleted, pushed again, unpin never answered", unpin::held),
    ("portals that are not configured any more do not count", elsewhere::not_configured),
    ("an empty portal at the same address is another one", identity::empty_portal),
    ("content that only a lost portal had is not safe, and any push brings it back", identity::lost_with_portal),
    ("a portal keeps its copies when it moves", identity::moved_portal),
    ("a portal put back to an old backup is noticed, and its copies are made again", audits::portal_from_old_backup),
    ("a damaged sector of the only copy is noticed, and a push heals it", audits::damaged_sector),
    ("acknowledged when it is on the network", acknowledge::network),
    ("acknowledged in time, or in doubt, without portals", acknowledge::without_portals),
    ("a killed upload goes on where it was acknowledged", resume::after_kills),
    ("a gateway serves what three portals serve", gateway::serves_what_portals_serve),
    ("a gateway needs no portal, and no second copy", gateway::needs_no_portal),
    ("a portal fetches from a gateway as from its peer", gateway::is_a_peer),
    ("a gateway is no place for content", gateway::is_no_place),
    ("memory while placing and pulling cold", memory::transfers),
    ("memory of an attached portal and its registry", attached::memory),
];

/// The rounds and the longest waiting cases come first, so that none is left alone at the end.
pub fn run(args: &Args, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let gate = &args.gate;
    let scene = Scene::new(&gate.binary, scale, seed)?.keeping(args.keep);
    let mut jobs = vec![
        Job::rows(attached::NAME, |_, report| scene.rows(report, |bench, report| attached::run(args, report, bench))),
        Job::rows(crashes::NAME, |_, report| scene.rows(report, |bench, report| crashes::run(args, report, bench))),
    ];
    jobs.extend(CASES.iter().map(|case| scene.job(case)));
    jobs.retain(|job| gate.wants(job.name()));
    let mut report = Report::new("network");
    jobs::run(&mut report, WORKERS, jobs.into_iter().map(Ok))?;
    // Rates are meaningful only while nothing else runs, and are judged only at full scale.
    if scale == Scale::Full {
        scene.rows(&mut report, |bench, report| rates::run(gate, report, bench));
    }
    report.finish(folder)
}
