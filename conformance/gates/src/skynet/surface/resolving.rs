//! Resolver skylinks: their targets, with proofs, and invalid ones.

use anyhow::{Context, ensure};
use data_encoding::HEXLOWER;
use harness::client::{Request, Response};
use harness::expect::{Faults, header, status};
use serde_json::{Value, json};

use super::expect::{body, message};
use super::{SurfaceRow, ours, row};
use crate::skynet::entry::{Entry, Place};
use crate::skynet::link::Link;
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("a resolver skylink resolves with a proof", resolves),
    row("it serves the file, its metadata and its paths with the proof", serves),
    row("its ETag is that of what it leads to", etag),
    row("over another resolver skylink it resolves with both proofs", depth),
    ours("over two others it is refused", too_deep),
    row("a circle is refused", circle),
    row("a deleted entry is not found", deleted),
    row("an entry that is no skylink leads nowhere", nowhere),
    row("an absent entry leads nowhere", absent),
    row("a v1 skylink resolves to itself", itself),
    ours("what it leads to is asked for anew each time", caching),
    ours("its subdomain serves what it leads to now", subdomain),
];

fn set(site: &Site, place: &Place, link: &Link, revision: u64) -> anyhow::Result<()> {
    status(&place.entry(link.bytes(), revision).post(site)?, &[204])
}

/// The proof for an entry.
fn proof(entry: &Entry<'_>) -> Value {
    json!({
        "data": HEXLOWER.encode(&entry.data),
        "datakey": entry.place.data_key(),
        "revision": entry.revision,
        "publickey": entry.json()["publickey"],
        "signature": HEXLOWER.encode(&entry.signature()),
        "type": 1,
    })
}

fn proves(answer: &Response, entries: &[Entry<'_>]) -> anyhow::Result<()> {
    let said: Value = serde_json::from_str(answer.need("Skynet-Proof")?).context("the proof")?;
    let want: Vec<Value> = entries.iter().map(proof).collect();
    ensure!(said == json!(want), "the proof is {said}, not {}", json!(want));
    Ok(())
}

fn resolves(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "resolves");
    let link = site.raw("resolved", &site.text("resolved"))?.link;
    set(site, &place, &link, 4)?;
    for form in [place.link().to_string(), place.link().base32()] {
        let answer = site.get(format!("/skynet/resolve/{form}"))?;
        header(answer.expect(200)?, "Skynet-Skylink", &link.to_string())?;
        ensure!(answer.json()? == json!({ "skylink": link.to_string() }), "the answer is {}", answer.text());
        proves(&answer, &[place.entry(link.bytes(), 4)])?;
    }
    Ok(())
}

fn serves(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "serves");
    let text = site.text("served");
    let link = site.folder("", &[("index.html", b"<p>"), ("a/b.txt", &text)])?.link;
    set(site, &place, &link, 0)?;
    let v2 = place.link();
    let mut faults = Faults::default();
    for path in [
        v2.path("/"),
        v2.path("/a/b.txt"),
        format!("/skynet/metadata/{v2}"),
        format!("/skynet/trustless/basesector/{v2}"),
    ] {
        let check = || {
            let answer = site.get(&path)?;
            header(answer.expect(200)?, "Skynet-Skylink", &link.to_string())?;
            proves(&answer, &[place.entry(link.bytes(), 0)])
        };
        faults.check(&path, check());
    }
    faults.check("content", site.same(&v2.path("/a/b.txt"), &text).map(drop));
    faults.finish()
}

fn etag(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "etag");
    for revision in 0..2 {
        let link = site.raw("etag", &site.text(&format!("etag {revision}")))?.link;
        set(site, &place, &link, revision)?;
        let answer = site.get(place.link().path(""))?;
        header(&answer, "ETag", &link.etag("/", ""))?;
        let again = Request::get(place.link().path("")).header("If-None-Match", link.etag("/", ""));
        status(&site.send(&again)?, &[304])?;
    }
    Ok(())
}

fn depth(site: &Site) -> anyhow::Result<()> {
    let places: Vec<Place> = (0..2).map(|n| Place::new(site, &format!("depth {n}"))).collect();
    let text = site.text("deep");
    let link = site.raw("deep", &text)?.link;
    set(site, &places[0], &link, 0)?;
    set(site, &places[1], &places[0].link(), 0)?;
    let answer = site.same(&places[1].link().path(""), &text)?;
    let chain = [places[1].entry(places[0].link().bytes(), 0), places[0].entry(link.bytes(), 0)];
    proves(&answer, &chain)
}

/// The depth of skyd's release builds. Its testing build goes deeper.
fn too_deep(site: &Site) -> anyhow::Result<()> {
    let mut link = site.raw("too deep", &site.text("too deep"))?.link;
    for n in 0..3 {
        let place = Place::new(site, &format!("too deep {n}"));
        set(site, &place, &link, 0)?;
        link = place.link();
    }
    for path in [format!("/skynet/resolve/{link}"), link.path("")] {
        let answer = site.get(path)?;
        ensure!((400..600).contains(&answer.status), "three deep is answered {}", answer.status);
        message(&answer, &[answer.status], "")?;
    }
    Ok(())
}

fn circle(site: &Site) -> anyhow::Result<()> {
    let (one, two) = (Place::new(site, "circle 1"), Place::new(site, "circle 2"));
    set(site, &one, &two.link(), 0)?;
    set(site, &two, &one.link(), 0)?;
    set(site, &one.beside("self"), &one.beside("self").link(), 0)?;
    for link in [one.link(), one.beside("self").link()] {
        for path in [format!("/skynet/resolve/{link}"), link.path("")] {
            let answer = site.get(path)?;
            ensure!((400..600).contains(&answer.status), "a circle is answered {}", answer.status);
        }
    }
    Ok(())
}

fn deleted(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "deleted");
    let link = site.raw("deleted", &site.text("deleted"))?.link;
    set(site, &place, &link, 0)?;
    status(&place.entry(&[0; 34], 1).post(site)?, &[204])?;
    let v2 = place.link();
    for path in [format!("/skynet/resolve/{v2}"), v2.path(""), format!("/skynet/metadata/{v2}")] {
        message(&site.get(path)?, &[404], "")?;
    }
    // The proof that its owner deleted it.
    proves(&site.get(format!("/skynet/resolve/{v2}"))?, &[place.entry(&[0; 34], 1)])
}

fn nowhere(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for (what, data) in [("nothing", b"".as_slice()), ("text", b"text"), ("34 bytes of no skylink", &[0xff; 34])] {
        let place = Place::new(site, what);
        let check = || {
            status(&place.entry(data, 0).post(site)?, &[204])?;
            let answer = site.get(format!("/skynet/resolve/{}", place.link()))?;
            ensure!((400..600).contains(&answer.status), "it is answered {}", answer.status);
            message(&answer, &[answer.status], "")
        };
        faults.check(what, check());
    }
    faults.finish()
}

fn absent(site: &Site) -> anyhow::Result<()> {
    let link = Place::new(site, "absent").link();
    for path in [format!("/skynet/resolve/{link}"), link.path(""), link.path("/a"), format!("/skynet/metadata/{link}")]
    {
        message(&site.get(path)?, &[404], "registry entry not found")?;
    }
    Ok(())
}

fn itself(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("itself", &site.text("itself"))?.link.to_string();
    let answer = site.get(format!("/skynet/resolve/{link}"))?;
    header(answer.expect(200)?, "Skynet-Skylink", &link)?;
    ensure!(answer.json()? == json!({ "skylink": link }), "the answer is {}", answer.text());
    Ok(())
}

fn caching(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "resolver caching");
    set(site, &place, &site.raw("cached", &site.text("cached"))?.link, 0)?;
    for path in [place.link().path(""), format!("/skynet/resolve/{}", place.link())] {
        let answer = site.get(path)?;
        let said = answer.need("Cache-Control")?;
        ensure!(said.contains("no-cache") || said.contains("no-store"), "Cache-Control is {said:?}");
    }
    Ok(())
}

fn subdomain(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "subdomain");
    for revision in 0..2 {
        let text = site.text(&format!("now {revision}"));
        let link = site.raw("now", &text)?.link;
        set(site, &place, &link, revision)?;
        let answer = site.send_to(&format!("{}.localhost", place.link().base32()), &Request::get("/"))?;
        body(answer.expect(200)?, &text)?;
        header(&answer, "Skynet-Skylink", &link.to_string())?;
    }
    Ok(())
}
