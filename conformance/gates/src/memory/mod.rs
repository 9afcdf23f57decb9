//! The memory gate: a server's memory does not grow with the data that passes, and a large push ends in time.

mod closing;
pub mod process;
mod transfers;

use std::path::Path;

use anyhow::{Context, ensure};
use harness::gate::GateArgs;
use harness::scale::Scale;
use harness::server::Server;

use super::case::{Bench, Case, Scene};
use process::Watch;

const MIB: u64 = 1 << 20;

/// Most growth of resident memory over that of the idle server.
const ALLOWANCE: u64 = 64 * MIB;

/// Starts a server for `prepare` to push to, then starts it again, so that these pushes do not count.
fn fresh(bench: &Bench, prepare: impl FnOnce(&Server) -> anyhow::Result<()>) -> anyhow::Result<Server> {
    let server = bench.server()?.start()?;
    prepare(&server).context("prepare")?;
    server.kill()?.start()
}

/// Runs `work`, and checks the growth of the server's memory.
fn within(server: &Server, allowance: u64, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let watch = Watch::start(server.pid())?;
    work()?;
    let growth = watch.finish()?;
    harness::gate::note(&growth.to_string());
    ensure!(growth.total() < allowance, "more than {} MiB: {growth}", allowance / MIB);
    Ok(())
}

const CASES: &[Case] = &[
    ("one large blob pushed in a PUT", transfers::push_put),
    ("one large blob pushed in a streamed PATCH", transfers::push_stream),
    ("one large blob pulled", transfers::pull),
    ("64 parallel pulls", transfers::parallel_pulls),
    ("64 parallel pushes", transfers::parallel_pushes),
    ("16 parallel manifests of 4 MiB", transfers::manifests),
    ("1000 idle connections", transfers::idle_connections),
    ("closing a large PUT on a slow disk", closing::put),
    ("closing a large streamed upload on a slow disk", closing::stream),
];

pub fn run(args: &GateArgs, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    // One after another, since concurrent work could slow the server.
    Scene::new(&args.binary, scale, 0)?.mounting().run("memory", args, 1, CASES, folder)
}
