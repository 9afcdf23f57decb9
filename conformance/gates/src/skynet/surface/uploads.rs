//! Uploads: raw, as a form, with and without a length, dry.

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::expect::{Faults, header, not_here};
use harness::site::sha256;

use super::expect::body;
use super::{SurfaceRow, ours, row};
use crate::skynet::form::Form;
use crate::skynet::site::{Profile, Site, accepted, escape, raw_request, upload_path};

pub const ROWS: &[SurfaceRow] = &[
    row("a raw upload answers its skylink in the body and as a header", answer_of_an_upload),
    row("the metadata of a raw upload are its name and length", metadata_of_raw),
    row("the metadata of a form are as Go marshals them", metadata_of_form),
    row("a raw body without a length is taken", raw_without_length),
    row("a form without a length is taken", form_without_length),
    row("the same upload has the same skylink", same_skylink),
    row("what follows /skynet/skyfile/ does not matter", siapath_does_not_matter),
    row("a dry run gives the skylink and stores nothing", dry_run),
    row("a mode stands in the metadata, in octal before", mode),
    row("no bytes at all, raw and as a form", nothing),
    row("names with marks, spaces and unicode", odd_names),
    row("the skylinks that official portals gave", recorded_small),
    row("the skylinks of layout 1+4", recorded_one_plus_four),
    ours("a file of a form in the field of a name that nobody knows", unknown_field),
];

fn answer_of_an_upload(site: &Site) -> anyhow::Result<()> {
    let uploaded = site.raw("answer.txt", &site.text("an answer"))?;
    header(&uploaded.answer, "Content-Type", "application/json; charset=utf-8")?;
    let said = uploaded.answer.json()?;
    ensure!(
        said["merkleroot"] == uploaded.link.root(),
        "merkleroot is {}, not {}",
        said["merkleroot"],
        uploaded.link.root()
    );
    ensure!(said["bitfield"] == uploaded.link.bitfield(), "bitfield is {}", said["bitfield"]);
    let members = said.as_object().map_or(0, serde_json::Map::len);
    ensure!(members == 3, "the body has {members} members: {said}");
    Ok(())
}

fn metadata_of_raw(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("raw metadata");
    let link = site.raw("meta.txt", &bytes)?.link;
    metadata(site, &link.to_string(), &format!(r#"{{"filename":"meta.txt","length":{}}}"#, bytes.len()))
}

/// Checks the metadata at a skylink, byte for byte.
pub fn metadata(site: &Site, link: &str, want: &str) -> anyhow::Result<()> {
    let answer = site.get(format!("/skynet/metadata/{link}"))?;
    answer.expect(200)?;
    header(&answer, "Content-Type", "application/json")?;
    body(&answer, want.as_bytes())
}

fn metadata_of_form(site: &Site) -> anyhow::Result<()> {
    let form = Form::new().file("file", "f.txt", Some("text/plain"), b"seven77");
    let link = site.form("", &form)?.link.to_string();
    let want = r#"{"filename":"f.txt","length":7,"subfiles":{"f.txt":{"filename":"f.txt","contenttype":"text/plain","len":7}},"tryfiles":["index.html"]}"#;
    metadata(site, &link, want)?;
    let files: &[(&str, &[u8])] = &[("z.bin", b"zz"), ("a/empty", b""), ("a/b.bin", b"bbb")];
    let link = site.folder("", files)?.link.to_string();
    let want = r#"{"filename":"folder","length":5,"subfiles":{"a/b.bin":{"filename":"a/b.bin","offset":2,"len":3},"a/empty":{"filename":"a/empty","offset":2},"z.bin":{"filename":"z.bin","len":2}},"tryfiles":["index.html"]}"#;
    metadata(site, &link, want)
}

fn raw_without_length(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("chunked", 3500);
    let request = Request::new("POST", upload_path("filename=chunked"));
    let request = request.header("Content-Type", "text/plain").chunked(bytes.clone(), 700);
    let link = accepted(site.send(&request)?)?.link;
    ensure!(link == site.raw("chunked", &bytes)?.link, "another skylink than with a length");
    site.same(&link.path(""), &bytes).map(drop)
}

fn form_without_length(site: &Site) -> anyhow::Result<()> {
    let bytes = site.noise("chunked form", 3000);
    let form = Form::new().file("file", "chunked.bin", None, &bytes);
    let link = accepted(site.send(&form.chunked_request(&upload_path(""), 333))?)?.link;
    site.same(&link.path(""), &bytes).map(drop)
}

fn same_skylink(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("the same");
    let one = site.raw("same", &bytes)?.link;
    ensure!(one == site.raw("same", &bytes)?.link, "the second upload has another skylink");
    ensure!(one != site.raw("other", &bytes)?.link, "another name has the same skylink");
    Ok(())
}

fn siapath_does_not_matter(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("a path");
    let link = site.raw("path", &bytes)?.link;
    for rest in ["/", "/a-name", "/deep/er"] {
        let request = Request::new("POST", format!("/skynet/skyfile{rest}?filename=path"));
        let request = request.header("Content-Type", "application/octet-stream").body(bytes.clone());
        let other = accepted(site.send(&request)?).with_context(|| rest.to_owned())?.link;
        ensure!(link == other, "{rest} gives another skylink");
    }
    Ok(())
}

fn dry_run(site: &Site) -> anyhow::Result<()> {
    let bytes = site.text("dry");
    let dry = accepted(site.send(&raw_request("filename=dry&dryrun=true", &bytes))?)?.link;
    let answer = site.get(dry.path(""))?;
    ensure!(answer.status == 404, "after a dry run the skylink answers {}", answer.status);
    ensure!(site.raw("dry", &bytes)?.link == dry, "the upload has another skylink than the dry run");
    site.same(&dry.path(""), &bytes).map(drop)
}

fn mode(site: &Site) -> anyhow::Result<()> {
    let link = accepted(site.send(&raw_request("filename=m&mode=644", b"xyz"))?)?.link.to_string();
    metadata(site, &link, r#"{"filename":"m","length":3,"mode":420}"#)
}

fn nothing(site: &Site) -> anyhow::Result<()> {
    let raw = site.raw("nothing", b"")?.link;
    let form = site.form("", &Form::new().file("file", "nothing", None, b""))?.link;
    metadata(site, &raw.to_string(), r#"{"filename":"nothing","length":0}"#)?;
    for link in [raw, form] {
        let answer = site.same(&link.path(""), b"")?;
        header(&answer, "Content-Length", "0")?;
    }
    Ok(())
}

fn odd_names(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for name in [" foo bar ", "Grüße 漢字 🚀 ż.txt", "a%20b?c#d&e=f+g", "quote\"d", "back\\slash", "dir/in/name.txt"]
    {
        let check = || {
            let bytes = site.text(name);
            let raw = site.raw(name, &bytes)?.link;
            let said = site.get(format!("/skynet/metadata/{raw}"))?.json()?;
            ensure!(said["filename"] == name, "the name is {}", said["filename"]);
            site.same(&raw.path(""), &bytes).map(drop)
        };
        faults.check(name, check());
    }
    faults.finish()
}

/// Skylinks from the tests of skynet-js and nodejs-skynet, which read them from public portals.
fn recorded_small(site: &Site) -> anyhow::Result<()> {
    needs_sector(site)?;
    let cases = [
        (
            r#"{"_data":{"example":"This is some example JSON data."},"_v":2}"#,
            "AAA_uTgxYiKcqpGMLNe2V52fLc3FivZBZStLVqMSeHnGtQ",
        ),
        (
            r#"{"_data":{"example":"This is some example JSON data for SkyDB V2."},"_v":2}"#,
            "AAB1QJWQV0y2ynDXnJvOt0uh-THq-pJj2_layW5fjPXhTQ",
        ),
    ];
    for (content, want) in cases {
        let link = site.form("", &Form::new().file("file", "testdatakey", None, content.as_bytes()))?.link;
        ensure!(link.to_string() == want, "{content} has {link}, not {want}");
    }
    Ok(())
}

fn needs_sector(site: &Site) -> anyhow::Result<()> {
    if site.profile.sector != Profile::DEFAULT.sector {
        return Err(not_here("recorded with sectors of 4 MiB"));
    }
    Ok(())
}

/// Measured on real skyd with sectors of 4 MiB. The content is SHA-256 of the length's digits, repeated.
fn recorded_one_plus_four(site: &Site) -> anyhow::Result<()> {
    if site.profile != Profile::DEFAULT {
        return Err(not_here("recorded with 4MiB/1+4"));
    }
    let cases = [
        (0, "AAD2E1BSqhb-sofNgWEyFoZ8tOZ6S-v2Knd62b5RsqpfOg"),
        (1024, "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA"),
        (102_400, "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA"),
        (5_242_880, "AABIcFVAsC5P3wDC1GDsVHjIlP-dCfj3BbTTwrzMoLMdQg"),
        (10_485_760, "AADMe5DLWKS-jDVrU_g6s1NvB6QGFBcT7V_3tlU_ykQpVA"),
    ];
    let mut faults = Faults::default();
    for (length, want) in cases {
        let check = || {
            let bytes = recorded_content(length);
            let name = sha256(&bytes).replace(':', "-");
            let link = accepted(site.send(&raw_request(&format!("filename={}", escape(&name)), &bytes))?)?.link;
            ensure!(link.to_string() == want, "the skylink is {link}, not {want}");
            Ok(())
        };
        faults.check(&format!("{length} bytes"), check());
    }
    faults.finish()
}

fn recorded_content(length: usize) -> Vec<u8> {
    use sha2::Digest as _;
    let block = sha2::Sha256::digest(length.to_string());
    block.iter().copied().cycle().take(length).collect()
}

/// Skyd accepts any field. We may refuse it, but must say so.
fn unknown_field(site: &Site) -> anyhow::Result<()> {
    let answer = site.send(&Form::new().file("other", "x.txt", None, b"x").request(&upload_path("")))?;
    if answer.status != 200 {
        super::expect::message(&answer, &[400], "")?;
    }
    Ok(())
}
