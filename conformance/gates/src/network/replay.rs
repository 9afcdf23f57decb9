//! A portal replays old answers to other requests. No client gets their bytes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::gate::{note, wait_until};
use harness::proxy::Fault;
use harness::proxy::exchange::{Exchange, Replayed};
use harness::site::Site;
use harness::status::{self, Metrics, TROUBLE, warnings};

use super::images::Library;
use super::stack::Stack;
use super::{KIB, MIB, patience};
use crate::case::Bench;

/// Lengths of the contents of both images. Equal lengths let the portal replay other content of the right length.
const LENGTHS: [usize; 3] = [KIB, 4 * MIB - 300, 9 * MIB];

/// Longest stall of the third portal.
const STALL: Duration = Duration::from_secs(4);

/// Each portal replays once, while another is gone and the third stalls until an old answer was replayed.
pub fn replaying(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::new(bench, 3)?;
    let mut server = stack.start()?;
    let site = Site::new(server.target(), "replay");
    let push = |name| Library::push(site.repo(name), &["sha256"], &LENGTHS);
    let libraries = [push("a")?, push("b")?];
    stack.settle(&server.target(), patience(bench))?;
    let old = stack.old();
    let missing: Vec<_> = LENGTHS.iter().filter(|length| !old.has_two_of(**length as u64)).collect();
    ensure!(missing.is_empty(), "not two pieces of content were read for each of the lengths {missing:?}");
    let replaying = Fault::Replaying(Arc::new(old));
    let log = stack.options.log.clone();
    let (mut named, mut counted, mut alike) = (0, 0, 0);
    for round in 0..3 {
        stack.set_all(&Fault::None);
        server = stack.make_cold(server)?;
        let (from, before) = (status::length(&log), Metrics::of(&server.target())?);
        let [bad, gone, stalling] = [0, 1, 2].map(|number| &stack.portals[(round + number) % 3].proxy);
        let mark = bad.mark();
        bad.set(replaying.clone());
        gone.set(Fault::Gone);
        stalling.set(Fault::Stalled);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_until(STALL, || bad.replayed(mark, Replayed::SameLength) > 0);
                stalling.set(Fault::None);
            });
            libraries.iter().try_for_each(Library::check).with_context(|| format!("round {round}"))
        })?;
        alike += bad.replayed(mark, Replayed::SameLength);
        named += warnings(&log, from, &bad.authority())?.len();
        let after = Metrics::of(&server.target())?;
        counted += after.grown(&before, &TROUBLE).iter().filter(|name| name.contains(&bad.authority())).count();
    }
    note(&format!("{alike} answers were other content of the same length, {named} warnings name the portal"));
    ensure!(alike > 0, "no answer was other content of the right length, so nothing was tested");
    ensure!(named > 0, "no warning names the portal that replays");
    ensure!(counted > 0, "no metric counts trouble with the portal that replays");
    // The registry computes the skylink of each digest itself, so old registry entries cannot mislead it.
    let entries = stack.since(&stack.beginning()).into_iter().filter(Exchange::is_of_entry).count();
    ensure!(entries == 0, "the registry asked for {entries} entries, so this case must replay old ones too");
    Ok(())
}
