//! Directories: the content at the root, below it, and at paths with special characters.

use anyhow::ensure;
use harness::client::Request;
use harness::expect::{Faults, header, status};

use super::expect::{begins, body, message};
use super::{SurfaceRow, ours, row};
use crate::skynet::form::Form;
use crate::skynet::site::{Site, escape};

pub const ROWS: &[SurfaceRow] = &[
    row("a root with a page is redirected to its slash", redirect),
    row("HEAD and attachments of such a root are not", no_redirect),
    row("a directory of one file is that file", one_file),
    row("files of a directory have their own types and names", files),
    row("a directory without a page is a zip", no_page),
    row("paths with spaces, marks and unicode", odd_paths),
    row("what is not in a directory is not found", absent),
    row("a subdomain is a directory's root", subdomain),
    ours("a subdomain in capitals is the same", capitals),
];

fn redirect(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("index.html", &site.text("root")), ("b.txt", b"b")])?.link;
    let mut faults = Faults::default();
    let prefixes = [format!("/{link}"), format!("/skynet/skylink/{link}"), format!("/{}", link.base32())];
    for prefix in prefixes {
        for (query, rest) in [("", "/"), ("?a=b", "/?a=b")] {
            let check = || {
                let answer = site.get(format!("{prefix}{query}"))?;
                status(&answer, &[308])?;
                let location = answer.need("Location")?;
                // Skyd names only the last part, relative to the requested path.
                let last = prefix.rsplit('/').next().unwrap_or_default();
                let wanted =
                    [format!("{prefix}{rest}"), format!("{last}{rest}"), format!("{}{prefix}{rest}", site.url())];
                ensure!(wanted.iter().any(|want| want == location), "Location is {location:?}");
                Ok(())
            };
            faults.check(&format!("{prefix}{query}"), check());
        }
        faults.check(&prefix, site.same(&format!("{prefix}/"), &site.text("root")).map(drop));
    }
    faults.finish()
}

fn no_redirect(site: &Site) -> anyhow::Result<()> {
    let text = site.text("no redirect");
    let link = site.folder("", &[("index.html", &text), ("b.txt", b"b")])?.link;
    let head = site.head(link.path(""))?;
    header(head.expect(200)?, "Content-Length", &text.len().to_string())?;
    let answer = site.get(link.path("?attachment=true"))?;
    header(answer.expect(200)?, "Content-Disposition", "attachment; filename=\"index.html\"")?;
    body(&answer, &text)
}

fn one_file(site: &Site) -> anyhow::Result<()> {
    let text = site.text("only");
    let form = Form::new().file("files[]", "only.txt", Some("text/x-only"), &text);
    let link = site.form("filename=folder", &form)?.link;
    for rest in ["", "/", "/only.txt"] {
        let answer = site.same(&link.path(rest), &text)?;
        header(&answer, "Content-Type", "text/x-only")?;
        header(&answer, "Content-Disposition", "inline; filename=\"only.txt\"")?;
        header(&answer, "ETag", &link.etag("/only.txt", ""))?;
    }
    Ok(())
}

fn files(site: &Site) -> anyhow::Result<()> {
    let text = site.text("b");
    let form = Form::new()
        .file("files[]", "index.html", Some("text/html"), b"<p>")
        .file("files[]", "a/b.css", Some("text/css"), &text)
        .file("files[]", "a/empty.txt", Some("text/plain"), b"");
    let link = site.form("filename=folder", &form)?.link;
    let answer = site.same(&link.path("/a/b.css"), &text)?;
    header(&answer, "Content-Type", "text/css")?;
    header(&answer, "Content-Disposition", "inline; filename=\"b.css\"")?;
    header(&answer, "Skynet-Skylink", &link.to_string())?;
    site.same(&link.path("/a/empty.txt"), b"").map(drop)
}

fn no_page(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("x.txt", &site.text("x")), ("y.txt", b"y")])?.link;
    for rest in ["", "/"] {
        let answer = site.get(link.path(rest))?;
        header(answer.expect(200)?, "Content-Type", "application/zip")?;
        header(&answer, "Content-Disposition", "attachment; filename=\"folder.zip\"")?;
        header(&answer, "ETag", &link.etag("/", "zip"))?;
        ensure!(answer.body.starts_with(b"PK\x03\x04"), "it does not begin as a zip");
    }
    let answer = site.head(link.path(""))?;
    begins(answer.expect(200)?, "Content-Type", "application/zip")
}

fn odd_paths(site: &Site) -> anyhow::Result<()> {
    let names = [
        "a file.txt",
        "Grüße/漢字 🚀.txt",
        "100%.txt",
        "what?.txt",
        "a#b.txt",
        "plus+and&.txt",
        "semi;colon.txt",
        "%20.txt",
    ];
    let texts: Vec<Vec<u8>> = names.iter().map(|name| site.text(name)).collect();
    let files: Vec<(&str, &[u8])> = names.iter().copied().zip(texts.iter().map(Vec::as_slice)).collect();
    let link = site.folder("", &files)?.link;
    let mut faults = Faults::default();
    for (name, text) in files {
        faults.check(name, site.same(&link.path(&format!("/{}", escape(name))), text).map(drop));
    }
    faults.finish()
}

fn absent(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("index.html", &site.text("here")), ("a/b.txt", b"b")])?.link;
    let mut faults = Faults::default();
    for path in ["/nope", "/a/nope.txt", "/a/b.txt/", "/a/b.txt/c", "/A/B.TXT", "/index.htm"] {
        let words = format!("failed to download contents for path: {path}");
        faults.check(path, site.get(link.path(path)).and_then(|answer| message(&answer, &[404], &words)));
    }
    faults.finish()
}

fn subdomain(site: &Site) -> anyhow::Result<()> {
    let text = site.text("subdomain");
    let link = site.folder("", &[("index.html", &text), ("a/b c.txt", b"b")])?.link;
    let host = format!("{}.localhost", link.base32());
    let answer = site.send_to(&host, &Request::get("/"))?;
    body(answer.expect(200)?, &text)?;
    header(&answer, "Skynet-Skylink", &link.to_string())?;
    body(site.send_to(&host, &Request::get("/a/b%20c.txt"))?.expect(200)?, b"b")?;
    message(&site.send_to(&host, &Request::get("/nope"))?, &[404], "/nope")
}

fn capitals(site: &Site) -> anyhow::Result<()> {
    let text = site.text("capitals");
    let host = format!("{}.localhost", site.raw("capitals", &text)?.link.base32());
    body(site.send_to(&host.to_uppercase(), &Request::get("/"))?.expect(200)?, &text)
}
