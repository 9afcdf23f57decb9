//! Skylinks, proofs and downloads recomputed by libskynet, and by skyd's own client.

use std::time::Duration;

use anyhow::ensure;
use harness::expect::{Faults, status};
use harness::program::Program;
use harness::proxy::{Fault, Proxy};

use super::{Bench, sdk};
use crate::skynet::entry::Place;
use crate::skynet::link::Link;
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
    bench.row("trustless: skyd's client proves base sectors", base_sectors);
    bench.row("trustless: skyd's client refuses another skylink's answer", another);
    Ok(())
}

/// Of small files, of a large one, and by a resolver skylink.
fn base_sectors(bench: &Bench) -> anyhow::Result<()> {
    let site = &bench.site;
    let mut faults = Faults::default();
    let mut last = None;
    for length in [0, 1, 1000, site.profile.sector as usize / 2, site.profile.sector as usize + 1] {
        let mut check = || {
            let link = site.raw("base.bin", &site.noise("base", length))?.link;
            proven(bench, &link, &link)?;
            last = Some(link);
            Ok(())
        };
        faults.check(&format!("{length} bytes"), check());
    }
    if let Some(link) = last {
        let place = Place::new(site, "base sectors");
        let check = || {
            status(&place.entry(link.bytes(), 1).post(site)?, &[204])?;
            proven(bench, &place.link(), &link)
        };
        faults.check("by a resolver skylink", check());
    }
    faults.finish()
}

/// What the client takes for the base sector of `asked` must be the bytes of the sector that `link` names.
fn proven(bench: &Bench, asked: &Link, link: &Link) -> anyhow::Result<()> {
    let ended = client(bench, &bench.site.target.authority(), asked, &[])?.run()?;
    let path = format!("/skynet/root?root={}&offset=0&length={}", link.root(), ended.stdout.len());
    ensure!(!ended.stdout.is_empty(), "nothing came back");
    ensure!(bench.site.get(path)?.expect(200)?.body == ended.stdout, "the sector has other bytes");
    Ok(())
}

/// A portal that answers with the right proof of the wrong file.
fn another(bench: &Bench) -> anyhow::Result<()> {
    let site = &bench.site;
    let (one, two) = (site.raw("one", b"one")?.link, site.raw("two", b"two")?.link);
    let mut faults = Faults::default();
    for (path, part) in [("file/v1", [0, 3].as_slice()), ("basesector", &[])] {
        let check = || {
            let answer = site.get(format!("/skynet/trustless/{path}/{one}?offset=0&length=3"))?;
            let liar = lying(bench, &answer.expect(200)?.body)?;
            client(bench, &liar.authority(), &one, part)?.run()?;
            let said = client(bench, &liar.authority(), &two, part)?.run_failing()?;
            ensure!(said.contains("proof"), "it says {said:?}");
            Ok(())
        };
        faults.check(path, check());
    }
    faults.finish()
}

/// A proxy that answers whatever it is asked with this body.
fn lying(bench: &Bench, body: &[u8]) -> anyhow::Result<Proxy> {
    let proxy = Proxy::before(&bench.site.target)?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    proxy.set(Fault::says([head.as_bytes(), body].concat()));
    Ok(proxy)
}

/// Uploads so many bytes and has the client fetch parts of them.
fn parts(bench: &Bench, length: u64, parts: &[(u64, u64)]) -> anyhow::Result<()> {
    let site: &Site = &bench.site;
    let bytes = site.noise(&format!("trustless {length}"), length as usize);
    let link = site.raw("trustless.bin", &bytes)?.link;
    let mut faults = Faults::default();
    for (offset, length) in parts.iter().copied() {
        let check = || {
            let ended = client(bench, &site.target.authority(), &link, &[offset, length])?.run()?;
            let want = &bytes[offset as usize..(offset + length) as usize];
            ensure!(ended.stdout == want, "{} bytes came back as others", ended.stdout.len());
            Ok(())
        };
        faults.check(&format!("{length} bytes at {offset}"), check());
    }
    faults.finish()
}

/// The client of the build whose sectors the portal has; without a part it fetches the base sector.
fn client(bench: &Bench, authority: &str, link: &Link, part: &[u64]) -> anyhow::Result<Program> {
    let name = match bench.site.profile.sector {
        4096 => "skyd-trustless-testing",
        _ => "skyd-trustless",
    };
    let program = Program::new(bench.tools.program(name)?, &bench.reports.join("trustless.log"));
    let program = program.arg(authority).arg(link.to_string()).args(part.iter().map(u64::to_string));
    Ok(program.limit(Duration::from_mins(1)))
}
