//! TUS of whole files: their names, and several parts as one file.

use anyhow::ensure;
use harness::client::Request;
use harness::expect::{Faults, header, status};
use harness::site::clip;

use super::expect::message;
use super::tus::{Upload, metadata, request};
use super::{SurfaceRow, ours, row};
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("two parts of a large file become one", two_parts),
    ours("parts of any size and number become one", many_parts),
    ours("parts that are not done or not there cannot be joined", bad_parts),
    ours("metadata of the client's own are kept byte by byte", own_metadata),
    ours("metadata that cannot be are refused", bad_metadata),
    ours("a file of no bytes is done at its creation", no_bytes),
    ours("the same content and metadata have the same skylink as raw", same_as_raw),
    ours("an upload without a name is refused or named", no_name),
];

fn partial(site: &Site, bytes: &[u8]) -> anyhow::Result<Upload> {
    let creating = request("POST", "/skynet/tus").header("Upload-Concat", "partial");
    let creating = creating.header("Upload-Length", bytes.len().to_string());
    let upload =
        Upload::create(site, &creating.header("Upload-Metadata", metadata(&[("filename", "part"), ("filetype", "")])))?;
    upload.patch(site, 0, bytes)?;
    Ok(upload)
}

fn joining(site: &Site, parts: &[&Upload], absolute: bool) -> Request {
    let start = if absolute { site.url() } else { String::new() };
    let paths: Vec<String> = parts.iter().map(|part| format!("{start}{}", part.path)).collect();
    request("POST", "/skynet/tus")
        .header("Upload-Concat", format!("final;{}", paths.join(" ")))
        .header("Upload-Metadata", metadata(&[("filename", "whole.txt"), ("filetype", "text/plain")]))
}

fn two_parts(site: &Site) -> anyhow::Result<()> {
    // Skyd requires whole chunks in all parts but the last.
    let chunk = site.profile.sector as usize * usize::from(site.profile.data);
    let bytes = site.noise("two parts", 2 * chunk + 1000);
    let parts = [partial(site, &bytes[..chunk])?, partial(site, &bytes[chunk..])?];
    let whole = Upload::create(site, &joining(site, &[&parts[0], &parts[1]], true))?;
    let link = whole.skylink(site)?;
    let answer = site.get(link.path(""))?;
    ensure!(answer.expect(200)?.body == bytes, "{} bytes came back", answer.body.len());
    header(&answer, "Content-Type", "text/plain")
}

fn many_parts(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("many parts", 50_000);
    let ends = [0, 1, 5000, 5000, 20_001, 50_000];
    let parts: Vec<Upload> =
        ends.windows(2).map(|ends| partial(site, &bytes[ends[0]..ends[1]])).collect::<anyhow::Result<_>>()?;
    for absolute in [false, true] {
        let whole = Upload::create(site, &joining(site, &parts.iter().collect::<Vec<_>>(), absolute))?;
        let answer = whole.head(site)?;
        header(&answer, "Upload-Length", &bytes.len().to_string())?;
        ensure!(
            answer.need("Upload-Concat")?.starts_with("final"),
            "Upload-Concat is {:?}",
            answer.header("Upload-Concat")
        );
        site.same(&whole.skylink(site)?.path(""), &bytes)?;
    }
    header(&parts[1].head(site)?, "Upload-Concat", "partial")
}

fn bad_parts(site: &Site) -> anyhow::Result<()> {
    let done = partial(site, b"done")?;
    let creating = request("POST", "/skynet/tus").header("Upload-Concat", "partial").header("Upload-Length", "10");
    let begun = Upload::create(site, &creating.header("Upload-Metadata", metadata(&[("filename", "part")])))?;
    let unknown = Upload { path: "/skynet/tus/0123456789abcdef0123456789abcdef".to_owned() };
    let elsewhere = Upload { path: "/skynet/skyfile".to_owned() };
    let mut faults = Faults::default();
    for (what, part) in [("begun", &begun), ("unknown", &unknown), ("elsewhere", &elsewhere)] {
        let sent = site.send(&joining(site, &[&done, part], false));
        faults.check(what, sent.and_then(|answer| status(&answer, &[400, 404, 409])));
    }
    faults.check("a patch of the whole", {
        let whole = Upload::create(site, &joining(site, &[&done], false))?;
        site.send(&whole.patching(4, b"more")).and_then(|answer| status(&answer, &[400, 403, 409]))
    });
    faults.finish()
}

fn with_metadata(json: &str, length: usize) -> Request {
    request("POST", "/skynet/tus").header("Upload-Length", length.to_string()).header(
        "Upload-Metadata",
        metadata(&[("filename", "x"), ("filetype", "text/plain"), ("skyfilemetadata", json)]),
    )
}

fn own_metadata(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for json in [
        r#"{"filename":"sha256-abc","length":1000}"#,
        r#"{"filename":"folder","length":1000,"subfiles":{"a.html":{"filename":"a.html","contenttype":"text/html","len":400},"b":{"filename":"b","offset":400,"len":600}},"tryfiles":["a.html"]}"#,
        // Other order and spacing than Go would write.
        r#"{ "length": 1000, "filename": "spaced" }"#,
    ] {
        let check = || {
            let bytes = site.noise(json, 1000);
            let upload = Upload::create(site, &with_metadata(json, 1000))?;
            upload.patch(site, 0, &bytes)?;
            let link = upload.skylink(site)?;
            super::uploads::metadata(site, &link.to_string(), json)?;
            site.get(link.path("/"))?.expect(200).map(drop)
        };
        faults.check(json, check());
    }
    faults.finish()
}

fn bad_metadata(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for json in [
        "nojson",
        "[]",
        r#"{"filename":"x","length":999}"#,
        r#"{"filename":"../x","length":1000}"#,
        r#"{"length":1000}"#,
        r#"{"filename":"x","length":1000,"subfiles":{"../a":{"filename":"../a","len":1000}}}"#,
        r#"{"filename":"x","length":1000,"subfiles":{"a":{"filename":"a","offset":900,"len":1000}}}"#,
    ] {
        // At the creation, or with the last byte; but never with a skylink.
        let check = || {
            let answer = site.send(&with_metadata(json, 1000))?;
            if answer.status != 201 {
                return message(&answer, &[400], "");
            }
            let upload = Upload::of(site, &answer)?;
            let answer = site.send(&upload.patching(0, &site.noise(json, 1000)))?;
            ensure!(answer.status >= 400, "{} was taken", clip(json));
            Ok(())
        };
        faults.check(json, check());
    }
    faults.finish()
}

fn no_bytes(site: &Site) -> anyhow::Result<()> {
    let creating = request("POST", "/skynet/tus").header("Upload-Length", "0");
    let upload = Upload::create(
        site,
        &creating.header("Upload-Metadata", metadata(&[("filename", "empty"), ("filetype", "")])),
    )?;
    site.same(&upload.skylink(site)?.path(""), b"").map(drop)
}

fn same_as_raw(site: &Site) -> anyhow::Result<()> {
    let sector = site.profile.sector as usize;
    for length in [1000, sector - 200, sector + 1, 2 * sector + 7] {
        let bytes = site.noise("same as raw", length);
        let raw = site.raw("same", &bytes)?.link;
        let upload =
            Upload::create(site, &with_metadata(&format!(r#"{{"filename":"same","length":{length}}}"#), length))?;
        upload.patch(site, 0, &bytes)?;
        let link = upload.skylink(site)?;
        ensure!(link == raw, "of {length} bytes TUS makes {link}, raw {raw}");
    }
    Ok(())
}

fn no_name(site: &Site) -> anyhow::Result<()> {
    let answer = site.send(&request("POST", "/skynet/tus").header("Upload-Length", "10"))?;
    if answer.status != 201 {
        return message(&answer, &[400], "");
    }
    let upload = Upload::of(site, &answer)?;
    upload.patch(site, 0, b"0123456789")?;
    site.same(&upload.skylink(site)?.path(""), b"0123456789").map(drop)
}
