//! The TLS gate: listeners with TLS beside plain ones, certificates that change under load, floods of handshakes, and
//! judges of TLS itself.

mod attacks;
mod clients;
mod judges;
mod listeners;
mod reload;

use std::path::Path;
use std::time::Duration;

use harness::authority::{Authority, Pair};
use harness::gate::GateArgs;
use harness::report::Report;
use harness::scale::Scale;
use harness::server::{Server, ServerOptions};

use super::case::{Bench, Case, OtherPrograms, Scene};

/// Cases run at once. They mostly wait.
const WORKERS: usize = 3;

/// Options: the server's binary, the judge's binary, and the clients.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    others: OtherPrograms,
}

/// The longest case comes first.
const CASES: &[Case] = &[
    ("reloads under load drop no connection", reload::under_load),
    ("a flood of handshakes", attacks::handshakes),
    ("answers over TLS that nobody reads", attacks::stalled),
    ("a changed certificate is used by itself and at SIGHUP", reload::by_itself),
    ("a bad certificate leaves the old one in force", reload::bad),
    ("heads and handshakes that are refused", attacks::refused),
    ("PROXY headers of trusted proxies only", attacks::proxied),
    ("both protocols, and hints", listeners::protocols),
    ("a plain listener beside it", listeners::beside),
    ("a portal and a gateway", listeners::portal_and_gateway),
    ("a start with files that do not fit", listeners::no_start),
    ("sslscan finds only what is strong", judges::sslscan),
];

pub fn run(args: &Args, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let scene = Scene::new(&args.gate.binary, scale, seed)?;
    let mut report = Report::new("tls");
    scene.collect(&mut report, &args.gate, WORKERS, CASES)?;
    let (judge, tools) = (args.others.judge()?, &args.others.tools);
    scene.rows(&mut report, |bench, report| clients::rows(bench, &args.gate, &judge, tools, report));
    if scale == Scale::Full {
        scene.rows(&mut report, |bench, report| judges::testssl(bench, &args.gate, report));
    }
    report.finish(folder)
}

/// A server over TLS, with the authority and files of its certificate.
struct Secured {
    authority: Authority,
    pair: Pair,
    options: ServerOptions,
}

impl Secured {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let authority = Authority::new(&bench.folder.join("authority"))?;
        let pair = authority.sign("server", "IP:127.0.0.1,DNS:localhost")?;
        let options = bench.server()?.tls(&authority, &pair)?;
        Ok(Secured { authority, pair, options })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.options.log).unwrap_or_default()
    }
}

/// Stops the server, which must end in order.
fn end(server: Server) -> anyhow::Result<()> {
    server.terminate(Duration::from_mins(1)).map(drop)
}
