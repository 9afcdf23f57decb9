//! The hostile gate: requests that no honest client sends are answered 4xx or cut, in time, and change nothing.

mod attacks;
mod beside;
mod frames;
mod framing;
mod hoarders;
mod honest;
mod http2;
mod little;
mod mutate;
mod mutations;
mod paths;
pub mod raw;
mod shares;
mod sink;
mod slow;
mod state;
pub mod weight;

use std::path::Path;

use harness::gate::GateArgs;
use harness::scale::Scale;
use harness::server::ServerOptions;

use super::case::{Bench, Case, Scene};
pub use attacks::{AttackArgs, run as attack};
use state::Victim;

/// Cases run at once. They mostly wait for a server's limits.
const WORKERS: usize = 4;

/// A server with short limits, and content whose change would be noticed.
fn victim(bench: &Bench, name: &str) -> anyhow::Result<Victim> {
    victim_with(bench, name, "2s")
}

/// A server with this limit for heads.
fn victim_with(bench: &Bench, name: &str, header_timeout: &str) -> anyhow::Result<Victim> {
    let options = ServerOptions::new(bench.binary, &bench.folder.join(name))?
        .env("SKYBERTH_SERVER_HEADER_TIMEOUT", header_timeout)
        .env("SKYBERTH_SERVER_IDLE_BODY_TIMEOUT", "2s")
        .env("SKYBERTH_SERVER_KEEP_ALIVE_TIMEOUT", "3s")
        .env("SKYBERTH_REGISTRY_MAX_UPLOADS", "100000");
    Victim::new(&options)
}

/// The longest case comes first.
const CASES: &[Case] = &[
    ("random mutations of valid requests", mutations::run),
    ("slow bodies of one address leave transfers to others", shares::transfers),
    ("health checks are answered while all connections are held", shares::connections),
    ("one address leaves upload sessions to others", shares::sessions),
    ("the start page after 50 pushes, 200 times at once", shares::start_page),
    ("ambiguous framing never makes two requests of one", framing::ambiguous),
    ("several attacks at once in 512 MiB, with an index of 100,000 records", little::registry),
    ("several attacks at once in 512 MiB, with a portal", little::with_portal),
    ("honest clients beside manifests that lack thousands of blobs", honest::crowded),
    ("honest clients beside large manifests whose clients leave", honest::leaving),
    ("honest clients beside slow bodies", honest::bodies),
    ("honest clients beside upload sessions without end", honest::sessions),
    ("honest clients beside connections whose heads do not end", honest::connections),
    ("honest clients beside answers that nobody reads", honest::unread),
    ("honest clients beside streams that are reset", honest::resets),
    ("honest clients beside chunks of one byte", honest::chunks),
    ("honest clients beside requests for pages of the start page", honest::pages),
    ("honest clients beside tags without end", honest::tags),
    ("malformed heads", framing::malformed),
    ("heads that are too large", framing::large),
    ("slow and silent senders", slow::senders),
    ("readers that do not read", slow::readers),
    ("large manifests whose clients leave", hoarders::left),
    ("answers of many streams that nobody reads", hoarders::unread),
    ("answers of a portal that nobody reads", hoarders::unread_of_portal),
    ("connections whose answers nobody reads", hoarders::stalled),
    ("large manifests that hardly move", hoarders::dribbled),
    ("path tricks", paths::tricks),
    ("absolute-form and other targets", paths::targets),
    ("manifests with the most references beside honest pushes", beside::crowded_manifests),
    ("manifests that lack thousands of blobs beside honest pushes", beside::refused_manifests),
    ("chunks of one byte beside honest pushes", beside::one_byte_chunks),
    ("a log that nobody reads", beside::unread_log),
    ("a TLS hello", http2::tls_hello),
    ("HTTP/2 frames that make no sense", http2::garbage),
    ("HTTP/2 floods", http2::floods),
];

pub fn run(args: &GateArgs, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    Scene::new(&args.binary, scale, seed)?.run("hostile", args, WORKERS, CASES, folder)
}
