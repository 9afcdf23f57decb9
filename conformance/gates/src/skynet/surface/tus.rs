//! TUS: creation, offsets, refusals, concatenation, and the location of the skylink.

use anyhow::{Context, ensure};
use data_encoding::BASE64;
use harness::client::{Request, Response};
use harness::expect::{Faults, header, status};
use harness::site::local_path;

use super::expect::message;
use super::{SurfaceRow, ours, row};
use crate::skynet::link::Link;
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("a creation is 201 with a Location", creation),
    row("a small file in one PATCH has its skylink in the closing HEAD", one_patch),
    row("the version is asked for and told", version),
    row("a deferred length is refused", deferred_length),
    row("creations without a length or with a wrong one are refused", wrong_lengths),
    row("a PATCH at another offset is a conflict", wrong_offset),
    row("a PATCH of another type is refused", wrong_type),
    row("an upload that nobody knows is not found", unknown),
    ours("what the server can is told", options),
    ours("chunks of any size add up", any_chunks),
    ours("a creation may bring the first bytes", creation_with_upload),
    ours("a chunk cut short is kept up to where it broke", cut_short),
    ours("a PATCH beyond the length is refused", beyond_length),
    ours("a file over the limit is refused at its creation", over_limit),
];

const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");
const CHUNK_TYPE: &str = "application/offset+octet-stream";

/// A request with the protocol version.
pub fn request(method: &str, path: &str) -> Request {
    Request::new(method, path).header(VERSION.0, VERSION.1)
}

/// A value of Upload-Metadata.
pub fn metadata(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key} {}", BASE64.encode(value.as_bytes()))).collect();
    pairs.join(",")
}

fn creating(length: usize, name: &str) -> Request {
    request("POST", "/skynet/tus")
        .header("Upload-Length", length.to_string())
        .header("Upload-Metadata", metadata(&[("filename", name), ("filetype", "text/plain")]))
}

/// An upload in progress.
#[derive(Clone, Debug)]
pub struct Upload {
    pub path: String,
}

impl Upload {
    pub fn create(site: &Site, request: &Request) -> anyhow::Result<Self> {
        Upload::of(site, &site.send(request)?)
    }

    pub fn of(site: &Site, answer: &Response) -> anyhow::Result<Self> {
        status(answer, &[201])?;
        header(answer, "Tus-Resumable", "1.0.0")?;
        Ok(Upload { path: local_path(&site.target, answer.need("Location")?)? })
    }

    /// A named upload of this many bytes.
    pub fn named(site: &Site, length: usize, name: &str) -> anyhow::Result<Self> {
        Upload::create(site, &creating(length, name))
    }

    pub fn patching(&self, offset: usize, bytes: &[u8]) -> Request {
        request("PATCH", &self.path)
            .header("Content-Type", CHUNK_TYPE)
            .header("Upload-Offset", offset.to_string())
            .body(bytes)
    }

    /// Sends a chunk that must be accepted whole.
    pub fn patch(&self, site: &Site, offset: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let answer = site.send(&self.patching(offset, bytes))?;
        status(&answer, &[204])?;
        header(&answer, "Upload-Offset", &(offset + bytes.len()).to_string())
    }

    pub fn head(&self, site: &Site) -> anyhow::Result<Response> {
        site.send(&request("HEAD", &self.path))
    }

    pub fn offset(&self, site: &Site) -> anyhow::Result<usize> {
        let answer = self.head(site)?;
        status(&answer, &[200])?;
        answer.need("Upload-Offset")?.parse().context("Upload-Offset")
    }

    /// The skylink, found as clients find it.
    pub fn skylink(&self, site: &Site) -> anyhow::Result<Link> {
        let answer = self.head(site)?;
        status(&answer, &[200])?;
        Link::parse(answer.need("Skynet-Skylink")?)
    }
}

fn creation(site: &Site) -> anyhow::Result<()> {
    let upload = Upload::named(site, 1000, "created.txt")?;
    let answer = upload.head(site)?;
    status(&answer, &[200])?;
    header(&answer, "Upload-Offset", "0")?;
    header(&answer, "Upload-Length", "1000")?;
    ensure!(answer.need("Cache-Control")?.contains("no-store"), "a HEAD may be cached");
    ensure!(answer.header("Skynet-Skylink").is_none(), "there is a skylink already");
    Ok(())
}

fn one_patch(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("one patch", 1000);
    let upload = Upload::named(site, bytes.len(), "one.txt")?;
    upload.patch(site, 0, &bytes)?;
    let link = upload.skylink(site)?;
    let answer = site.same(&link.path(""), &bytes)?;
    header(&answer, "Content-Type", "text/plain")?;
    let want = r#"{"filename":"one.txt","length":1000,"subfiles":{"one.txt":{"filename":"one.txt","contenttype":"text/plain","len":1000}}}"#;
    super::uploads::metadata(site, &link.to_string(), want)?;
    // Older clients of skyd look here: in the upload's metadata, and at a separate address.
    let told = upload.head(site)?;
    let in_metadata = format!("Skylink {}", BASE64.encode(link.to_string().as_bytes()));
    ensure!(
        told.need("Upload-Metadata")?.contains(&in_metadata),
        "Upload-Metadata is {:?}",
        told.header("Upload-Metadata")
    );
    let id = upload.path.rsplit('/').next().unwrap_or_default();
    let said = site.get(format!("/skynet/upload/tus/{id}"))?;
    ensure!(said.expect(200)?.json()?["skylink"] == link.to_string(), "it says {}", said.text());
    Ok(())
}

fn version(site: &Site) -> anyhow::Result<()> {
    let upload = Upload::named(site, 10, "version")?;
    let mut faults = Faults::default();
    for (method, path) in [("POST", "/skynet/tus"), ("PATCH", &upload.path)] {
        let none = Request::new(method, path).header("Upload-Length", "10");
        let old = none.clone().header("Tus-Resumable", "0.2.2");
        for (what, request) in [("none", none), ("old", old)] {
            let check = site.send(&request).and_then(|answer| status(&answer, &[412]));
            faults.check(&format!("{method} {what}"), check);
        }
    }
    faults.finish()
}

fn deferred_length(site: &Site) -> anyhow::Result<()> {
    let creating = request("POST", "/skynet/tus").header("Upload-Defer-Length", "1");
    let creating = creating.header("Upload-Metadata", metadata(&[("filename", "x"), ("filetype", "y")]));
    // The TUS library of skyd answers that it is not implemented.
    status(&site.send(&creating)?, &[400, 501])
}

fn wrong_lengths(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for length in [None, Some("-1"), Some("x"), Some("")] {
        let mut creating = request("POST", "/skynet/tus").header("Upload-Metadata", metadata(&[("filename", "x")]));
        if let Some(length) = length {
            creating = creating.header("Upload-Length", length);
        }
        let sent = site.send(&creating);
        faults.check(length.unwrap_or("none"), sent.and_then(|answer| status(&answer, &[400])));
    }
    faults.finish()
}

fn wrong_offset(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("offset", 100);
    let upload = Upload::named(site, 100, "offset")?;
    status(&site.send(&upload.patching(50, &bytes[50..]))?, &[409])?;
    ensure!(upload.offset(site)? == 0, "a refused chunk moved the offset");
    upload.patch(site, 0, &bytes)?;
    site.same(&upload.skylink(site)?.path(""), &bytes).map(drop)
}

fn wrong_type(site: &Site) -> anyhow::Result<()> {
    let upload = Upload::named(site, 100, "type")?;
    let patch = request("PATCH", &upload.path).header("Upload-Offset", "0");
    let patch = patch.header("Content-Type", "application/octet-stream").body(vec![0; 100]);
    status(&site.send(&patch)?, &[400, 415])?;
    ensure!(upload.offset(site)? == 0, "a refused chunk moved the offset");
    Ok(())
}

fn unknown(site: &Site) -> anyhow::Result<()> {
    let upload = Upload { path: "/skynet/tus/0123456789abcdef0123456789abcdef".to_owned() };
    status(&upload.head(site)?, &[404, 410])?;
    status(&site.send(&upload.patching(0, b"x"))?, &[404, 410])
}

fn options(site: &Site) -> anyhow::Result<()> {
    let answer = site.send(&Request::new("OPTIONS", "/skynet/tus"))?;
    status(&answer, &[200, 204])?;
    header(&answer, "Tus-Resumable", "1.0.0")?;
    ensure!(answer.need("Tus-Version")?.split(',').any(|version| version.trim() == "1.0.0"), "no version 1.0.0");
    let extensions: Vec<String> = answer.need("Tus-Extension")?.split(',').map(|name| name.trim().to_owned()).collect();
    for extension in ["creation", "creation-with-upload", "concatenation"] {
        ensure!(extensions.iter().any(|name| name == extension), "the extensions are {extensions:?}");
    }
    let limit: u64 = answer.need("Tus-Max-Size")?.parse().context("Tus-Max-Size")?;
    ensure!(limit > 1 << 30, "the limit is {limit}");
    Ok(())
}

fn any_chunks(site: &Site) -> anyhow::Result<()> {
    let sector = site.profile.sector as usize;
    let bytes = site.noise("any chunks", sector + 5000);
    let upload = Upload::named(site, bytes.len(), "chunks.txt")?;
    let mut at = 0;
    for size in [1, 63, 4096, 4097, sector / 2, 0, bytes.len()] {
        let end = (at + size).min(bytes.len());
        upload.patch(site, at, &bytes[at..end])?;
        at = end;
        ensure!(upload.offset(site)? == at, "the offset is not {at}");
    }
    site.same(&upload.skylink(site)?.path(""), &bytes).map(drop)
}

fn creation_with_upload(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("with upload", 3000);
    for first in [1000, 3000] {
        let answer = site.send(&creating(3000, "with").header("Content-Type", CHUNK_TYPE).body(&bytes[..first]))?;
        let upload = Upload::of(site, &answer)?;
        header(&answer, "Upload-Offset", &first.to_string())?;
        if first < bytes.len() {
            upload.patch(site, first, &bytes[first..])?;
        }
        site.same(&upload.skylink(site)?.path(""), &bytes)?;
    }
    Ok(())
}

fn cut_short(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("cut short", 300_000);
    let upload = Upload::named(site, bytes.len(), "cut.txt")?;
    let fields = format!("Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: {CHUNK_TYPE}");
    let partial =
        harness::partial::Partial::sized(&site.target, "PATCH", &upload.path, &fields, bytes.len(), &bytes[..200_000])?;
    drop(partial);
    let mut at = upload.offset(site)?;
    // The server sees the end of the connection a moment later.
    harness::partial::eventually(std::time::Duration::from_secs(10), || {
        let now = upload.offset(site)?;
        let rests = now == at;
        at = now;
        ensure!(rests && site.send(&upload.patching(now, b""))?.status == 204, "the chunk is still on its way");
        Ok(())
    })?;
    ensure!(at <= 200_000, "the offset is {at}, and 200000 bytes were sent");
    upload.patch(site, at, &bytes[at..])?;
    site.same(&upload.skylink(site)?.path(""), &bytes).map(drop)
}

fn beyond_length(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("beyond", 100);
    let upload = Upload::named(site, 50, "beyond")?;
    message(&site.send(&upload.patching(0, &bytes))?, &[400, 413], "")?;
    upload.patch(site, 0, &bytes[..50])?;
    site.same(&upload.skylink(site)?.path(""), &bytes[..50]).map(drop)
}

fn over_limit(site: &Site) -> anyhow::Result<()> {
    let answer = site.send(&creating(1 << 60, "huge"))?;
    message(&answer, &[413], "")
}
