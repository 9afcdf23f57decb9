//! Parts of files: by header, by `start` and `end`, several at once.

use anyhow::ensure;
use harness::client::{Request, Response};
use harness::expect::{Faults, header, status};

use super::expect::{begins, body};
use super::{SurfaceRow, row};
use crate::skynet::link::Link;
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("parts by Range", by_header),
    row("parts by start and end, end exclusive", by_query),
    row("parts beyond the end", beyond),
    row("several parts at once", several),
    row("parts of a file over one sector", of_a_large_file),
    row("parts of a file in a directory", in_a_directory),
    row("a Range that makes no sense", senseless),
    row("HEAD with a Range", of_head),
];

const TEXT: &[u8] = b"seventeen letters";

fn file(site: &Site) -> anyhow::Result<Link> {
    Ok(site.raw("part.txt", TEXT)?.link)
}

fn ranged(site: &Site, path: &str, range: &str) -> anyhow::Result<Response> {
    site.send(&Request::get(path).header("Range", range))
}

/// Expects a 206 with the bytes `first..=last` of `whole`.
fn part(answer: &Response, whole: &[u8], first: usize, last: usize) -> anyhow::Result<()> {
    status(answer, &[206])?;
    header(answer, "Content-Range", &format!("bytes {first}-{last}/{}", whole.len()))?;
    header(answer, "Content-Length", &(last + 1 - first).to_string())?;
    body(answer, &whole[first..=last])
}

fn by_header(site: &Site) -> anyhow::Result<()> {
    let link = file(site)?;
    let mut faults = Faults::default();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=2-4", 2, 4),
        ("bytes=15-", 15, 16),
        ("bytes=-4", 13, 16),
        ("bytes=-400", 0, 16),
        ("bytes=10-400", 10, 16),
        ("bytes=0-", 0, 16),
    ] {
        let check = || {
            let answer = ranged(site, &link.path(""), range)?;
            part(&answer, TEXT, first, last)?;
            header(&answer, "ETag", &link.etag("/", ""))
        };
        faults.check(range, check());
    }
    faults.finish()
}

fn by_query(site: &Site) -> anyhow::Result<()> {
    let link = file(site)?;
    let mut faults = Faults::default();
    // If both are equal, skyd serves one byte.
    for (query, first, last) in
        [("start=2&end=4", 2, 3), ("start=0&end=17", 0, 16), ("start=0&end=100", 0, 16), ("start=2&end=2", 2, 2)]
    {
        let sent = site.get(link.path(&format!("?{query}")));
        faults.check(query, sent.and_then(|answer| part(&answer, TEXT, first, last)));
    }
    faults.finish()
}

fn beyond(site: &Site) -> anyhow::Result<()> {
    let link = file(site)?;
    let unsatisfiable = |answer: &Response| {
        status(answer, &[416])?;
        header(answer, "Content-Range", "bytes */17")
    };
    unsatisfiable(&ranged(site, &link.path(""), "bytes=17-")?)?;
    unsatisfiable(&ranged(site, &link.path(""), "bytes=400-500")?)?;
    unsatisfiable(&site.get(link.path("?start=17&end=18"))?)?;
    let empty = site.raw("empty", b"")?.link;
    status(&ranged(site, &empty.path(""), "bytes=0-")?, &[200, 416])
}

fn several(site: &Site) -> anyhow::Result<()> {
    let link = file(site)?;
    let answer = ranged(site, &link.path(""), "bytes=0-1,4-5,-1")?;
    status(&answer, &[206])?;
    begins(&answer, "Content-Type", "multipart/byteranges; boundary=")?;
    let (_, boundary) = answer.need("Content-Type")?.split_once("boundary=").unwrap_or_default();
    let boundary = boundary.trim_matches('"').to_owned();
    let text = answer.text();
    let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
    ensure!(parts.len() == 5 && parts[4].starts_with("--"), "there are {} parts in {text:?}", parts.len());
    for (part, (first, last)) in parts[1..4].iter().zip([(0, 1), (4, 5), (16, 16)]) {
        let (head, rest) = part.split_once("\r\n\r\n").unwrap_or_default();
        ensure!(head.contains(&format!("bytes {first}-{last}/17")), "a part's head is {head:?}");
        ensure!(head.contains("text/plain"), "a part's head is {head:?}");
        let want = String::from_utf8_lossy(&TEXT[first..=last]);
        ensure!(rest.trim_end_matches("\r\n") == want, "a part is {rest:?}, not {want:?}");
    }
    // More bytes than the whole, so the whole is served.
    body(ranged(site, &link.path(""), "bytes=0-16,0-16")?.expect(200)?, TEXT)
}

fn of_a_large_file(site: &Site) -> anyhow::Result<()> {
    let sector = site.profile.sector as usize;
    let bytes = site.noise("large", 2 * sector + 1000);
    let link = site.raw("large", &bytes)?.link;
    let mut faults = Faults::default();
    let end = bytes.len() - 1;
    for (first, last) in
        [(0, 0), (sector - 1, sector), (sector, 2 * sector - 1), (1, 2 * sector), (end, end), (end - 2000, end)]
    {
        let sent = ranged(site, &link.path(""), &format!("bytes={first}-{last}"));
        faults.check(&format!("{first}-{last}"), sent.and_then(|answer| part(&answer, &bytes, first, last)));
    }
    faults.finish()
}

fn in_a_directory(site: &Site) -> anyhow::Result<()> {
    let text = site.text("directory");
    let link = site.folder("", &[("before", b"something before"), ("a/b.txt", &text), ("after", b"after")])?.link;
    part(&ranged(site, &link.path("/a/b.txt"), "bytes=3-9")?, &text, 3, 9)?;
    part(&ranged(site, &link.path("/a/b.txt"), "bytes=3-99999")?, &text, 3, text.len() - 1)
}

/// RFC 9110 ignores unknown units, and Go's file server answers 416. Both are accepted, but nothing else.
fn senseless(site: &Site) -> anyhow::Result<()> {
    let link = file(site)?;
    let mut faults = Faults::default();
    for range in ["bytes=abc", "items=0-1", "bytes=", "bytes=5-2", "bytes", "bytes=--1", "bytes=0-1;2-3"] {
        let check = || {
            let answer = ranged(site, &link.path(""), range)?;
            status(&answer, &[200, 416])?;
            if answer.status == 200 { body(&answer, TEXT) } else { Ok(()) }
        };
        faults.check(range, check());
    }
    faults.finish()
}

/// Range is defined only for GET. Go answers a HEAD like the GET.
fn of_head(site: &Site) -> anyhow::Result<()> {
    let link = file(site)?;
    let answer = site.send(&Request::new("HEAD", link.path("")).header("Range", "bytes=2-4"))?;
    status(&answer, &[200, 206])?;
    header(&answer, "Content-Length", if answer.status == 206 { "3" } else { "17" })
}
