//! A large upload to portals while the registry, or a portal, is killed repeatedly.

use anyhow::{Context, ensure};
use harness::gate::{note, wait_until};
use harness::noise::Noise;
use harness::proxy::Fault;
use harness::proxy::exchange::Exchange;
use harness::site::Site;
use harness::status::Backlog;

use super::stack::Stack;
use super::{MIB, patience, tus};
use crate::case::Bench;
use crate::streamed;

/// Rate at which the portals accept it, while it is killed.
const RATE: u64 = 8 * MIB as u64;
/// Most bytes lost by a kill: those in flight and not acknowledged, including system buffers.
const LOST_BY_A_KILL: u64 = 24 * MIB as u64;

pub fn after_kills(bench: &Bench) -> anyhow::Result<()> {
    let length = bench.scale.pick(64, 96, 512) * MIB as u64;
    let kills: u64 = bench.scale.pick(2, 3, 8);
    let mut stack = Stack::new(bench, 2)?;
    let mut server = stack.start()?;
    let repo = Site::new(server.target(), "resume").repo("a");
    stack.set_all(&Fault::Trickle(RATE));
    streamed::put(&repo, "resumed", length)?.expect(201)?;
    for number in 0..kills {
        let before = uploaded(&stack.since(&stack.beginning()));
        let moving =
            wait_until(patience(bench), || uploaded(&stack.since(&stack.beginning())) > before + length / (kills + 2));
        ensure!(moving, "no bytes go to the portals after {number} kills");
        ensure!(Backlog::of(&repo.target)?.count > 0, "it is placed already: the portals do not trickle");
        if number % 2 == 0 {
            server = server.kill()?.start().context("the registry, in the middle of an upload")?;
        } else {
            stack.portals[number as usize % 3].restart()?;
        }
    }
    stack.set_all(&Fault::None);
    stack.settle(&repo.target, patience(bench))?;
    let mut costs = 0;
    for portal in &stack.portals {
        let exchanges = portal.proxy.exchanges();
        let back = tus::steps_back(&exchanges);
        ensure!(back.is_empty(), "{} of {}: {}", back.len(), exchanges.len(), back.join("; "));
        let anew = tus::begun_anew(&exchanges);
        ensure!(anew.is_empty(), "begun again: {}", anew.join("; "));
        costs += uploaded(&exchanges);
    }
    note(&format!(
        "{} MiB went up for two copies of {} MiB and {kills} kills",
        costs / MIB as u64,
        length / MIB as u64
    ));
    // If a portal is down long enough, the registry may choose the third one.
    let most = 3 * length + 3 * kills * LOST_BY_A_KILL;
    ensure!(costs <= most, "{costs} bytes went up, {most} at most");
    let _server = stack.make_cold(server)?;
    let noise = Noise::new("resumed", length);
    streamed::fetch(&repo, &noise.clone().digest(), noise).context("cold")
}

fn uploaded(exchanges: &[Exchange]) -> u64 {
    exchanges.iter().filter(|exchange| exchange.is_upload()).map(|exchange| exchange.received).sum()
}
