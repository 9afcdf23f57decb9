//! Downloads of files: all addresses of one, their headers, their types.

use anyhow::ensure;
use harness::client::{Request, Response};
use harness::expect::{Faults, header, no_header};

use super::expect::begins;
use super::{SurfaceRow, ours, row};
use crate::skynet::form::Form;
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("a file is the same at all of its addresses", addresses),
    row("the headers of a file", headers),
    row("HEAD is GET without a body", head),
    row("an attachment is named so", attachment),
    row("the layout is told when asked for", layout),
    row("types are those of the part, of the name, or of the content", types),
    row("the ETag is skyd's", etags),
    row("a path on a raw file is not found", path_on_a_file),
    row("a file over one sector comes back", over_a_sector),
    ours("a v1 skylink may be kept for a year, an error never", caching),
    ours("all content is harmless on the portal's own origin", sandbox),
    ours("a browser that opens a page is led to its subdomain", navigation),
    ours("metadata and skylinks cannot be confused by a query", queries),
];

fn addresses(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("addresses");
    let link = site.raw("addresses.txt", &bytes)?.link;
    let base32 = link.base32();
    let mut faults = Faults::default();
    let paths = [
        format!("/{link}"),
        format!("/{link}/"),
        format!("/{base32}"),
        format!("/{base32}/"),
        format!("/skynet/skylink/{link}"),
        format!("/skynet/skylink/{base32}"),
    ];
    for path in paths {
        let check = || header(&site.same(&path, &bytes)?, "Skynet-Skylink", &link.to_string());
        faults.check(&path, check());
    }
    let answer = site.send_to(&format!("{base32}.localhost"), &Request::get("/"))?;
    faults.check("subdomain", super::expect::body(&answer, &bytes));
    faults.check("subdomain", header(&answer, "Skynet-Skylink", &link.to_string()));
    faults.finish()
}

fn headers(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("headers");
    let link = site.raw("headers.txt", &bytes)?.link;
    let answer = site.same(&link.path(""), &bytes)?;
    header(&answer, "Accept-Ranges", "bytes")?;
    header(&answer, "Content-Length", &bytes.len().to_string())?;
    header(&answer, "Content-Type", "text/plain; charset=utf-8")?;
    header(&answer, "Content-Disposition", "inline; filename=\"headers.txt\"")?;
    header(&answer, "Skynet-Skylink", &link.to_string())?;
    header(&answer, "ETag", &link.etag("/", ""))?;
    no_header(&answer, "Skynet-Proof")?;
    begins(&answer, "Skynet-Portal-Api", "http://")?;
    begins(&answer, "Skynet-Server-Api", "http://")
}

fn head(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("head.txt", &site.text("head"))?.link;
    let (get, head) = (site.get(link.path(""))?, site.head(link.path(""))?);
    head.expect(200)?;
    ensure!(head.body.is_empty(), "HEAD has a body");
    let names = ["Content-Length", "Content-Type", "Content-Disposition", "ETag", "Accept-Ranges", "Skynet-Skylink"];
    for name in names {
        header(&head, name, get.need(name)?)?;
    }
    Ok(())
}

fn attachment(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("deep/named \"so\".txt", &site.text("attachment"))?.link;
    let answer = site.get(link.path("?attachment=true"))?;
    header(&answer, "Content-Disposition", "attachment; filename=\"named \\\"so\\\".txt\"")?;
    let answer = site.get(link.path("?attachment=false"))?;
    header(&answer, "Content-Disposition", "inline; filename=\"named \\\"so\\\".txt\"")
}

fn layout(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("layout");
    let link = site.raw("layout", &bytes)?.link;
    no_header(&site.get(link.path(""))?, "Skynet-File-Layout")?;
    let answer = site.get(link.path("?include-layout=true"))?;
    let metadata = site.get(format!("/skynet/metadata/{link}"))?.body.len() as u64;
    let mut want = vec![1_u8];
    for size in [bytes.len() as u64, metadata, 0] {
        want.extend_from_slice(&size.to_le_bytes());
    }
    // No fanout and so no pieces; the plain cipher; no key.
    want.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    want.resize(99, 0);
    header(&answer, "Skynet-File-Layout", &data_encoding::HEXLOWER.encode(&want))
}

fn types(site: &Site) -> anyhow::Result<()> {
    let png: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a rest";
    let raw: [(&str, &[u8], &str); 6] = [
        ("a.json", b"{}", "application/json"),
        ("a.txt", b"text", "text/plain; charset=utf-8"),
        ("a.css", b"p {}", "text/css; charset=utf-8"),
        ("nameless", b"some text", "text/plain; charset=utf-8"),
        ("picture", png, "image/png"),
        ("bytes", b"\x00\x01\x02\xff", "application/octet-stream"),
    ];
    let mut faults = Faults::default();
    for (name, bytes, want) in raw {
        let check = || header(&site.get(site.raw(name, bytes)?.link.path(""))?, "Content-Type", want);
        faults.check(name, check());
    }
    let check = || {
        let form = Form::new().file("file", "odd.txt", Some("application/x-odd; a=b"), b"odd");
        header(&site.get(site.form("", &form)?.link.path(""))?, "Content-Type", "application/x-odd; a=b")
    };
    faults.check("the part's own", check());
    faults.finish()
}

fn etags(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("index.html", b"<p>"), ("a/b.txt", &site.text("etag"))])?.link;
    let mut faults = Faults::default();
    for (address, path, format) in [
        ("/", "/index.html", ""),
        ("/a/b.txt", "/a/b.txt", ""),
        ("?format=zip", "/", "zip"),
        ("?format=concat", "/", "concat"),
        ("/a?format=tar", "/a", "tar"),
    ] {
        let check = || header(&site.get(link.path(address))?, "ETag", &link.etag(path, format));
        faults.check(address, check());
    }
    faults.finish()
}

fn path_on_a_file(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("raw", &site.text("raw"))?.link;
    let answer = site.get(link.path("/x"))?;
    super::expect::message(&answer, &[404], "failed to download contents for path: /x")
}

fn over_a_sector(site: &Site) -> anyhow::Result<()> {
    let sector = site.profile.sector as usize;
    let mut faults = Faults::default();
    // Lengths at the limits of the base sector and of the pieces of a fanout.
    for length in [sector - 200, sector - 50, sector, sector + 1, 2 * sector, 2 * sector + 4097] {
        let bytes = site.noise(&format!("over {length}"), length);
        let check = || site.same(&site.raw("over", &bytes)?.link.path(""), &bytes).map(drop);
        faults.check(&format!("{length} bytes"), check());
    }
    faults.finish()
}

fn caching(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("cached", &site.text("cached"))?.link;
    let answer = site.get(link.path(""))?;
    let said = answer.need("Cache-Control")?;
    for word in ["max-age=31536000", "immutable"] {
        ensure!(said.contains(word), "Cache-Control {said:?} does not say {word}");
    }
    let answer = site.get(link.unknown().path(""))?;
    let said = answer.need("Cache-Control")?;
    ensure!(said.contains("no-store") || said.contains("no-cache"), "an error says Cache-Control: {said}");
    Ok(())
}

/// Expects the policy that keeps scripts in uploads from running as the portal's own.
fn sandboxed(answer: &Response) -> anyhow::Result<()> {
    header(answer, "X-Content-Type-Options", "nosniff")?;
    let policy = answer.need("Content-Security-Policy")?;
    ensure!(policy.split(';').any(|part| part.trim().starts_with("sandbox")), "the policy is {policy:?}");
    ensure!(!policy.contains("allow-same-origin"), "the policy is {policy:?}");
    Ok(())
}

fn sandbox(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    let page = b"<!doctype html><script>alert(1)</script>";
    for (name, media_type) in [
        ("page.html", "text/html"),
        ("drawing.svg", "image/svg+xml"),
        ("page.xhtml", "application/xhtml+xml"),
        ("feed.xml", "text/xml"),
        ("odd", "text/html; charset=utf-8"),
        ("list", "text/plain;charset=gbk,text/html"),
        ("plain.txt", "text/plain"),
    ] {
        let form = Form::new().file("file", name, Some(media_type), page);
        let check = || {
            let link = site.form("", &form)?.link;
            sandboxed(&site.get(link.path(""))?)?;
            // The subdomain has its own origin, so it may run scripts.
            let answer = site.send_to(&format!("{}.localhost", link.base32()), &Request::get("/"))?;
            no_header(&answer, "Content-Security-Policy")
        };
        faults.check(name, check());
    }
    let check = || sandboxed(&site.get(site.raw("sniffed", page)?.link.path(""))?);
    faults.check("sniffed", check());
    faults.finish()
}

fn navigation(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("index.html", &site.text("<p>page")), ("b.html", b"<p>")])?.link;
    let navigation = |path: &str| {
        Request::get(path)
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .header("Accept", "text/html")
    };
    let answer = site.send(&navigation(&link.path("/b.html?x=1")))?;
    harness::expect::status(&answer, &[302, 303, 307, 308])?;
    let want = format!("http://{}.localhost:{}/b.html?x=1", link.base32(), site.target.port);
    header(&answer, "Location", &want)?;
    // Scripts and other programs still get it here.
    site.get(link.path("/b.html"))?.expect(200).map(drop)
}

fn queries(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("query");
    let link = site.raw("query", &bytes)?.link;
    // Parameters that SDKs add, and unknown ones.
    for query in ["?skykeyid=&skykeyname=", "?timeout=5", "?nobody=knows&x", "?"] {
        site.same(&link.path(query), &bytes)?;
    }
    Ok(())
}
