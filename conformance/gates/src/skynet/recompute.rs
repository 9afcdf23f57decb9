//! Skylinks, proofs and downloads recomputed by libskynet, and by skyd's own client.

use std::time::Duration;

use anyhow::ensure;
use harness::expect::{Faults, status};
use harness::program::Program;
use harness::proxy::{Fault, Proxy};

use super::{Suite, sdk};
use crate::skynet::entry::Place;
use crate::skynet::link::Link;
use crate::skynet::site::Site;

pub fn run(suite: &mut Suite) -> anyhow::Result<()> {
    sdk::script(suite, "libskynet", "libskynet.mjs")?;
    suite.row("trustless: skyd's client reads small files with proofs", |suite| {
        parts(suite, 3000, &[(0, 3000), (0, 1), (100, 70), (2999, 1)])
    });
    suite.row("trustless: skyd's client reads large files with proofs", |suite| {
        let unit = suite.site.profile.sector;
        let length = 2 * unit + 1000;
        parts(suite, length, &[(0, length), (0, 1), (unit - 10, 20), (unit, unit), (length - 1, 1)])
    });
    suite.row("trustless: skyd's client proves base sectors", base_sectors);
    suite.row("trustless: skyd's client refuses another skylink's answer", another);
    Ok(())
}

/// For small files, for a large one, and through a resolver skylink.
fn base_sectors(suite: &Suite) -> anyhow::Result<()> {
    let site = &suite.site;
    let mut faults = Faults::default();
    let mut last = None;
    for length in [0, 1, 1000, site.profile.sector as usize / 2, site.profile.sector as usize + 1] {
        let mut check = || {
            let link = site.raw("base.bin", &site.noise("base", length))?.link;
            proven(suite, &link, &link)?;
            last = Some(link);
            Ok(())
        };
        faults.check(&format!("{length} bytes"), check());
    }
    if let Some(link) = last {
        let place = Place::new(site, "base sectors");
        let check = || {
            status(&place.entry(link.bytes(), 1).post(site)?, &[204])?;
            proven(suite, &place.link(), &link)
        };
        faults.check("by a resolver skylink", check());
    }
    faults.finish()
}

/// The client must accept only the sector of `link` as the base sector of `asked`.
fn proven(suite: &Suite, asked: &Link, link: &Link) -> anyhow::Result<()> {
    let ended = client(suite, &suite.site.target.authority(), asked, &[])?.run()?;
    let path = format!("/skynet/root?root={}&offset=0&length={}", link.root(), ended.stdout.len());
    ensure!(!ended.stdout.is_empty(), "nothing came back");
    ensure!(suite.site.get(path)?.expect(200)?.body == ended.stdout, "the sector has other bytes");
    Ok(())
}

/// A portal that answers with a valid proof of the wrong file.
fn another(suite: &Suite) -> anyhow::Result<()> {
    let site = &suite.site;
    let (one, two) = (site.raw("one", b"one")?.link, site.raw("two", b"two")?.link);
    let mut faults = Faults::default();
    for (path, part) in [("file/v1", [0, 3].as_slice()), ("basesector", &[])] {
        let check = || {
            let answer = site.get(format!("/skynet/trustless/{path}/{one}?offset=0&length=3"))?;
            let liar = lying(suite, &answer.expect(200)?.body)?;
            client(suite, &liar.authority(), &one, part)?.run()?;
            let said = client(suite, &liar.authority(), &two, part)?.run_failing()?;
            ensure!(said.contains("proof"), "it says {said:?}");
            Ok(())
        };
        faults.check(path, check());
    }
    faults.finish()
}

/// A proxy that answers all requests with this body.
fn lying(suite: &Suite, body: &[u8]) -> anyhow::Result<Proxy> {
    let proxy = Proxy::before(&suite.site.target)?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    proxy.set(Fault::says([head.as_bytes(), body].concat()));
    Ok(proxy)
}

/// Uploads this many bytes, and lets the client fetch parts of them.
fn parts(suite: &Suite, length: u64, parts: &[(u64, u64)]) -> anyhow::Result<()> {
    let site: &Site = &suite.site;
    let bytes = site.noise(&format!("trustless {length}"), length as usize);
    let link = site.raw("trustless.bin", &bytes)?.link;
    let mut faults = Faults::default();
    for (offset, length) in parts.iter().copied() {
        let check = || {
            let ended = client(suite, &site.target.authority(), &link, &[offset, length])?.run()?;
            let want = &bytes[offset as usize..(offset + length) as usize];
            ensure!(ended.stdout == want, "{} bytes came back changed", ended.stdout.len());
            Ok(())
        };
        faults.check(&format!("{length} bytes at {offset}"), check());
    }
    faults.finish()
}

/// The client built for the portal's sector size. Without a part it fetches the base sector.
fn client(suite: &Suite, authority: &str, link: &Link, part: &[u64]) -> anyhow::Result<Program> {
    let name = match suite.site.profile.sector {
        4096 => "skyd-trustless-testing",
        _ => "skyd-trustless",
    };
    let program = Program::new(suite.tools.program(name)?, &suite.reports.join("trustless.log"));
    let program = program.arg(authority).arg(link.to_string()).args(part.iter().map(u64::to_string));
    Ok(program.limit(Duration::from_mins(1)))
}
