//! The memory of the registry and its portals does not grow with the content that is placed and pulled cold.

use anyhow::{Context, ensure};
use harness::gate::note;
use harness::noise::Noise;
use harness::proxy::Fault;
use harness::server::Server;
use harness::site::Site;

use super::stack::Stack;
use super::{MIB, patience};
use crate::case::Bench;
use crate::memory::process::Watch;
use crate::streamed;

/// Most growth of a process's resident memory over its idle state.
pub const ALLOWANCE: u64 = 64 << 20;

pub fn transfers(bench: &Bench) -> anyhow::Result<()> {
    let length = bench.scale.pick(128, 256, 2048) * MIB as u64;
    let stack = Stack::new(bench, 2)?;
    let server = stack.start()?;
    let repo = Site::new(server.target(), "memory").repo("a");
    // Pushed while nothing can be placed, so that the push does not count.
    stack.set_all(&Fault::Gone);
    streamed::put(&repo, "placed", length)?.expect(201)?;
    let server = server.kill()?.start()?;
    within("placing", &stack, &server, || {
        stack.set_all(&Fault::None);
        stack.settle(&repo.target, patience(bench))
    })?;
    let server = stack.make_cold(server)?;
    let noise = Noise::new("placed", length);
    let digest = noise.clone().digest();
    within("pulling cold", &stack, &server, || streamed::fetch(&repo, &digest, noise))
}

/// Runs `work`, and checks the growth of every process.
fn within(
    what: &str,
    stack: &Stack,
    registry: &Server,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut watches = vec![("the registry".to_owned(), Watch::start(registry.pid())?)];
    for (number, portal) in stack.portals.iter().enumerate() {
        watches.push((format!("portal {number}"), Watch::start(portal.pid()?)?));
    }
    work().with_context(|| what.to_owned())?;
    let mut too_much = Vec::new();
    for (name, watch) in watches {
        let growth = watch.finish()?;
        note(&format!("{what}, {name}: {growth}"));
        if growth.total() >= ALLOWANCE {
            too_much.push(format!("{name}: {growth}"));
        }
    }
    ensure!(too_much.is_empty(), "{what}: more than {} MiB: {}", ALLOWANCE >> 20, too_much.join("; "));
    Ok(())
}
