//! The judge's command line: each subcommand is one check of a registry.
#![allow(missing_docs, reason = "a program, not a library")]

use clap::{Parser, Subcommand};
use conformance::{clients, edge, model, official};
use harness::scale::RunOptions;

/// Black-box judge of OCI registries.
#[derive(Parser)]
#[command(name = "conformance", version)]
struct Cli {
    #[command(flatten)]
    options: RunOptions,
    #[command(subcommand)]
    check: Check,
}

#[derive(Subcommand)]
enum Check {
    /// The official conformance suite: every case must pass.
    Official(official::OfficialArgs),
    /// The edge table: odd requests, one row each.
    Edge(edge::EdgeOptions),
    /// Writes the list of all rows of the edge table, with their levels and sources.
    Rows,
    /// Random operations against the model of the API, with crashes and collections in between.
    Model(model::Args),
    /// Real clients against a registry: push, pull, compare.
    Clients(clients::ClientsArgs),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let RunOptions { scale, seed, ref report } = cli.options;
    let (seed, report) = (u64::from(seed), report.as_deref());
    match &cli.check {
        Check::Official(args) => official::run(args, scale, report),
        Check::Edge(options) => edge::run(options, report),
        Check::Rows => {
            print!("{}", edge::list::document());
            Ok(())
        }
        Check::Model(args) => {
            println!("seed {seed}");
            model::run(args, scale, seed, report)
        }
        Check::Clients(args) => clients::run(args, scale, report),
    }
}
