//! The command line of Skyberth's own gates: each subcommand is one check of a `skyberth` binary.
#![allow(missing_docs, unreachable_pub, reason = "a program, not a library")]

mod access;
mod answers;
mod attached;
mod bench;
mod case;
mod clients;
mod control_group;
mod crash;
mod crowd;
mod disk;
mod files;
mod foreign;
mod hostile;
mod image;
mod index_loss;
mod memory;
mod network;
mod place;
mod pusher;
mod rot;
mod skynet;
mod streamed;
mod tls;

use clap::{Parser, Subcommand};
use harness::gate::GateArgs;
use harness::scale::RunOptions;

/// Skyberth's own gates: kills, losses, full and failing disks, hostile clients, portals; each case has a stated
/// outcome.
#[derive(Parser)]
#[command(name = "gates", version)]
struct Cli {
    #[command(flatten)]
    options: RunOptions,
    #[command(subcommand)]
    check: Check,
}

#[derive(Subcommand)]
enum Check {
    /// Logins: users of all sources, the first user, and the judge with a login.
    Access(access::Args),
    /// A node with an attached portal: its commands, a stop, a start without the portal, two copies.
    Attached(clients::attached::Args),
    /// CPU, rates and memory of the registry, beside docker-registry and nginx.
    Bench(bench::BenchArgs),
    /// Real clients against a registry that stores on portals: cold pulls, and pulls without portals.
    ClientsNetwork(clients::network::Args),
    /// Kills during pushes, deletes and collections.
    Crash(crash::Args),
    /// An attacker of `hostile`, in a process of its own.
    #[command(hide = true)]
    Attack(hostile::AttackArgs),
    /// Full, read-only, failing and foreign disks.
    Disk(GateArgs),
    /// The judge with another registry: https, accounts, tokens.
    Foreign(foreign::Args),
    /// Requests that no honest client sends.
    Hostile(GateArgs),
    /// The container image, run as platforms run images.
    Image(image::ImageArgs),
    /// A deleted index directory.
    IndexLoss(index_loss::Args),
    /// Memory during large blobs and many transfers, and the time to close a large push.
    Memory(GateArgs),
    /// A registry that stores to portals: cold pulls, evictions, outages, lies, crashes.
    Network(network::Args),
    /// Power cuts at any system call of a recorded run.
    PowerLoss(power_loss::Args),
    /// Flipped bits, and files that are cut, swapped or lost.
    Rot(rot::Args),
    /// A Skynet portal, by the official SDKs, a browser, libskynet and real skyd.
    Skynet(skynet::SkynetArgs),
    /// TLS: listeners, reloads under load, floods of handshakes, sslscan and testssl.sh.
    Tls(tls::Args),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let RunOptions { scale, seed, ref report } = cli.options;
    let (seed, report) = (u64::from(seed), report.as_deref());
    println!("seed {seed}");
    match &cli.check {
        Check::Access(args) => access::run(args, scale, seed, report),
        Check::Attached(args) => clients::attached::run(args, scale, report),
        Check::Bench(args) => bench::run(args, scale, report),
        Check::ClientsNetwork(args) => clients::network::run(args, scale, report),
        Check::Crash(args) => crash::run(args, scale, seed, report),
        Check::Attack(args) => {
            hostile::attack(args);
            Ok(())
        }
        Check::Disk(args) => disk::run(args, scale, seed, report),
        Check::Foreign(args) => foreign::run(args, report),
        Check::Hostile(args) => hostile::run(args, scale, seed, report),
        Check::Image(args) => image::run(args, scale, report),
        Check::IndexLoss(args) => index_loss::run(args, scale, report),
        Check::Memory(args) => memory::run(args, scale, report),
        Check::Network(args) => network::run(args, scale, seed, report),
        Check::PowerLoss(args) => power_loss::run(args, scale, seed, report),
        Check::Rot(args) => rot::run(args, scale, seed, report),
        Check::Skynet(args) => skynet::run(args, scale, seed, report),
        Check::Tls(args) => tls::run(args, scale, seed, report),
    }
}
