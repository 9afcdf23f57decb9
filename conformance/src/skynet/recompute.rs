//! Skylinks, proofs and downloads recomputed by libskynet, and by skyd's own client.

use std::time::Duration;

use anyhow::ensure;

use super::{Bench, sdk};
use crate::client::Request;
use crate::edge::expect::Faults;
use crate::program::Program;
use crate::skynet::liar::Liar;
use crate::skynet::site::Site;

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    sdk::script(bench, "libskynet", "libskynet.mjs")?;
    bench.row("trustless: skyd's client reads small files with proofs", |bench| {
        parts(bench, 3000, &[(0, 3000), (0, 1), (100, 70), (2999, 1)])
    });
    bench.row("trustless: skyd's client reads large files with proofs", |bench| {
        let unit = bench.site.profile.sector;
        let length = 2 * unit + 1000;
        parts(bench, length, &[(0, length), (0, 1), (unit - 10, 20), (unit, unit), (length - 1, 1)])
    });
    bench.row("trustless: skyd's client refuses another skylink's answer", |bench| {
        let (one, two) = (bench.site.raw("one", b"one")?.link, bench.site.raw("two", b"two")?.link);
        let answer = bench.site.send(&Request::get(format!("/skynet/trustless/file/v1/{one}?offset=0&length=3")))?;
        answer.expect(200)?;
        let lie = Liar::answering(&answer)?;
        let said = client(bench, &lie.authority(), &two.to_string(), 0, 3)?.run_failing()?;
        ensure!(said.contains("proof"), "it says {said:?}");
        Ok(())
    });
    Ok(())
}

/// Uploads so many bytes and has the client fetch parts of them.
fn parts(bench: &Bench, length: u64, parts: &[(u64, u64)]) -> anyhow::Result<()> {
    let site: &Site = &bench.site;
    let bytes = site.noise(&format!("trustless {length}"), length as usize);
    let link = site.raw("trustless.bin", &bytes)?.link.to_string();
    let mut faults = Faults::default();
    for (offset, length) in parts.iter().copied() {
        let check = || {
            let ended = client(bench, &site.target.authority(), &link, offset, length)?.run()?;
            let want = &bytes[offset as usize..(offset + length) as usize];
            ensure!(ended.stdout == want, "{} bytes came back as others", ended.stdout.len());
            Ok(())
        };
        faults.check(&format!("{length} bytes at {offset}"), check());
    }
    faults.finish()
}

/// The client of the build whose sectors the portal has.
fn client(bench: &Bench, authority: &str, link: &str, offset: u64, length: u64) -> anyhow::Result<Program> {
    let name = match bench.site.profile.sector {
        4096 => "skyd-trustless-testing",
        _ => "skyd-trustless",
    };
    let program = Program::new(bench.tools.program(name)?, &bench.reports.join("trustless.log"));
    let program = program.args([authority, link, &offset.to_string(), &length.to_string()]);
    Ok(program.limit(Duration::from_mins(1)))
}
