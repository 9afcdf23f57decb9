//! A portal with an API key: permitted writers, and blocked skylinks.

use std::path::Path;

use anyhow::ensure;
use data_encoding::{BASE64, HEXLOWER};
use harness::client::{Request, Response};
use harness::expect::{Faults, status};
use serde_json::{Value, json};

use super::Suite;
use super::entry::{Place, blake2b};
use super::link::Link;
use super::process::Portal;
use super::site::{Profile, Site, accepted, raw_request};
use super::surface::{Upload, message, tus_request};

const KEY: &str = "a-key-of-the-judge";

/// A portal whose writers need the key.
fn start(suite: &Suite, binary: &Path, name: &str) -> anyhow::Result<(Portal, Site)> {
    let folder = suite.scratch.join(name);
    let log = suite.reports.join(format!("{name}.log"));
    let portal = Portal::start(binary, &folder, &log, &[("PORTAL_API_KEYS", KEY)])?;
    let site = Site::new(portal.target().clone(), Profile::DEFAULT);
    Ok((portal, site))
}

fn with_key(request: Request) -> Request {
    request.header("Skynet-Api-Key", KEY)
}

fn keyed_upload(site: &Site, name: &str, bytes: &[u8]) -> anyhow::Result<Link> {
    Ok(accepted(site.send(&with_key(raw_request(&format!("filename={name}"), bytes)))?)?.link)
}

/// Every write without the key, with a wrong one, or with only a cookie is refused. Reads are not.
pub fn writes_need_the_key(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let (_portal, site) = start(suite, binary, "keys")?;
    let link = keyed_upload(&site, "keyed", b"keyed")?;
    let entry = Place::new(&site, "keys").entry(b"entry", 0).json().to_string();
    let tus =
        || tus_request("POST", "/skynet/tus").header("Upload-Length", "4").header("Upload-Metadata", "filename eA==");
    let json =
        |path: &str, body: String| Request::new("POST", path).header("Content-Type", "application/json").body(body);
    let upload = Upload::create(&site, &with_key(tus()))?;
    let writes = [
        raw_request("filename=x", b"x"),
        raw_request("filename=x&dryrun=true", b"x"),
        json("/skynet/registry", entry.clone()),
        json("/skynet/registrymulti", format!("[{entry}]")),
        json("/skynet/restore", String::new()),
        json("/skynet/blocklist", json!({ "add": [link.to_string()] }).to_string()),
        Request::new("POST", format!("/skynet/pin/{link}")),
        Request::new("POST", format!("/skynet/unpin/{link}")),
        tus(),
        upload.patching(0, b"four"),
    ];
    let basic = format!("Basic {}", BASE64.encode(b":wrong"));
    let cookie = format!("skynet-jwt={KEY}; Skynet-Api-Key={KEY}");
    let not_enough = [
        ("Accept", "*/*"),
        ("Skynet-Api-Key", "wrong"),
        ("Skynet-Api-Key", ""),
        ("Authorization", &basic),
        ("Cookie", &cookie),
    ];
    let mut faults = Faults::default();
    for write in &writes {
        for (name, value) in not_enough {
            let what = format!("{} {} with {name}: {value}", write.method, write.path);
            let request = write.clone().header(name, value).header("Origin", "http://elsewhere.example");
            faults.check(&what, site.send(&request).and_then(|answer| message(&answer, &[401, 403], "")));
        }
    }
    faults.check("the upload did not move", upload.head(&site).and_then(|answer| status(&answer, &[200, 401])));
    faults.check("reads are open", site.same(&link.path(""), b"keyed").map(drop));
    faults.check("the password of Basic is the key", {
        let basic = format!("Basic {}", BASE64.encode(format!(":{KEY}").as_bytes()));
        site.send(&raw_request("filename=x", b"x").header("Authorization", basic))
            .and_then(|answer| status(&answer, &[200]))
    });
    faults.finish()
}

fn change(site: &Site, body: &Value) -> anyhow::Result<Response> {
    let request = Request::new("POST", "/skynet/blocklist").header("Content-Type", "application/json");
    site.send(&with_key(request.body(body.to_string())))
}

/// A blocked skylink is answered 451 everywhere, even after kill -9, until it is removed from the list.
pub fn blocked_skylinks(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let (portal, site) = start(suite, binary, "blocks")?;
    let (bytes, other) = (site.text("blocked"), site.text("not blocked"));
    let link = keyed_upload(&site, "blocked", &bytes)?;
    let free = keyed_upload(&site, "free", &other)?;
    let place = Place::new(&site, "blocked");
    let entry = Request::new("POST", "/skynet/registry").header("Content-Type", "application/json");
    status(&site.send(&with_key(entry.body(place.entry(link.bytes(), 0).json().to_string())))?, &[204])?;
    status(&change(&site, &json!({ "add": [link.to_string()] }))?, &[200, 204])?;
    everywhere(&site, &link, &place, &bytes)?;
    let portal = portal.crash()?;
    everywhere(&site, &link, &place, &bytes)?;
    site.same(&free.path(""), &other)?;
    let hash = HEXLOWER.encode(&blake2b(&[&link.bytes()[2..]]));
    let list = site.get("/skynet/blocklist")?.json()?;
    ensure!(list["blocklist"] == json!([hash]), "the list is {list}");
    status(&change(&site, &json!({ "remove": [hash], "ishash": true }))?, &[200, 204])?;
    site.same(&link.path(""), &bytes)?;
    message(&change(&site, &json!({}))?, &[400], "no skylinks submitted")?;
    drop(portal);
    Ok(())
}

fn everywhere(site: &Site, link: &Link, place: &Place, bytes: &[u8]) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    let v2 = place.link();
    for path in [
        link.path(""),
        link.path("/"),
        format!("/{}", link.base32()),
        v2.path(""),
        link.path("?format=zip"),
        format!("/skynet/skylink/{link}"),
        format!("/skynet/metadata/{link}"),
        format!("/skynet/basesector/{link}"),
        format!("/skynet/trustless/basesector/{link}"),
        format!("/skynet/trustless/file/v1/{link}"),
        format!("/skynet/root?root={}&offset=0&length=64", link.root()),
    ] {
        faults.check(&path, site.get(&path).and_then(|answer| message(&answer, &[451], "block")));
    }
    let subdomain = site.send_to(&format!("{}.localhost", link.base32()), &Request::get("/"));
    faults.check("subdomain", subdomain.and_then(|answer| message(&answer, &[451], "block")));
    let pin = site.send(&with_key(Request::new("POST", format!("/skynet/pin/{link}"))));
    faults.check("pin", pin.and_then(|answer| message(&answer, &[451], "block")));
    let again = site.send(&with_key(raw_request("filename=blocked", bytes)));
    faults.check("upload", again.and_then(|answer| message(&answer, &[451], "block")));
    faults.finish()
}

/// Bodies over the limit are refused while they arrive, in any form.
pub fn limits(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let (folder, log) = (suite.scratch.join("limits"), suite.reports.join("limits.log"));
    let portal = Portal::start(binary, &folder, &log, &[("PORTAL_MAX_UPLOAD", "1MiB")])?;
    let site = Site::new(portal.target().clone(), Profile::DEFAULT);
    let (fits, over) = (site.noise("fits", 1 << 20), site.noise("over", (1 << 20) + 1));
    site.raw("fits", &fits)?;
    let form = super::form::Form::new().file("file", "over", None, &over);
    let mut faults = Faults::default();
    for (what, request) in [
        ("raw", raw_request("filename=over", &over)),
        ("dry", raw_request("filename=over&dryrun=true", &over)),
        ("chunked", raw_request("filename=over", b"").chunked(over.clone(), 65_536)),
        ("form", form.request("/skynet/skyfile")),
        ("chunked form", form.chunked_request("/skynet/skyfile", 65_536)),
        ("TUS", tus_request("POST", "/skynet/tus").header("Upload-Length", over.len().to_string())),
    ] {
        faults.check(what, site.send(&request).and_then(|answer| message(&answer, &[413], "")));
    }
    let told = site.send(&Request::new("OPTIONS", "/skynet/tus"))?;
    faults.check("Tus-Max-Size", harness::expect::header(&told, "Tus-Max-Size", "1048576"));
    faults.finish()
}
