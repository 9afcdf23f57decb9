//! Needs of browsers: CORS on every answer, preflights, the portal's own name.

use anyhow::{Context, ensure};
use harness::client::{Request, Response};
use harness::expect::{Faults, header, list, no_header, status};

use super::tus::request;
use super::{SurfaceRow, ours, row};
use crate::skynet::entry::Place;
use crate::skynet::site::{Site, raw_request};

pub const ROWS: &[SurfaceRow] = &[
    row("every answer allows the origin that asked", every_answer),
    row("a preflight allows what it asks for", preflight),
    row("HEAD / says who the portal is", root),
    ours("without an origin there is no CORS, with one it varies", vary),
    ours("a subdomain says who the portal is", subdomain),
    ours("the portal's numbers and settings are told", stats),
];

const ORIGIN: &str = "http://app.example:1234";

fn with_origin(request: Request) -> Request {
    request.header("Origin", ORIGIN)
}

fn allowed(answer: &Response) -> anyhow::Result<()> {
    header(answer, "Access-Control-Allow-Origin", ORIGIN)?;
    header(answer, "Access-Control-Allow-Credentials", "true")?;
    let exposed: Vec<String> =
        list(answer, "Access-Control-Expose-Headers").iter().map(|name| name.to_lowercase()).collect();
    let needed = [
        "ETag",
        "Content-Range",
        "Skynet-Skylink",
        "Skynet-Proof",
        "Skynet-Portal-Api",
        "Location",
        "Upload-Offset",
        "Upload-Metadata",
        "Tus-Resumable",
    ];
    let missing: Vec<_> = needed.iter().filter(|name| !exposed.contains(&name.to_lowercase())).collect();
    ensure!(missing.is_empty(), "hidden are {missing:?}");
    let origins =
        answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Access-Control-Allow-Origin")).count();
    ensure!(origins == 1, "the origin is allowed {origins} times");
    Ok(())
}

fn every_answer(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("index.html", &site.text("cors")), ("b.txt", b"b")])?.link;
    let place = Place::new(site, "cors");
    let json =
        |body: String| Request::new("POST", "/skynet/registry").header("Content-Type", "application/json").body(body);
    let requests = [
        ("200", Request::get(link.path("/")), 200),
        ("206", Request::get(link.path("/")).header("Range", "bytes=0-1"), 206),
        ("416", Request::get(link.path("/")).header("Range", "bytes=9999-"), 416),
        ("304", Request::get(link.path("/")).header("If-None-Match", "*"), 304),
        ("308", Request::get(link.path("")), 308),
        ("404", Request::get(link.path("/nope")), 404),
        ("400", Request::get("/skynet/skylink/xyz"), 400),
        ("zip", Request::get(link.path("?format=zip")), 200),
        ("HEAD", Request::new("HEAD", link.path("/")), 200),
        ("upload", raw_request("filename=cors", b"cors"), 200),
        ("bad upload", Request::new("POST", "/skynet/skyfile?filename=x").body("x"), 400),
        ("entry", json(place.entry(b"cors", 0).json().to_string()), 204),
        ("bad entry", json("nojson".to_owned()), 400),
        ("no entry", Request::get(format!("/skynet/registry?{}", place.beside("x").query())), 404),
        (
            "TUS",
            request("POST", "/skynet/tus").header("Upload-Length", "1").header("Upload-Metadata", "filename eA=="),
            201,
        ),
        ("bad TUS", Request::new("POST", "/skynet/tus"), 412),
        ("metadata", Request::get(format!("/skynet/metadata/{link}")), 200),
        ("root", Request::new("HEAD", "/"), 200),
    ];
    let mut faults = Faults::default();
    for (what, request, want) in requests {
        let check = || {
            let answer = site.send(&with_origin(request))?;
            status(&answer, &[want])?;
            allowed(&answer)
        };
        faults.check(what, check());
    }
    faults.finish()
}

fn preflight(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for (path, method, asked) in [
        ("/skynet/skyfile", "POST", "content-type, skynet-api-key"),
        ("/skynet/tus", "POST", "tus-resumable,upload-length,upload-metadata,upload-concat"),
        ("/skynet/tus/some-id", "PATCH", "tus-resumable, upload-offset, content-type"),
        ("/skynet/registry", "POST", "content-type"),
        ("/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "GET", "range"),
    ] {
        let check = || {
            let ask = with_origin(Request::new("OPTIONS", path)).header("Access-Control-Request-Method", method);
            let answer = site.send(&ask.header("Access-Control-Request-Headers", asked))?;
            status(&answer, &[200, 204])?;
            header(&answer, "Access-Control-Allow-Origin", ORIGIN)?;
            header(&answer, "Access-Control-Allow-Credentials", "true")?;
            ensure!(list(&answer, "Access-Control-Allow-Methods").iter().any(|name| name == method), "not {method}");
            let names: Vec<String> =
                list(&answer, "Access-Control-Allow-Headers").iter().map(|name| name.to_lowercase()).collect();
            let refused: Vec<&str> =
                asked.split(',').map(str::trim).filter(|name| !names.iter().any(|known| known == name)).collect();
            ensure!(refused.is_empty(), "not allowed are {refused:?}");
            Ok(())
        };
        faults.check(&format!("{method} {path}"), check());
    }
    faults.finish()
}

/// The URL in a header, which must lead to the portal itself and not to a subdomain.
fn names_the_portal(site: &Site, answer: &Response) -> anyhow::Result<()> {
    for name in ["Skynet-Portal-Api", "Skynet-Server-Api"] {
        let url = answer.need(name)?;
        let rest = url.strip_prefix("http://").with_context(|| format!("{name} is {url:?}"))?;
        let (host, port) = rest.rsplit_once(':').with_context(|| format!("{name} is {url:?}"))?;
        ensure!(port == site.target.port.to_string(), "{name} is {url:?}");
        ensure!(matches!(host, "127.0.0.1" | "localhost"), "{name} is {url:?}");
    }
    Ok(())
}

fn root(site: &Site) -> anyhow::Result<()> {
    let answer = site.head("/")?;
    status(&answer, &[200])?;
    names_the_portal(site, &answer)
}

fn subdomain(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("subdomain", &site.text("subdomain"))?.link;
    let host = format!("{}.localhost", link.base32());
    let answer = site.send_to(&host, &Request::new("HEAD", "/"))?;
    status(&answer, &[200])?;
    names_the_portal(site, &answer)
}

fn vary(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("vary", &site.text("vary"))?.link;
    for path in [link.path(""), link.unknown().path("")] {
        let answer = site.get(&path)?;
        no_header(&answer, "Access-Control-Allow-Origin")?;
        ensure!(
            list(&answer, "Vary").iter().any(|name| name.eq_ignore_ascii_case("Origin")),
            "Vary is {:?}",
            answer.header("Vary")
        );
        let answer = site.send(&with_origin(Request::get(&path)))?;
        ensure!(
            list(&answer, "Vary").iter().any(|name| name.eq_ignore_ascii_case("Origin")),
            "Vary is {:?}",
            answer.header("Vary")
        );
    }
    Ok(())
}

fn stats(site: &Site) -> anyhow::Result<()> {
    let said = site.get("/skynet/stats")?;
    let said = said.expect(200)?.json()?;
    let profile = site.profile.to_string();
    ensure!(said.to_string().contains(&profile), "no {profile} in {said}");
    for (path, member) in [("/skynet/portals", "portals"), ("/skynet/blocklist", "blocklist")] {
        let said = site.get(path)?;
        let said = said.expect(200)?.json()?;
        ensure!(said.get(member).is_some(), "{path} says {said}");
    }
    Ok(())
}
