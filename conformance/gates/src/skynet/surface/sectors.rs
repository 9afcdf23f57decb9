//! Sectors: read unchanged, and restored from a client that built them.

use anyhow::ensure;
use data_encoding::HEXLOWER;
use harness::client::{Request, Response};
use harness::expect::{Faults, header, not_here, status};

use super::expect::{body, message};
use super::{SurfaceRow, ours, row};
use crate::skynet::link::Link;
use crate::skynet::sector::{self, backup_header};
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("the base sector is layout, metadata and content, of the size that the skylink says", base_sector),
    row("any part of a sector by its root", by_root),
    row("the sectors of a large file are its pieces", pieces),
    row("wrong roots, offsets and lengths are refused", wrong_roots),
    row("the health of a skylink is told", health),
    row("a file is restored from a base sector that a client built", restore),
    row("a large file is restored with its content", restore_large),
    ours("a restore under another skylink is refused", restore_mismatch),
    ours("a restore cut short is refused", restore_short),
];

fn by(root: &str, offset: usize, length: usize) -> String {
    format!("/skynet/root?root={root}&offset={offset}&length={length}")
}

/// The number of bytes to fetch, by a skylink with offset 0.
fn fetch_size(link: &Link) -> usize {
    let bits = link.bitfield() >> 2;
    let mode = bits.trailing_ones();
    let code = usize::from(bits >> (mode + 1)) & 7;
    if mode == 0 { (code + 1) * 4096 } else { (code + 9) * (4096 << (mode - 1)) }
}

/// A small raw file, and the whole sector that should be its base sector.
fn small(site: &Site, name: &str) -> anyhow::Result<(Link, Vec<u8>, usize)> {
    let (content, metadata, used) = base(site, name);
    Ok((site.raw(name, &content)?.link, sector::padded(&used, site.profile.sector), 99 + metadata.len()))
}

fn base(site: &Site, name: &str) -> (Vec<u8>, String, Vec<u8>) {
    let content = site.text(name);
    let metadata = format!(r#"{{"filename":"{name}","length":{}}}"#, content.len());
    let layout = sector::layout(content.len() as u64, metadata.len() as u64, 0, (0, 0));
    let used = [layout.as_slice(), metadata.as_bytes(), &content].concat();
    (content, metadata, used)
}

fn base_sector(site: &Site) -> anyhow::Result<()> {
    let (link, whole, _) = small(site, "base")?;
    ensure!(HEXLOWER.encode(&sector::root(&whole)) == link.root(), "the skylink is of another sector");
    let answer = site.get(format!("/skynet/basesector/{link}"))?;
    body(answer.expect(200)?, &whole[..fetch_size(&link)])?;
    header(&answer, "Content-Type", "application/octet-stream")
}

fn by_root(site: &Site) -> anyhow::Result<()> {
    let (link, whole, _) = small(site, "by-root")?;
    let mut faults = Faults::default();
    for (offset, length) in [(0, whole.len()), (0, 64), (64, 192), (whole.len() - 64, 64), (128, 1024)] {
        let sent = site.get(by(&link.root(), offset, length));
        let check = sent.and_then(|answer| body(answer.expect(200)?, &whole[offset..offset + length]));
        faults.check(&format!("{offset} {length}"), check);
    }
    faults.finish()
}

fn pieces(site: &Site) -> anyhow::Result<()> {
    if site.profile.data != 1 {
        return Err(not_here("the pieces of this layout are not the file itself"));
    }
    let unit = site.profile.sector as usize;
    let content = site.noise("pieces", 2 * unit + 100);
    let link = site.raw("pieces", &content)?.link;
    let base = site.get(by(&link.root(), 0, unit))?;
    let base = &base.expect(200)?.body;
    let size = |at: usize| u64::from_le_bytes(base[at..at + 8].try_into().expect("eight bytes")) as usize;
    ensure!(
        (size(1), size(17)) == (content.len(), 3 * 32),
        "the layout says {} bytes, {} of fanout",
        size(1),
        size(17)
    );
    ensure!(base[25..27] == [site.profile.data, site.profile.parity], "the layout says pieces {:?}", &base[25..27]);
    for (index, chunk) in content.chunks(unit).enumerate() {
        let want = sector::padded(chunk, site.profile.sector);
        let root = HEXLOWER.encode(&base[99 + 32 * index..131 + 32 * index]);
        ensure!(root == HEXLOWER.encode(&sector::root(&want)), "root {index} of the fanout is another");
        let answer = site.get(by(&root, 0, unit))?;
        ensure!(answer.expect(200)?.body == want, "sector {index} is another");
    }
    Ok(())
}

fn wrong_roots(site: &Site) -> anyhow::Result<()> {
    let (link, whole, _) = small(site, "wrong-roots")?;
    let root = link.root();
    let mut faults = Faults::default();
    for (query, words) in [
        ("offset=0&length=64".to_owned(), "no root hash provided"),
        ("root=xyz&offset=0&length=64".to_owned(), "'root' parameter"),
        (format!("root={root}&length=64"), "offset"),
        (format!("root={root}&offset=0"), "length"),
        (format!("root={root}&offset=x&length=64"), "offset"),
        (format!("root={root}&offset=0&length=-1"), "length"),
    ] {
        let sent = site.get(format!("/skynet/root?{query}"));
        faults.check(&query, sent.and_then(|answer| message(&answer, &[400], words)));
    }
    let beyond = site.get(by(&root, whole.len(), 64))?;
    faults.check("beyond", status(&beyond, &[400, 404, 416, 500]));
    let unknown = site.get(by(&link.unknown().root(), 0, 64))?;
    faults.check("unknown", message(&unknown, &[404], ""));
    faults.finish()
}

fn health(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("health", &site.text("health"))?.link;
    let answer = site.get(format!("/skynet/health/skylink/{link}"))?;
    let said = answer.expect(200)?.json()?;
    ensure!(said["basesectorredundancy"].as_u64().is_some_and(|count| count > 0), "the health is {said}");
    Ok(())
}

fn send_restore(site: &Site, parts: &[&[u8]]) -> anyhow::Result<Response> {
    let request = Request::new("POST", "/skynet/restore").header("Content-Type", "application/octet-stream");
    site.send(&request.body(parts.concat()))
}

fn restored(site: &Site, answer: &Response, link: &Link, content: &[u8]) -> anyhow::Result<()> {
    let said = answer.expect(200)?.json()?;
    ensure!(said["skylink"] == link.to_string(), "the answer is {said}");
    site.same(&link.path(""), content).map(drop)
}

fn restore(site: &Site) -> anyhow::Result<()> {
    let (content, _, used) = base(site, "restored");
    let whole = sector::padded(&used, site.profile.sector);
    let link = sector::link(&whole, used.len())?;
    let answer = send_restore(site, &[&backup_header(&link), &whole])?;
    restored(site, &answer, &link, &content)
}

fn restore_large(site: &Site) -> anyhow::Result<()> {
    if site.profile.data != 1 {
        return Err(not_here("the judge makes no parity"));
    }
    let (content, whole, link) = large(site, "restored-large")?;
    let answer = send_restore(site, &[&backup_header(&link), &whole, &content])?;
    restored(site, &answer, &link, &content)
}

/// A file over two sectors of a profile with one data piece, which needs no parity: its content, base sector and
/// skylink.
fn large(site: &Site, name: &str) -> anyhow::Result<(Vec<u8>, Vec<u8>, Link)> {
    let unit = site.profile.sector;
    let content = site.noise(name, 2 * unit as usize + 77);
    let metadata = format!(r#"{{"filename":"{name}","length":{}}}"#, content.len());
    let roots = content.chunks(unit as usize).map(|chunk| sector::root(&sector::padded(chunk, unit)));
    let fanout: Vec<u8> = roots.flatten().collect();
    let pieces = (site.profile.data, site.profile.parity);
    let layout = sector::layout(content.len() as u64, metadata.len() as u64, fanout.len() as u64, pieces);
    let used = [layout.as_slice(), &fanout, metadata.as_bytes()].concat();
    let whole = sector::padded(&used, unit);
    let link = sector::link(&whole, used.len())?;
    Ok((content, whole, link))
}

/// Skyd stores the given bytes, and repeats the skylink of the header.
fn restore_mismatch(site: &Site) -> anyhow::Result<()> {
    let (_, _, used) = base(site, "mismatch");
    let whole = sector::padded(&used, site.profile.sector);
    let link = sector::link(&whole, used.len())?;
    for other in [link.unknown(), site.raw("other", b"other")?.link] {
        message(&send_restore(site, &[&backup_header(&other), &whole])?, &[400], "")?;
        if other == link.unknown() {
            status(&site.get(other.path(""))?, &[404])?;
        }
    }
    status(&site.get(link.path(""))?, &[404])
}

fn restore_short(site: &Site) -> anyhow::Result<()> {
    if site.profile.data != 1 {
        return Err(not_here("the judge makes no parity"));
    }
    let (content, whole, link) = large(site, "short")?;
    let header = backup_header(&link);
    let mut faults = Faults::default();
    let cases: [(&str, Vec<&[u8]>); 6] = [
        ("nothing", vec![]),
        ("half a header", vec![&header[..50]]),
        ("half a sector", vec![&header, &whole[..whole.len() / 2]]),
        ("no content", vec![&header, &whole]),
        ("half of the content", vec![&header, &whole, &content[..content.len() / 2]]),
        ("other content", vec![&header, &whole, &whole[..content.len().min(whole.len())], &content[whole.len()..]]),
    ];
    for (what, parts) in cases {
        let sent = send_restore(site, &parts);
        faults.check(what, sent.and_then(|answer| message(&answer, &[400], "")));
    }
    faults.check("what is left", site.get(link.path("")).and_then(|answer| status(&answer, &[404])));
    faults.finish()
}
