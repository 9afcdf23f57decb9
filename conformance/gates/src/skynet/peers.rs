//! Content that only a peer has: it is served while it arrives, and no more is fetched than requested.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Connection, Request};
use harness::proxy::{Fault, Proxy};

use super::Suite;
use super::link::Link;
use super::process::Portal;
use super::site::{Profile, Site};

/// Bytes a second on each connection to the slow peer: a sector takes one second.
const RATE: u64 = Profile::DEFAULT.sector;
/// Most bytes of heads and base sectors.
const ALLOWANCE: u64 = 64 << 10;

/// A slow proxy before a peer, and a portal whose only source is that peer.
struct Pair {
    from: Site,
    to: Site,
    proxy: Proxy,
    /// Both run as long as this value lives.
    _portals: [Portal; 2],
}

impl Pair {
    fn start(suite: &Suite, binary: &Path) -> anyhow::Result<Self> {
        let start = |name: &str, settings: &[(&str, &str)]| {
            Portal::start(binary, &suite.scratch.join(name), &suite.reports.join(format!("{name}.log")), settings)
        };
        let peer = start("peer", &[])?;
        let proxy = Proxy::before(peer.target())?;
        let portal = start("beside-peer", &[("PORTAL_PEERS", &proxy.url())])?;
        let [from, to] = [&peer, &portal].map(|portal| Site::new(portal.target().clone(), Profile::DEFAULT));
        Ok(Pair { from, to, proxy, _portals: [peer, portal] })
    }
}

/// A body that is arriving.
struct Arriving {
    begun: Instant,
    first: Option<Duration>,
    bytes: Vec<u8>,
}

impl Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.first.get_or_insert_with(|| self.begun.elapsed());
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Heads come at once, first bytes after the first sector, a range after its own. A reader that leaves stops the fetch.
pub fn slow_peer(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let pair = Pair::start(suite, binary)?;
    let sectors = suite.scale.pick(5, 5, 33);
    let length = sectors * Profile::DEFAULT.sector as usize - 1000;
    let bytes = ["whole", "part", "left"].map(|name| pair.from.noise(name, length));
    let mut links = Vec::new();
    for bytes in &bytes {
        // From such a name the type is known without the content.
        links.push(pair.from.raw("slow.pdf", bytes)?.link);
    }
    pair.proxy.set(Fault::Trickle(RATE));
    whole(&pair, &links[0], &bytes[0]).context("the whole")?;
    part(&pair, &links[1], &bytes[1]).context("a range at the end")?;
    leaving(&pair, &links[2]).context("one that leaves")
}

fn whole(pair: &Pair, link: &Link, bytes: &[u8]) -> anyhow::Result<()> {
    let head = pair.to.head(link.path(""))?;
    ensure!(head.expect(200)?.need("Content-Length")? == bytes.len().to_string(), "the HEAD has another length");
    let sent = pair.proxy.sent();
    ensure!(sent <= ALLOWANCE, "{sent} bytes came for a HEAD");
    let mut connection = Connection::open(&pair.to.target)?;
    let mut body = Arriving { begun: Instant::now(), first: None, bytes: Vec::new() };
    connection.write(&Request::get(link.path("")))?;
    let (status, headers) = connection.read_head()?;
    let head = connection.response(status, headers);
    connection.copy_body(head.expect(200)?, &mut body)?;
    let (first, all) = (body.first.unwrap_or_default(), body.begun.elapsed());
    ensure!(body.bytes == bytes, "other bytes than those of the peer");
    ensure!(first * 2 < all, "the first byte came after {first:?}, the last after {all:?}");
    Ok(())
}

fn part(pair: &Pair, link: &Link, bytes: &[u8]) -> anyhow::Result<()> {
    let (before, first) = (pair.proxy.sent(), bytes.len() - 100_000);
    let answer = pair.to.send(&Request::get(link.path("")).header("Range", format!("bytes={first}-")))?;
    ensure!(answer.expect(206)?.body == bytes[first..], "other bytes than those of the peer");
    let sent = pair.proxy.sent() - before;
    ensure!(sent <= Profile::DEFAULT.sector + ALLOWANCE, "{sent} bytes came for 100000");
    Ok(())
}

fn leaving(pair: &Pair, link: &Link) -> anyhow::Result<()> {
    let mut connection = Connection::open(&pair.to.target)?;
    connection.write(&Request::get(link.path("")))?;
    ensure!(connection.read_head()?.0 == 200, "not even begun");
    drop(connection);
    // Bytes in flight, and bytes in the sockets between the two.
    std::thread::sleep(Duration::from_secs(1));
    let before = pair.proxy.sent();
    std::thread::sleep(Duration::from_secs(1));
    let sent = pair.proxy.sent() - before;
    ensure!(sent == 0, "{sent} bytes came for nobody");
    Ok(())
}
