//! The judge's command line: each subcommand is one check, `--scale` says how much of it.
#![allow(missing_docs, unreachable_pub, reason = "a program, not a library")]

mod bench;
mod client;
mod clients;
mod edge;
mod gates;
mod image;
mod model;
mod official;
mod program;
mod random;
mod report;
mod scale;
mod server;
mod skynet;
mod surroundings;

use clap::{Parser, Subcommand};
use scale::Scale;

/// Black-box judge of OCI registries.
#[derive(Parser)]
#[command(name = "conformance", version)]
struct Cli {
    /// How much of each check to run.
    #[arg(long, global = true, value_enum, default_value_t = Scale::Ci)]
    scale: Scale,
    /// Folder for reports (text, JUnit, JSON); made if absent.
    #[arg(long, global = true)]
    report: Option<std::path::PathBuf>,
    #[command(subcommand)]
    check: Check,
}

#[derive(Subcommand)]
enum Check {
    /// The registry beside docker-registry and nginx: CPU, rates, memory.
    Bench(bench::BenchArgs),
    /// The edge table: odd requests, one row each.
    Edge(edge::EdgeOptions),
    /// The official conformance suite: every case must pass.
    Official(official::OfficialArgs),
    /// The container image, run the ways that platforms run images.
    Image(image::ImageArgs),
    /// Full, read-only, failing and foreign disks.
    Disk(gates::GateArgs),
    /// Memory under large blobs and many transfers, and the time that closing a large push takes.
    Memory(gates::GateArgs),
    /// A registry that stores to portals: cold pulls, evictions, outages, lies, crashes.
    Network(gates::network::Args),
    /// Requests that no honest client would send.
    Hostile(gates::GateArgs),
    /// Real clients against a registry: push, pull, compare.
    Clients(clients::ClientsArgs),
    /// Random operations against the model of the API, with crashes and collections in between.
    Model(model::Args),
    /// Kills under pushes, deletes and collections.
    Crash(gates::crash::Args),
    /// The index directory is deleted.
    IndexLoss(gates::index_loss::Args),
    /// The power is cut at any system call of a recorded run.
    PowerLoss(gates::power_loss::Args),
    /// Bits turn over, files are cut, swapped and lost.
    Rot(gates::rot::Args),
    /// The walk-through of the README, and a node with an attached portal.
    WalkThrough(clients::walk_through::Args),
    /// A Skynet portal, by the official SDKs, a browser, libskynet and real skyd.
    Skynet(skynet::SkynetArgs),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let report = cli.report.as_deref();
    match &cli.check {
        Check::Bench(args) => bench::run(args, cli.scale, report),
        Check::Edge(options) => edge::run(options, report),
        Check::Image(args) => image::run(args, cli.scale, report),
        Check::Clients(args) => clients::run(args, cli.scale, report),
        Check::Disk(args) => gates::disk::run(args, cli.scale, report),
        Check::Memory(args) => gates::memory::run(args, cli.scale, report),
        Check::Network(args) => gates::network::run(args, cli.scale, report),
        Check::Hostile(args) => gates::hostile::run(args, cli.scale, report),
        Check::Official(args) => official::run(args, cli.scale, report),
        Check::Crash(args) => gates::crash::run(args, cli.scale, report),
        Check::IndexLoss(args) => gates::index_loss::run(args, cli.scale, report),
        Check::Model(args) => model::run(args, cli.scale, report),
        Check::Rot(args) => gates::rot::run(args, cli.scale, report),
        Check::WalkThrough(args) => clients::walk_through::run(args, cli.scale, report),
        Check::Skynet(args) => skynet::run(args, cli.scale, report),
        Check::PowerLoss(args) => gates::power_loss::run(args, cli.scale, report),
    }
}
