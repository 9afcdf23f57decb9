//! The disk gate: a full, read-only, failing, foreign or used disk must never break an acknowledged write.

mod account;
mod apart;
mod calls;
mod claims;
mod dying;
mod failing;
mod filled;
mod full;
mod image;
mod index;
mod injected;
mod read_only;
mod recovery;
mod resumed;
mod rounds;

use std::path::Path;

use harness::gate::GateArgs;
use harness::scale::Scale;
use harness::server::ServerOptions;

use super::case::{Bench, Case, Scene};

/// A server with its data at `data` and its log elsewhere.
fn server(bench: &Bench, data: &Path) -> anyhow::Result<ServerOptions> {
    let mut options = bench.server()?;
    data.clone_into(&mut options.data);
    // Collection runs only when a case requests it, and then takes everything unreferenced.
    Ok(options.env("SKYBERTH_GC_INTERVAL", "0s").env("SKYBERTH_GC_GRACE", "0s"))
}

const CASES: &[Case] = &[
    ("foreign directory is refused", claims::foreign),
    ("data directory in use is refused", claims::in_use),
    ("killed in a ranged upload, resumed", resumed::ranged),
    ("killed in a streamed upload, resumed", resumed::streamed),
    ("full by pushing, default reserve", full::default_reserve),
    ("full by pushing, small reserve", full::small_reserve),
    ("uploads at once leave the reserve free", account::uploads_at_once),
    ("uploads to registry and attached portal at once leave the reserve free", account::with_a_portal),
    ("a manifest of 30,000 references is deleted on a disk full to its reserve", account::large_delete),
    ("filled to the last byte by another process", filled::running),
    ("filled to the last byte, killed, started while full", filled::restarted),
    ("read-only at the first start is refused", read_only::fresh),
    ("read-only with data is refused", read_only::with_data),
    ("turned read-only while running", read_only::while_running),
    ("failing writes under blobs", failing::blobs),
    ("failing writes under the journal, the index elsewhere", failing::journal),
    ("dying while clients push", failing::under_load),
    ("full under the index alone", index::full),
    ("calls on the index fail for a while", index::for_a_while),
    ("calls on the index fail for long", index::for_long),
    ("each call on the journal fails", injected::journal),
    ("each call on blobs fails", injected::blobs),
    ("each call on uploads fails", injected::uploads),
    ("each call on the index fails", injected::index),
    ("a stop while calls fail", injected::stops),
    ("index, journal and blobs on three file systems, each full", apart::three),
    ("500 deletes while another program keeps the disk full", rounds::deletes),
    ("random rounds on a disk that another program fills and frees", rounds::random),
    ("blobs on another file system than uploads is refused", apart::blobs_alone),
];

pub fn run(args: &GateArgs, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    // One after another, since they fill disks in memory.
    Scene::new(&args.binary, scale, seed)?.mounting().run("disk", args, 1, CASES, folder)
}
