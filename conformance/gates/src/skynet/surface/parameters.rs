//! Wrong parameters, each refused with a message.

use harness::client::Request;
use harness::expect::Faults;

use super::expect::{message, refused};
use super::{SurfaceRow, row};
use crate::skynet::form::Form;
use crate::skynet::site::{Site, escape, raw_request, upload_path};

pub const ROWS: &[SurfaceRow] = &[
    row("an upload without Content-Type is refused", without_type),
    row("wrong values of an upload's parameters are refused", upload_values),
    row("parameters that exclude each other are refused", excluding),
    row("names that climb or begin with a slash are refused", bad_names),
    row("tryfiles and error pages that cannot be are refused", bad_pages),
    row("forms without a file or a boundary are refused", bad_forms),
    row("wrong values of a download's parameters are refused", download_values),
    row("skylinks that are none are refused", malformed_skylinks),
    row("skylinks that nobody has are not found", unknown_skylinks),
];

fn without_type(site: &Site) -> anyhow::Result<()> {
    let answer = site.send(&Request::new("POST", upload_path("filename=x")).body("x"))?;
    message(&answer, &[400], "'Content-Type' header")
}

/// Uploads raw with each query, and expects a refusal with these words.
fn raw_queries(site: &Site, cases: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for (query, words) in cases {
        faults.check(query, site.send(&raw_request(query, b"x")).and_then(|answer| message(&answer, &[400], words)));
    }
    faults.finish()
}

/// Uploads a form with each query, and expects a refusal with these words.
fn form_queries(site: &Site, cases: &[(&str, &str)]) -> anyhow::Result<()> {
    let form = Form::new().file("file", "f.txt", Some("text/plain"), b"form");
    let mut faults = Faults::default();
    for (query, words) in cases {
        let sent = site.send(&form.request(&upload_path(query)));
        faults.check(query, sent.and_then(|answer| refused(&answer, words)));
    }
    faults.finish()
}

fn upload_values(site: &Site) -> anyhow::Result<()> {
    raw_queries(
        site,
        &[
            ("filename=x&dryrun=maybe", "'dryrun' parameter"),
            ("filename=x&mode=9", "'mode' parameter"),
            ("filename=x&tryfiles=nojson", "'tryfiles' parameter"),
            ("filename=x&errorpages=nojson", "'errorpages' parameter"),
        ],
    )
}

fn excluding(site: &Site) -> anyhow::Result<()> {
    raw_queries(
        site,
        &[
            ("filename=x&defaultpath=a", "can only be set on multipart uploads"),
            ("filename=x&disabledefaultpath=true", "can only be set on multipart uploads"),
        ],
    )?;
    form_queries(
        site,
        &[
            ("defaultpath=f.txt&disabledefaultpath=true", "mutually exclusive"),
            ("defaultpath=f.txt&tryfiles=%5B%22f.txt%22%5D", "not compatible with tryfiles"),
        ],
    )
}

fn bad_names(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for name in ["", "/a", "..", ".", "a/../b", "../a", "./a"] {
        let sent = site.send(&raw_request(&format!("filename={}", escape(name)), b"x"));
        faults.check(&format!("raw {name}"), sent.and_then(|answer| refused(&answer, "")));
        let form = Form::new().file("files[]", "good.txt", None, b"x").file("files[]", name, None, b"x");
        let sent = site.send(&form.request(&upload_path("filename=folder")));
        // Without a name, a part is not a file.
        if !name.is_empty() {
            faults.check(&format!("form {name}"), sent.and_then(|answer| refused(&answer, "")));
        }
    }
    faults.finish()
}

fn bad_pages(site: &Site) -> anyhow::Result<()> {
    form_queries(
        site,
        &[
            ("tryfiles=%5B%22/nope.html%22%5D", ""),
            ("errorpages=%7B%22404%22:%22f.txt%22%7D", ""),
            ("errorpages=%7B%22404%22:%22/nope.txt%22%7D", ""),
            ("errorpages=%7B%22200%22:%22/f.txt%22%7D", ""),
            ("defaultpath=nope.html", ""),
        ],
    )
}

fn bad_forms(site: &Site) -> anyhow::Result<()> {
    refused(&site.send(&Form::new().request(&upload_path("filename=empty")))?, "")?;
    let request = Request::new("POST", upload_path("filename=x")).header("Content-Type", "multipart/form-data");
    refused(&site.send(&request.body("x"))?, "boundary")
}

fn download_values(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("values", &site.text("values"))?.link;
    let mut faults = Faults::default();
    let cases = [
        ("attachment=maybe", "'attachment' parameter"),
        ("include-layout=maybe", "'include-layout' parameter"),
        ("format=rar", "allowed values are: 'concat', 'tar', 'targz' and 'zip'"),
        ("start=3", "the 'start' and 'end' params must be both blank or provided"),
        ("end=3", "the 'start' and 'end' params must be both blank or provided"),
        ("start=5&end=3", "'start' param should be less than or equal to 'end' param"),
        ("start=a&end=3", "'start' parameter"),
        ("start=0&end=-1", "'end' parameter"),
        ("timeout=0", "timeout"),
        ("timeout=x", "timeout"),
        ("timeout=901", "timeout"),
    ];
    for (query, words) in cases {
        let sent = site.get(link.path(&format!("?{query}")));
        faults.check(query, sent.and_then(|answer| message(&answer, &[400], words)));
    }
    let both = Request::get(link.path("?start=0&end=1")).header("Range", "bytes=0-1");
    let words = "range request should use either the Header or the query params but not both";
    faults.check("start and Range", site.send(&both).and_then(|answer| message(&answer, &[400], words)));
    faults.finish()
}

fn malformed_skylinks(site: &Site) -> anyhow::Result<()> {
    // Too short, with a wrong letter, and with a bitfield of eight ones.
    let links =
        ["xyz", "AABvi7JtJbQSMAcDwnUnmp2FKDPjg8.tTTFP4BwMSxVdEg", "_ANvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg"];
    let mut faults = Faults::default();
    for link in links {
        for place in ["skylink", "metadata", "basesector", "trustless/basesector", "trustless/file/v1", "resolve"] {
            let sent = site.get(format!("/skynet/{place}/{link}"));
            faults.check(&format!("{place} {link}"), sent.and_then(|answer| message(&answer, &[400], "skylink")));
        }
        let sent = site.send(&Request::new("POST", format!("/skynet/pin/{link}")));
        faults.check(&format!("pin {link}"), sent.and_then(|answer| message(&answer, &[400], "skylink")));
    }
    faults.finish()
}

fn unknown_skylinks(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("known", &site.text("known"))?.link.unknown();
    let mut faults = Faults::default();
    for place in ["skylink", "metadata", "basesector", "trustless/basesector", "trustless/file/v1"] {
        let sent = site.get(format!("/skynet/{place}/{link}"));
        faults.check(place, sent.and_then(|answer| message(&answer, &[404], "")));
    }
    let sent = site.send(&Request::new("POST", format!("/skynet/pin/{link}")));
    faults.check("pin", sent.and_then(|answer| message(&answer, &[404], "")));
    faults.finish()
}
