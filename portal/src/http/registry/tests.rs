//! The registry's endpoints, through the router.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use data_encoding::HEXLOWER;
use http::{Request, Response};
use serde_json::{Value, json};
use skynet_formats::entry::{EntryAnswer, EntryPost, SignedEntry};
use skynet_formats::proof::{PROOF_HEADER, verify_proof};
use skynet_formats::skylink::Skylink;

use crate::entries::tests::entry;
use crate::http::tests::{TestPortal, text};

const V1: &str = "XABvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg";

fn post_to(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", "application/x-www-form-urlencoded").body(body.into()).unwrap()
}

fn post(entry: &SignedEntry) -> Request<Body> {
    post_to("/skynet/registry", serde_json::to_string(&EntryPost::from(entry)).unwrap())
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn by_key(entry: &SignedEntry) -> String {
    let key = HEXLOWER.encode(entry.public_key().as_bytes());
    format!("publickey=ed25519%3A{key}&datakey={}", entry.entry().datakey())
}

fn link(entry: &SignedEntry) -> Skylink {
    Skylink::v2(*entry.id().as_bytes())
}

async fn status_and_text(response: Response<Body>) -> (u16, String) {
    (response.status().as_u16(), text(response).await)
}

/// Posts an entry, and returns status and text of the answer.
async fn put(portal: &TestPortal, entry: &SignedEntry) -> (u16, String) {
    status_and_text(portal.send(post(entry)).await).await
}

async fn read(portal: &TestPortal, query: &str) -> (u16, String) {
    status_and_text(portal.send(get(&format!("/skynet/registry?{query}"))).await).await
}

#[tokio::test]
async fn an_entry_comes_back_as_it_was_signed() {
    let portal = TestPortal::new();
    for revision in [0, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
        let entry = entry(1, "a", revision, b"data");
        assert_eq!(put(&portal, &entry).await, (204, String::new()), "{revision}");
        assert_eq!(put(&portal, &entry).await, (204, String::new()), "{revision} again");
        for query in [by_key(&entry), format!("entryid={}", entry.id()), by_key(&entry) + "&timeout=300"] {
            let response = portal.send(get(&format!("/skynet/registry?{query}"))).await;
            assert_eq!(response.headers()["cache-control"], "no-cache");
            assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
            let answer: EntryAnswer = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(SignedEntry::try_from(answer).unwrap(), entry);
        }
    }
}

#[tokio::test]
async fn byte_arrays_of_a_script_are_read_under_any_content_type() {
    let portal = TestPortal::new();
    let entry = entry(1, "a", u64::MAX, b"data");
    let body = json!({
        "publickey": { "algorithm": "ed25519", "key": entry.public_key().as_bytes() },
        "datakey": entry.entry().datakey(),
        "revision": u64::MAX,
        "data": entry.entry().data(),
        "signature": &entry.signature()[..],
    });
    for content_type in
        ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "application/json", "nonsense"]
    {
        let request = Request::post("/skynet/registry").header("content-type", content_type);
        let response = portal.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(status_and_text(response).await, (204, String::new()), "{content_type}");
    }
    // Like Go's decoder, the portal reads one value and ignores the rest.
    assert_eq!(portal.send(post_to("/skynet/registry", format!("{body}\n{{"))).await.status(), 204);
}

#[tokio::test]
async fn refusals_are_in_the_words_of_skyd() {
    let portal = TestPortal::new();
    let mut tied = [entry(1, "a", 7, b"one"), entry(1, "a", 7, b"other")];
    assert_eq!(put(&portal, &tied[0]).await.0, 204);
    if put(&portal, &tied[1]).await.0 == 204 {
        tied.reverse();
    }
    let message = |text: &str| format!("{{\"message\":\"{text}\"}}\n");
    let pow = "Unable to update the registry: entry doesn't have enough pow to replace existing entry";
    assert_eq!(put(&portal, &tied[1]).await, (400, message(pow)));
    let lower = "Unable to update the registry: provided revision number is invalid";
    assert_eq!(put(&portal, &entry(1, "a", 6, b"x")).await, (400, message(lower)));
    let absent = "unable to read from the registry: registry entry not found";
    assert_eq!(read(&portal, &by_key(&entry(1, "b", 0, b""))).await, (404, message(absent)));
    assert_eq!(read(&portal, &format!("entryid={}", "00".repeat(32))).await, (404, message(absent)));
}

#[tokio::test]
async fn what_is_no_entry_is_refused() {
    let portal = TestPortal::new();
    let good = serde_json::to_value(EntryPost::from(&entry(1, "a", 7, b"x"))).unwrap();
    let with = |member: &str, value: Value| {
        let mut changed = good.clone();
        changed[member] = value;
        changed.to_string()
    };
    for (body, status, words) in [
        (String::new(), 400, "Failed to decode request"),
        ("null".to_owned(), 400, "Failed to decode request"),
        (with("revision", json!(8)), 400, "failed to verify signature of entry"),
        (with("revision", json!(1.5)), 400, "Failed to decode request"),
        (with("data", json!(vec![0; 114])), 400, "Registry data is too big: 114 > 113"),
        (with("type", json!(3)), 400, "unknown entry type"),
        (with("data", json!("a".repeat(20_000))), 413, "exceeds the limit"),
    ] {
        let answer = status_and_text(portal.send(post_to("/skynet/registry", body.clone())).await).await;
        assert!(answer.0 == status && answer.1.contains(words), "{body}: {answer:?}");
    }
    assert_eq!(read(&portal, "publickey=a&datakey=b").await.0, 400);
    assert_eq!(read(&portal, &(by_key(&entry(1, "a", 7, b"x")) + "&timeout=0")).await.0, 400);
    assert_eq!(portal.send(Request::delete("/skynet/registry").body(Body::empty()).unwrap()).await.status(), 405);
}

fn multi(entries: &[(u8, &SignedEntry)]) -> Request<Body> {
    let posts: Vec<Value> = entries
        .iter()
        .map(|(host, entry)| {
            let mut post = serde_json::to_value(EntryPost::from(*entry)).unwrap();
            post["hostkey"] = json!(format!("ed25519:{}", HEXLOWER.encode(&[*host; 32])));
            post
        })
        .collect();
    post_to("/skynet/registrymulti", Value::Array(posts).to_string())
}

#[tokio::test]
async fn entries_for_several_hosts_are_taken_here() {
    let portal = TestPortal::new();
    let [a, b] = [entry(1, "a", u64::MAX, b"a"), entry(2, "b", 2, b"b")];
    let old = entry(1, "a", 3, b"old");
    assert_eq!(status_and_text(portal.send(multi(&[(1, &a), (2, &b), (3, &a)])).await).await, (204, String::new()));
    assert_eq!(read(&portal, &by_key(&a)).await.0, 200);
    assert_eq!(read(&portal, &by_key(&b)).await.0, 200);
    for (request, words) in [
        (multi(&[(1, &a), (1, &b)]), "Updating multiple entries on one host is not supported"),
        (multi(&[]), "all registry updates failed"),
        (multi(&[(1, &old)]), "provided revision number is invalid"),
        (multi(&[(1, &a); 129]), "more than 128 entries"),
        (post_to("/skynet/registrymulti", "{}"), "Failed to decode request"),
    ] {
        let answer = status_and_text(portal.send(request).await).await;
        assert!(answer.0 == 400 && answer.1.contains(words), "{words}: {answer:?}");
    }
}

#[tokio::test]
async fn a_forged_entry_among_several_stops_all() {
    let portal = TestPortal::new();
    let good = entry(1, "a", 1, b"a");
    let mut posts = [json!(EntryPost::from(&good)), json!(EntryPost::from(&entry(1, "b", 1, b"b")))];
    posts[0]["hostkey"] = json!(format!("ed25519:{}", "00".repeat(32)));
    posts[1]["revision"] = json!(2);
    let answer = status_and_text(portal.send(post_to("/skynet/registrymulti", json!(posts).to_string())).await).await;
    assert!(answer.0 == 400 && answer.1.contains("failed to verify signature"), "{answer:?}");
    assert_eq!(read(&portal, &by_key(&good)).await.0, 404);
}

#[tokio::test]
async fn health_counts_the_copy_that_is_here() {
    let portal = TestPortal::new();
    let entry = entry(1, "a", 9, b"a");
    let health = async |query: &str| {
        let response = portal.send(get(&format!("/skynet/health/entry?{query}"))).await;
        assert_eq!(response.status(), 200);
        serde_json::from_str::<Value>(&text(response).await).unwrap()
    };
    let of = |copies: u64, revision: u64| {
        json!({
            "numbestentries": copies, "numbestentriesbeforecutoff": copies, "numbestprimaryentries": 0,
            "numentries": copies, "revisionnumber": revision,
        })
    };
    assert_eq!(health(&by_key(&entry)).await, of(0, 0));
    put(&portal, &entry).await;
    assert_eq!(health(&by_key(&entry)).await, of(1, 9));
    assert_eq!(health(&format!("entryid={}", entry.id())).await, of(1, 9));
    assert_eq!(portal.send(get("/skynet/health/entry")).await.status(), 400);
}

#[tokio::test]
async fn a_resolver_skylink_is_resolved_with_its_proof() {
    let portal = TestPortal::new();
    let v1: Skylink = V1.parse().unwrap();
    let last = entry(1, "last", 0, &v1.to_bytes());
    let first = entry(1, "first", 0, &link(&last).to_bytes());
    for entry in [&last, &first] {
        put(&portal, entry).await;
    }
    let itself = portal.send(get(&format!("/skynet/resolve/{V1}"))).await;
    assert!(!itself.headers().contains_key(PROOF_HEADER), "nothing was passed");
    assert_eq!(status_and_text(itself).await, (200, format!("{{\"skylink\":\"{V1}\"}}\n")));
    for (asked, passed) in [(link(&first), 2), (link(&last), 1)] {
        for text_of_asked in [asked.to_string(), asked.to_base32()] {
            let response = portal.send(get(&format!("/skynet/resolve/{text_of_asked}?timeout=900"))).await;
            let headers = response.headers().clone();
            assert_eq!(status_and_text(response).await, (200, format!("{{\"skylink\":\"{V1}\"}}\n")));
            assert_eq!(headers["skynet-skylink"], V1);
            assert_eq!(headers["cache-control"], "no-cache");
            let proof = verify_proof(asked, headers[PROOF_HEADER].to_str().unwrap()).unwrap();
            assert_eq!((proof.skylink, proof.passed.len()), (v1, passed));
        }
    }
}

/// The tests of skynet-js fetch such a link, and expect that its entry is not found.
#[tokio::test]
async fn a_skylink_with_unused_bits_set_is_the_one_without_them() {
    let portal = TestPortal::new();
    let (status, text) =
        status_and_text(portal.send(get("/AQDwh1jnoZas9LaLHC_D4-2yO9XYDdZzNtz62H4Dww1jDB")).await).await;
    assert_eq!(status, 404);
    assert!(text.contains("failed to fetch skylink: registry entry not found within given time"), "{text}");
    // The last 4 bits of a canonical link are zeros. The next character of the alphabet sets one of them.
    let (start, last) = V1.split_at(V1.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    let response = portal.send(get(&format!("/skynet/resolve/{start}{next}"))).await;
    assert_eq!(status_and_text(response).await, (200, format!("{{\"skylink\":\"{V1}\"}}\n")));
}

#[tokio::test]
async fn skylinks_that_lead_nowhere() {
    let portal = TestPortal::new();
    let deleted = entry(1, "deleted", 0, &[0; 34]);
    let text_entry = entry(1, "text", 0, b"text");
    // Two entries point at each other. The limit on depth ends the cycle.
    let [there, back] = [entry(1, "there", 0, b""), entry(1, "back", 0, b"")].map(|entry| link(&entry));
    let cycle = [entry(1, "there", 1, &back.to_bytes()), entry(1, "back", 1, &there.to_bytes())];
    let itself = entry(1, "itself", 1, &link(&entry(1, "itself", 0, b"")).to_bytes());
    for entry in [&deleted, &text_entry, &cycle[0], &cycle[1], &itself] {
        assert_eq!(put(&portal, entry).await.0, 204);
    }
    for (skylink, status, words) in [
        (link(&deleted).to_string(), 404, "Failed to resolve skylink: "),
        (link(&entry(1, "absent", 0, b"")).to_string(), 404, "registry entry not found"),
        (link(&text_entry).to_string(), 400, "no pointer"),
        (there.to_string(), 400, "skylink is nested more times than is supported"),
        (link(&itself).to_string(), 400, "skylink is nested more times than is supported"),
        ("x".to_owned(), 400, "Unable to parse skylink"),
        (V1.to_owned() + "/a", 400, "Unable to parse skylink"),
    ] {
        let answer = status_and_text(portal.send(get(&format!("/skynet/resolve/{skylink}"))).await).await;
        assert!(answer.0 == status && answer.1.contains(words), "{skylink}: {answer:?}");
    }
}

#[tokio::test]
async fn a_deleted_skylink_is_not_found_with_the_proof_of_it() {
    let portal = TestPortal::new();
    let deleted = entry(1, "deleted", 3, &[0; 34]);
    let leads_there = entry(1, "leads there", 0, &link(&deleted).to_bytes());
    for entry in [&deleted, &leads_there] {
        put(&portal, entry).await;
    }
    for path in ["/skynet/resolve/", "/skynet/skylink/", "/skynet/basesector/"] {
        for (asked, passed) in [(&deleted, vec![&deleted]), (&leads_there, vec![&leads_there, &deleted])] {
            let response = portal.send(get(&format!("{path}{}", link(asked)))).await;
            assert_eq!(response.status(), 404, "{path}");
            let proof: Vec<EntryAnswer> = serde_json::from_slice(response.headers()[PROOF_HEADER].as_bytes()).unwrap();
            let proof: Vec<SignedEntry> = proof.into_iter().map(|answer| answer.try_into().unwrap()).collect();
            assert_eq!(proof.iter().collect::<Vec<_>>(), passed, "{path}");
        }
    }
}

#[tokio::test]
async fn missing_and_wrong_keys_of_a_read_are_named_as_skyd_names_them() {
    let portal = TestPortal::new();
    let (key, datakey) = (format!("publickey=ed25519%3A{}", "ab".repeat(32)), format!("datakey={}", "00".repeat(32)));
    let both = "Need to specify either publickey and datakey or entryid";
    let (public, data) = ("Unable to parse publickey param", "Unable to decode dataKey param");
    for (query, of_read, of_health) in [
        (String::new(), public, both),
        (datakey.clone(), public, both),
        (format!("publickey=x&{datakey}"), public, public),
        (key.clone(), data, both),
        (format!("{key}&datakey=zz"), data, data),
    ] {
        for (path, words) in [("registry", of_read), ("health/entry", of_health)] {
            let answer = status_and_text(portal.send(get(&format!("/skynet/{path}?{query}"))).await).await;
            assert!(answer.0 == 400 && answer.1.contains(words), "{path} {query}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn one_address_cannot_write_without_end() {
    let portal = TestPortal::with(|options| options.registry_rate = 1);
    let from = |mut request: Request<Body>, address: &str| {
        request.extensions_mut().insert(ConnectInfo(address.parse::<SocketAddr>().unwrap()));
        request
    };
    let mut refused = None;
    for revision in 0..30 {
        let response = portal.send(from(post(&entry(1, "a", revision, b"")), "192.0.2.1:5")).await;
        if response.status() != 204 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("thirty at once are more than ten");
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(portal.send(from(post(&entry(1, "b", 0, b"")), "192.0.2.2:5")).await.status(), 204);
    assert_eq!(read(&portal, &by_key(&entry(1, "a", 0, b""))).await.0, 200, "reads are not held back");
}

#[tokio::test]
async fn a_full_registry_says_so_and_takes_updates() {
    let portal = TestPortal::with(|options| options.max_entries = 1);
    assert_eq!(put(&portal, &entry(1, "a", 0, b"")).await.0, 204);
    let answer = put(&portal, &entry(1, "b", 0, b"")).await;
    assert!(answer.0 == 507 && answer.1.contains("holds 1 entries"), "{answer:?}");
    assert_eq!(put(&portal, &entry(1, "a", 1, b"")).await.0, 204);
}
