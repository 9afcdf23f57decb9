//! A registry's gateway beside portals: it gives the same answers at the same skylinks, from local files only, and
//! keeps no copies.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use data_encoding::HEXLOWER;
use harness::client::{Request, Response, Target};
use harness::gate::{note, wait_until};
use harness::local;
use harness::noise::noise;
use harness::server::{ServerOptions, free_port};
use harness::site::{Site, sha256};
use harness::surroundings::{portal, storing_to};

use super::images::Library;
use super::stack::Stack;
use super::{KIB, MIB, patience};
use crate::case::Bench;

const LISTEN: &str = "SKYBERTH_GATEWAY_LISTEN";
/// Characters of a skylink.
const SKYLINK: usize = 46;
/// Lengths around the capacity of a base sector besides its metadata, and of several units.
const LENGTHS: [usize; 7] = [0, 1, KIB, 70 * KIB, 4 * MIB - 512, 4 * MIB - 100, 9 * MIB];
/// Headers that a gateway and a portal must send alike.
const SAME: [&str; 6] = ["etag", "content-length", "content-range", "accept-ranges", "cache-control", "skynet-skylink"];
/// How soon after a push its skylink must be available.
const SOON: Duration = Duration::from_secs(30);

fn gateway() -> anyhow::Result<Target> {
    Ok(Target::local(free_port()?))
}

/// Every way of requesting the content at a skylink.
fn requests(skylink: &str) -> Vec<Request> {
    let below = ["skynet/skylink/", "skynet/metadata/", "skynet/basesector/", "skynet/trustless/basesector/", ""];
    let mut all: Vec<Request> = below.iter().map(|path| Request::get(format!("/{path}{skylink}"))).collect();
    let ranges = ["0-0", "-1", "5-", "4194303-4194304", "99999999-"];
    all.extend(ranges.map(|range| Request::get(format!("/{skylink}")).header("Range", format!("bytes={range}"))));
    all.push(Request::get(format!("/{skylink}?start=1&end=3")));
    all.push(Request::get(format!("/{skylink}")).header("If-None-Match", "*"));
    all.push(Request::get(format!("/{skylink}")).header("If-Range", "\"another\"").header("Range", "bytes=0-0"));
    all.push(Request::new("HEAD", format!("/{skylink}")));
    all.push(Request::get(format!("/{skylink}/path")));
    all
}

/// Sends each request to both. Returns the number of equal answers.
fn compare(gateway: &Target, portal: &Target, skylink: &str) -> anyhow::Result<usize> {
    let all = requests(skylink);
    for request in &all {
        let told = format!("{} {} {:?}", request.method, request.path, request.headers);
        let (here, there) = (gateway.send(request)?, portal.send(request)?);
        ensure!(here.status == there.status, "{told}: {} instead of {}", here.status, there.status);
        for name in SAME {
            let (found, expected) = (here.header(name), there.header(name));
            ensure!(found == expected, "{told}: {name} is {found:?} instead of {expected:?}");
        }
        ensure!(here.body == there.body, "{told}: other bytes");
        is_a_file_to_keep(&here, request).context(told)?;
    }
    Ok(all.len())
}

fn is_a_file_to_keep(answer: &Response, request: &Request) -> anyhow::Result<()> {
    answer.need("Skyberth-Gateway")?;
    let is_content = !request.path.starts_with("/skynet/metadata/") && matches!(answer.status, 200 | 206);
    if !is_content {
        return Ok(());
    }
    ensure!(answer.need("Content-Type")? == "application/octet-stream", "{:?}", answer.header("Content-Type"));
    ensure!(answer.need("X-Content-Type-Options")? == "nosniff", "it may be sniffed");
    let raw = request.path.contains("basesector");
    ensure!(raw || answer.need("Content-Disposition")?.starts_with("attachment"), "it may be shown");
    Ok(())
}

/// Waits until all of these are available.
fn wait_served<'a>(gateway: &Target, skylinks: impl IntoIterator<Item = &'a String>) -> anyhow::Result<()> {
    for skylink in skylinks {
        let head = Request::new("HEAD", format!("/{skylink}"));
        let served = wait_until(SOON, || gateway.send(&head).is_ok_and(|answer| answer.status == 200));
        ensure!(served, "{skylink} is not there after {SOON:?}");
    }
    Ok(())
}

/// The skylinks that were requested from portals.
fn skylinks(stack: &Stack) -> BTreeSet<String> {
    let asked = stack.since(&stack.beginning()).into_iter().map(|exchange| exchange.path);
    let is_link = |link: &String| link.len() == SKYLINK && !link.contains('/');
    asked.filter_map(|path| path.strip_prefix('/').map(str::to_owned)).filter(is_link).collect()
}

pub fn serves_what_portals_serve(bench: &Bench) -> anyhow::Result<()> {
    let gateway = gateway()?;
    let stack = Stack::new(bench, 3)?.with(&[(LISTEN, &gateway.authority())]);
    let server = stack.start()?;
    let library = Library::push(Site::new(server.target(), "gateway").repo("a"), &["sha256", "blake3"], &LENGTHS)?;
    stack.settle(&server.target(), patience(bench))?;
    let links = skylinks(&stack);
    // Two configs, two images and their index, besides the blobs.
    ensure!(links.len() == library.items.len() + 5, "{} skylinks of {} blobs", links.len(), library.items.len());
    let sent = stack.sent();
    wait_served(&gateway, &links)?;
    let mut bodies = BTreeSet::new();
    let portals =
        stack.portals.iter().map(|portal| Target::parse(&portal.url())).collect::<anyhow::Result<Vec<_>>>()?;
    let mut same = 0;
    for link in &links {
        for portal in &portals {
            same += compare(&gateway, portal, link)?;
        }
        bodies.insert(gateway.send(&Request::get(format!("/{link}")))?.body);
    }
    for item in &library.items {
        ensure!(bodies.contains(&item.bytes), "{} is at no skylink", item.digest);
    }
    ensure!(stack.sent() == sent, "the gateway asked portals");

    let server = lose_records(&stack, server)?;
    wait_served(&gateway, &links).context("after the records were lost")?;
    for link in &links {
        same += compare(&gateway, &portals[0], link).context("after the records were lost")?;
    }
    // A gateway fetches nothing.
    let _server = stack.make_cold(server)?;
    let sent = stack.sent();
    for link in &links {
        gateway.send(&Request::get(format!("/{link}")))?.expect(404).context("cold")?;
    }
    ensure!(stack.sent() == sent, "the gateway asked portals for what is not here");
    note(&format!("{same} answers of a gateway are those of three portals, at {} skylinks", links.len()));
    Ok(())
}

/// `kill -9`, then deletes all records that can be rebuilt.
fn lose_records(stack: &Stack, server: harness::server::Server) -> anyhow::Result<harness::server::Server> {
    server.kill()?;
    for view in ["gateway", "index"] {
        fs::remove_dir_all(stack.options.data.join(view)).context(view)?;
    }
    stack.start()
}

pub fn needs_no_portal(bench: &Bench) -> anyhow::Result<()> {
    let gateway = gateway()?;
    let portal = portal(bench.binary, &bench.folder, 0, &[])?;
    let options = ServerOptions::new(bench.binary, &bench.folder.join("registry"))?.env(LISTEN, &gateway.authority());
    let server = options.start()?;
    let repo = Site::new(server.target(), "alone").repo("a");
    let mut links = Vec::new();
    for length in LENGTHS {
        let bytes = noise("alone", length);
        repo.push_blob(&bytes)?;
        let name = sha256(&bytes).replace(':', "-");
        let upload = Request::new("POST", format!("/skynet/skyfile?filename={name}"))
            .header("Content-Type", "application/octet-stream")
            .body(bytes.clone());
        let answer = portal.target().send(&upload)?;
        links.push((answer.expect(200)?.need("Skynet-Skylink")?.to_owned(), bytes));
    }
    wait_served(&gateway, links.iter().map(|(link, _)| link))?;
    let before = local::content_bytes(&options.data)?;
    for (link, _) in &links {
        compare(&gateway, &portal.target(), link)?;
    }
    let pushed: usize = LENGTHS.iter().sum();
    let lists = 4 * KIB as u64;
    ensure!(before <= pushed as u64 + lists, "{before} bytes are local of {pushed} that were pushed");
    for (link, bytes) in &links {
        repo.delete(&repo.blob(&sha256(bytes)))?.expect(202)?;
        gateway.send(&Request::get(format!("/{link}")))?.expect(404).context("deleted")?;
    }
    for request in [Request::new("POST", "/skynet/skyfile?filename=a"), Request::new("POST", "/skynet/tus")] {
        gateway.send(&request.body("a"))?.expect(403)?;
    }
    Ok(())
}

/// Profiles of the peers, with lengths around the size of a chunk.
const PEERS: [(&str, &[usize]); 2] =
    [("4MiB/1+4", &[0, 70 * KIB, 4 * MIB - 100, 13 * MIB]), ("4MiB/10+20", &[70 * KIB, 4 * MIB + 1, 41 * MIB])];

pub fn is_a_peer(bench: &Bench) -> anyhow::Result<()> {
    for (number, (profile, lengths)) in PEERS.iter().enumerate() {
        let mut lengths = lengths.to_vec();
        lengths.extend(bench.scale.pick(None, None, Some(500 * MIB)));
        feeds_a_peer(bench, number, profile, &lengths).with_context(|| (*profile).to_owned())?;
    }
    Ok(())
}

/// An empty portal gets everything from the gateway, and keeps it.
fn feeds_a_peer(bench: &Bench, number: usize, profile: &str, lengths: &[usize]) -> anyhow::Result<()> {
    let gateway = gateway()?;
    let folder = bench.folder.join(format!("peers-{number}"));
    let cut = ("SKYBERTH_PORTAL_PROFILE".to_owned(), profile.to_owned());
    let knowing = portal(bench.binary, &folder, 0, std::slice::from_ref(&cut))?;
    let peer = ("SKYBERTH_PORTAL_PEERS".to_owned(), format!("http://{}", gateway.authority()));
    let empty = portal(bench.binary, &folder, 1, &[cut, peer])?;
    let options = ServerOptions::new(bench.binary, &folder.join("registry"))?.env(LISTEN, &gateway.authority());
    let server = options.env("SKYBERTH_STORAGE_SKYNET_PROFILE", profile).start()?;
    let repo = Site::new(server.target(), "peer").repo("a");
    let mut links = Vec::new();
    for length in lengths {
        // No two of them have a sector in common.
        let bytes = noise(&format!("peer {length}"), *length);
        repo.push_blob(&bytes)?;
        let name = sha256(&bytes).replace(':', "-");
        // Requested only at its skylink.
        let upload = Request::new("POST", format!("/skynet/skyfile?filename={name}&dryrun=true"))
            .header("Content-Type", "application/octet-stream")
            .body(bytes.clone());
        let answer = knowing.target().send(&upload)?;
        links.push((answer.expect(200)?.need("Skynet-Skylink")?.to_owned(), bytes));
    }
    wait_served(&gateway, links.iter().map(|(link, _)| link))?;
    for (link, bytes) in &links {
        let get = Request::get(format!("/{link}"));
        ensure!(empty.target().send(&get)?.expect(200)?.body == *bytes, "{} bytes became others", bytes.len());
        compare(&gateway, &empty.target(), link)?;
    }
    // The portal keeps what it fetched. After a delete the gateway serves no sector of the content any more.
    let (link, bytes) = links.last().context("no content")?;
    let base = Request::get(format!("/skynet/basesector/{link}"));
    let root = data_root(&gateway.send(&base)?.expect(200)?.body)?;
    let sector = Request::get(format!("/skynet/root?root={root}&offset=0&length={}", 4 * MIB));
    let (here, there) = (gateway.send(&sector)?, empty.target().send(&sector)?);
    ensure!(here.expect(200)?.body == there.expect(200)?.body, "another sector {root}");
    repo.delete(&repo.blob(&sha256(bytes)))?.expect(202)?;
    gateway.send(&sector)?.expect(404).context("a sector of deleted content")?;
    ensure!(empty.target().send(&Request::get(format!("/{link}")))?.expect(200)?.body == *bytes, "it is lost");
    Ok(())
}

/// The first root after the layout.
fn data_root(base: &[u8]) -> anyhow::Result<String> {
    const LAYOUT: usize = 99;
    let root = base.get(LAYOUT..LAYOUT + 32).context("a short base sector")?;
    Ok(HEXLOWER.encode(root))
}

pub fn is_no_place(bench: &Bench) -> anyhow::Result<()> {
    let gateway = gateway()?;
    let url = format!("http://{}", gateway.authority());
    let options = ServerOptions::new(bench.binary, &bench.folder.join("registry"))?;
    let own = options.clone().envs(&storing_to(std::slice::from_ref(&url), 1)).env(LISTEN, &gateway.authority());
    refuses_to_start(&own).context("its own gateway as its portal")?;
    // The gateway of another node, although one portal is sound.
    let _other = options.env(LISTEN, &gateway.authority()).start()?;
    let sound = portal(bench.binary, &bench.folder, 0, &[])?;
    let urls = [format!("http://{}", sound.target().authority()), url];
    let third = ServerOptions::new(bench.binary, &bench.folder.join("third"))?.envs(&storing_to(&urls, 1));
    refuses_to_start(&third).context("another node's gateway among its portals")
}

fn refuses_to_start(options: &ServerOptions) -> anyhow::Result<()> {
    let status = options.spawn()?.wait_exit(Duration::from_secs(30))?;
    let log = fs::read_to_string(&options.log)?;
    ensure!(!status.success() && log.contains("gateway"), "it ended with {status}: {log}");
    Ok(())
}
