//! The registry: entries that it accepts and returns, and the messages with which it refuses others.

use anyhow::{Context, ensure};
use data_encoding::HEXLOWER;
use harness::expect::{Faults, status};
use serde_json::json;

use super::expect::{message, refused};
use super::{SurfaceRow, ours, row};
use crate::skynet::entry::{Entry, Place, post};
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("an entry is 204 and comes back with its signature", round_trip),
    row("keys and data may be base64 or arrays, JSON may be called a form", forms_of_entries),
    row("a lower revision is refused", lower_revision),
    row("the same entry again is taken", same_entry),
    row("of one revision the entry with more work wins", work),
    row("a revision of 2^64-1 comes back as it is", highest_revision),
    row("data of 113 bytes fit, 114 do not", size),
    row("a wrong signature is refused", wrong_signature),
    row("what is no entry is refused", no_entry),
    row("an absent entry is not found", absent),
    row("wrong keys and time-outs of a read are refused", wrong_reads),
    row("the health of an entry is told", health),
    ours("several entries at once", several),
    ours("an entry is read anew each time", caching),
];

fn accepted(site: &Site, entry: &Entry<'_>) -> anyhow::Result<()> {
    status(&entry.post(site)?, &[204])
}

fn round_trip(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "round trip");
    for entry in [place.entry(b"", 0), place.entry(b"some data", 1), place.entry(&site.noise("entry", 40), 7)] {
        accepted(site, &entry)?;
        entry.stands(site)?;
    }
    Ok(())
}

fn forms_of_entries(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    let types = ["application/json", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8"];
    for media_type in types {
        for arrays in [false, true] {
            let what = format!("{media_type} {}", if arrays { "arrays" } else { "base64" });
            let place = Place::new(site, &what);
            let entry = place.entry(b"data", 3);
            let body = if arrays { entry.json_of_arrays() } else { entry.json() };
            let check = || {
                status(&post(site, "/skynet/registry", media_type, &body)?, &[204])?;
                entry.stands(site)
            };
            faults.check(&what, check());
        }
    }
    let place = Place::new(site, "with its type");
    let entry = place.entry(b"typed", 0);
    let mut body = entry.json();
    body["type"] = json!(1);
    faults.check(
        "type 1",
        post(site, "/skynet/registry", "application/json", &body).and_then(|answer| status(&answer, &[204])),
    );
    faults.finish()
}

fn lower_revision(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "lower");
    let entry = place.entry(b"new", 5);
    accepted(site, &entry)?;
    for revision in [4, 0] {
        message(&place.entry(b"old", revision).post(site)?, &[400], "provided revision number is invalid")?;
    }
    entry.stands(site)
}

fn same_entry(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "same");
    let entry = place.entry(b"same", 5);
    accepted(site, &entry)?;
    accepted(site, &entry)?;
    entry.stands(site)
}

fn work(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "work");
    let mut entries: Vec<Entry<'_>> = (0..8_u8).map(|n| place.entry(&[n], 5)).collect();
    // The smaller hash is more work.
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.hash()));
    accepted(site, &entries[3])?;
    message(&entries[0].post(site)?, &[400], "doesn't have enough pow to replace existing entry")?;
    entries[3].stands(site)?;
    accepted(site, &entries[7])?;
    entries[7].stands(site)
}

fn highest_revision(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "highest");
    for revision in [(1 << 53) + 1, u64::MAX - 1, u64::MAX] {
        let entry = place.entry(b"high", revision);
        accepted(site, &entry)?;
        entry.stands(site)?;
    }
    let mut body = place.entry(b"high", u64::MAX).json().to_string();
    body = body.replace("18446744073709551615", "18446744073709551616");
    let request = harness::client::Request::new("POST", "/skynet/registry").header("Content-Type", "application/json");
    message(&site.send(&request.body(body))?, &[400], "")
}

fn size(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "size");
    let entry = place.entry(&site.noise("size", 113), 0);
    accepted(site, &entry)?;
    entry.stands(site)?;
    let words = "Registry data is too big: 114 > 113";
    message(&place.entry(&site.noise("size", 114), 1).post(site)?, &[400], words)
}

fn wrong_signature(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "signature");
    let entry = place.entry(b"signed", 3);
    let mut faults = Faults::default();
    let mut check = |what: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut body = entry.json();
        change(&mut body);
        let sent = post(site, "/skynet/registry", "application/json", &body);
        faults.check(what, sent.and_then(|answer| refused(&answer, "")));
    };
    check("revision", &|body| body["revision"] = json!(4));
    check("data", &|body| body["data"] = json!("AAAA"));
    check("data key", &|body| body["datakey"] = json!(Place::new(site, "another").data_key()));
    check("a bit of the signature", &|body| {
        body["signature"][0] = json!(body["signature"][0].as_u64().unwrap_or(0) ^ 1);
    });
    check("another's key", &|body| {
        body["publickey"] = Place::new(site, "another").entry(b"", 0).json()["publickey"].clone();
    });
    check("no signature", &|body| body["signature"] = json!(vec![0; 64]));
    faults.finish()?;
    message(&place.read(site)?, &[404], "")
}

fn no_entry(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for body in ["", "nojson", "{", "[]", "\"text\"", "{}", "null"] {
        let request =
            harness::client::Request::new("POST", "/skynet/registry").header("Content-Type", "application/json");
        faults.check(body, site.send(&request.body(body)).and_then(|answer| refused(&answer, "")));
    }
    faults.finish()
}

fn absent(site: &Site) -> anyhow::Result<()> {
    // Longer than the judge waits, so that an answer in time did not wait for it.
    let query = Place::new(site, "absent").query();
    message(&site.get(format!("/skynet/registry?{query}&timeout=300"))?, &[404], "registry entry not found")
}

fn wrong_reads(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "reads");
    let good = place.query();
    let (key, data_key) = good.split_once('&').context("two parameters")?;
    let mut faults = Faults::default();
    for (query, words) in [
        (String::new(), "publickey param"),
        (key.to_owned(), "dataKey param"),
        (data_key.to_owned(), "publickey param"),
        (format!("{key}&datakey=xyz"), "dataKey param"),
        (format!("{good}&timeout=0"), "timeout"),
        (format!("{good}&timeout=x"), "timeout"),
        (format!("{good}&timeout=301"), "timeout"),
    ] {
        let sent = site.get(format!("/skynet/registry?{query}"));
        faults.check(&query, sent.and_then(|answer| message(&answer, &[400], words)));
    }
    faults.finish()
}

fn health(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "health");
    accepted(site, &place.entry(b"healthy", 9))?;
    for query in [place.query(), format!("entryid={}", HEXLOWER.encode(&place.id()))] {
        let answer = site.get(format!("/skynet/health/entry?{query}"))?;
        answer.expect(200)?;
        let said = answer.json()?;
        ensure!(said["revisionnumber"] == 9, "the health is {said}");
    }
    message(&site.get("/skynet/health/entry")?, &[400], "publickey and datakey or entryid")
}

/// The host keys of real skyd name hosts of a network. A portal without hosts accepts any.
fn several(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "several");
    let places: Vec<Place> = (0..3).map(|n| place.beside(&n.to_string())).collect();
    let entries: Vec<Entry<'_>> = places.iter().map(|place| place.entry(b"one of several", 2)).collect();
    let bodies: Vec<serde_json::Value> = entries
        .iter()
        .zip(1_u8..)
        .map(|(entry, host)| {
            let mut body = entry.json();
            let key = data_encoding::BASE64.encode(&[host; 32]);
            body["hostkey"] = json!({ "algorithm": "ed25519", "key": key });
            body
        })
        .collect();
    status(&post(site, "/skynet/registrymulti", "application/json", &json!(bodies))?, &[204])?;
    for entry in &entries {
        entry.stands(site)?;
    }
    Ok(())
}

fn caching(site: &Site) -> anyhow::Result<()> {
    let place = Place::new(site, "caching");
    accepted(site, &place.entry(b"x", 0))?;
    let answer = place.read(site)?;
    let said = answer.need("Cache-Control")?;
    ensure!(said.contains("no-cache") || said.contains("no-store"), "Cache-Control is {said:?}");
    Ok(())
}
