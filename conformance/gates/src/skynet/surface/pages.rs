//! The file for a path: tryfiles, error pages, default paths.

use harness::expect::{Faults, header, status};

use super::expect::{body, message};
use super::uploads::metadata;
use super::{SurfaceRow, row};
use crate::skynet::form::Form;
use crate::skynet::site::{Site, escape};

pub const ROWS: &[SurfaceRow] = &[
    row("an index of a folder is served at the folder", nested_index),
    row("tryfiles by name and by absolute path", tryfiles),
    row("no tryfiles at all", no_tryfiles),
    row("error pages come with their status and type", error_pages),
    row("a default path is served at the root only", default_path),
    row("a disabled default path is a zip", disabled_default_path),
    row("pages stand in the metadata", in_metadata),
];

/// Checks the content at each path below a skylink.
fn served(site: &Site, link: &crate::skynet::link::Link, cases: &[(&str, &[u8])]) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for (path, want) in cases {
        faults.check(path, site.same(&link.path(path), want).map(drop));
    }
    faults.finish()
}

fn nested_index(site: &Site) -> anyhow::Result<()> {
    let link =
        site.folder("", &[("index.html", &site.text("root")), ("a/index.html", b"in a"), ("b/c.txt", b"c")])?.link;
    served(site, &link, &[("/", &site.text("root")), ("/a", b"in a"), ("/a/", b"in a"), ("/b/c.txt", b"c")])?;
    // A directory without an index is a zip of its own.
    let answer = site.get(link.path("/b"))?;
    header(answer.expect(200)?, "Content-Type", "application/zip")
}

fn tryfiles(site: &Site) -> anyhow::Result<()> {
    let query = format!("tryfiles={}", escape(r#"["home.html","/all.html"]"#));
    let files: &[(&str, &[u8])] = &[
        ("home.html", &site.text("home")),
        ("all.html", b"for all"),
        ("a/home.html", b"home of a"),
        ("a/x.txt", b"x"),
    ];
    let link = site.folder(&query, files)?.link;
    let cases: &[(&str, &[u8])] = &[
        ("/", &site.text("home")),
        ("/a", b"home of a"),
        ("/a/", b"home of a"),
        ("/a/x.txt", b"x"),
        ("/nope", b"for all"),
        ("/a/nope/deep", b"for all"),
    ];
    served(site, &link, cases)
}

fn no_tryfiles(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("tryfiles=%5B%5D", &[("index.html", &site.text("index")), ("a/index.html", b"a")])?.link;
    message(&site.get(link.path("/nope"))?, &[404], "/nope")?;
    let answer = site.get(link.path("/a"))?;
    header(answer.expect(200)?, "Content-Type", "application/zip")
}

fn error_pages(site: &Site) -> anyhow::Result<()> {
    let query = format!("tryfiles=[]&errorpages={}", escape(r#"{"404":"/lost.html"}"#));
    let lost = site.text("lost");
    let form = Form::new().file("files[]", "index.html", Some("text/html"), b"<p>").file(
        "files[]",
        "lost.html",
        Some("text/html"),
        &lost,
    );
    let link = site.form(&format!("filename=folder&{query}"), &form)?.link;
    let answer = site.get(link.path("/nope"))?;
    status(&answer, &[404])?;
    header(&answer, "Content-Type", "text/html")?;
    body(&answer, &lost)?;
    let head = site.head(link.path("/nope"))?;
    status(&head, &[404])
}

fn default_path(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("defaultpath=main.html", &[("main.html", &site.text("main")), ("z.txt", b"z")])?.link;
    status(&site.get(link.path(""))?, &[308])?;
    served(site, &link, &[("/", &site.text("main")), ("/z.txt", b"z")])?;
    message(&site.get(link.path("/nope"))?, &[404], "/nope")
}

fn disabled_default_path(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("disabledefaultpath=true", &[("index.html", &site.text("index")), ("z.txt", b"z")])?.link;
    for rest in ["", "/"] {
        header(site.get(link.path(rest))?.expect(200)?, "Content-Type", "application/zip")?;
    }
    served(site, &link, &[("/index.html", &site.text("index"))])
}

fn in_metadata(site: &Site) -> anyhow::Result<()> {
    let start = r#"{"filename":"folder","length":4,"subfiles":{"a.html":{"filename":"a.html","len":2},"b.html":{"filename":"b.html","offset":2,"len":2}}"#;
    let cases = [
        ("defaultpath=a.html", r#","defaultpath":"/a.html"}"#),
        ("disabledefaultpath=true", r#","disabledefaultpath":true}"#),
        ("tryfiles=%5B%22a.html%22,%22/b.html%22%5D", r#","tryfiles":["a.html","/b.html"]}"#),
        ("tryfiles=%5B%5D", "}"),
        (
            "tryfiles=%5B%5D&errorpages=%7B%22500%22:%22/b.html%22,%22404%22:%22/a.html%22%7D",
            r#","errorpages":{"404":"/a.html","500":"/b.html"}}"#,
        ),
        ("", r#","tryfiles":["index.html"]}"#),
    ];
    let mut faults = Faults::default();
    for (query, rest) in cases {
        let check = || {
            let link = site.folder(query, &[("a.html", b"aa"), ("b.html", b"bb")])?.link;
            metadata(site, &link.to_string(), &format!("{start}{rest}"))
        };
        faults.check(query, check());
    }
    faults.finish()
}
