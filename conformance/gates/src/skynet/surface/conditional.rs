//! Requests with conditions on the `ETag`.

use harness::client::Request;
use harness::expect::{Faults, header, status};

use super::expect::body;
use super::{SurfaceRow, row};
use crate::skynet::link::Link;
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("If-None-Match of the ETag is 304 with its headers", not_modified),
    row("If-None-Match in lists, weak and of others", none_match),
    row("If-Range of the ETag is a part, of another the whole", if_range),
    row("If-None-Match goes before Range", condition_before_range),
    row("a HEAD with If-None-Match", of_head),
];

const TEXT: &[u8] = b"seventeen letters";

fn file(site: &Site) -> anyhow::Result<(Link, String)> {
    let link = site.raw("condition.txt", TEXT)?.link;
    let etag = link.etag("/", "");
    Ok((link, etag))
}

fn not_modified(site: &Site) -> anyhow::Result<()> {
    let (link, etag) = file(site)?;
    let answer = site.send(&Request::get(link.path("")).header("If-None-Match", &etag))?;
    status(&answer, &[304])?;
    header(&answer, "ETag", &etag)?;
    header(&answer, "Skynet-Skylink", &link.to_string())
}

fn none_match(site: &Site) -> anyhow::Result<()> {
    let (link, etag) = file(site)?;
    let mut faults = Faults::default();
    let cases = [
        ("*".to_owned(), 304),
        (format!("\"x\", {etag}"), 304),
        (format!("W/{etag}"), 304),
        ("\"x\"".to_owned(), 200),
        (etag.trim_matches('"').to_owned(), 200),
    ];
    for (value, want) in cases {
        let sent = site.send(&Request::get(link.path("")).header("If-None-Match", &value));
        faults.check(&value, sent.and_then(|answer| status(&answer, &[want])));
    }
    faults.finish()
}

fn if_range(site: &Site) -> anyhow::Result<()> {
    let (link, etag) = file(site)?;
    let ask = |condition: &str| Request::get(link.path("")).header("Range", "bytes=2-4").header("If-Range", condition);
    body(site.send(&ask(&etag))?.expect(206)?, &TEXT[2..=4])?;
    for other in ["\"x\"", &format!("W/{etag}"), "Sat, 01 Jan 2022 00:00:00 GMT"] {
        body(site.send(&ask(other))?.expect(200)?, TEXT)?;
    }
    Ok(())
}

fn condition_before_range(site: &Site) -> anyhow::Result<()> {
    let (link, etag) = file(site)?;
    let ask = |etag: &str| Request::get(link.path("")).header("Range", "bytes=2-4").header("If-None-Match", etag);
    status(&site.send(&ask(&etag))?, &[304])?;
    status(&site.send(&ask("\"x\""))?, &[206])
}

fn of_head(site: &Site) -> anyhow::Result<()> {
    let (link, etag) = file(site)?;
    status(&site.send(&Request::new("HEAD", link.path("")).header("If-None-Match", &etag))?, &[304])
}
