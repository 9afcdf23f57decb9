//! The model by itself: rows of the table, and the reach of generated operations.

use std::collections::BTreeMap;

use harness::client::Response;
use harness::random::Random;
use serde_json::{Value, json};

use super::*;
use crate::model::content::Content;
use crate::model::fake::render;
use crate::model::generate::Generator;
use crate::model::judge::{Exchange, Judge};
use crate::model::reading::IMAGE;

fn repos() -> Vec<String> {
    vec!["a/x".to_owned(), "b".to_owned()]
}

/// Runs operations on the model as if it were the server.
struct Play {
    judge: Judge,
}

impl Play {
    fn new() -> Self {
        Play { judge: Judge::new(State::new(&repos())) }
    }

    fn run(&mut self, op: &Op) -> (u16, Response) {
        let answers = answer(self.judge.state(), op, false);
        let response = render(&answers[0], op.is_head());
        self.judge.take(op, &response).expect("the model agrees with itself");
        (response.status, response)
    }

    fn status(&mut self, op: &Op) -> u16 {
        self.run(op).0
    }

    fn push(&mut self, repo: &str, content: &Content) -> String {
        let digest = content.digest("sha256");
        let op = Op::PostBlob { repo: repo.to_owned(), bytes: content.clone(), digest: digest.clone(), chunked: false };
        assert_eq!(self.status(&op), 201);
        digest
    }
}

fn put(repo: &str, reference: &str, body: &Value) -> Op {
    Op::PutManifest {
        repo: repo.to_owned(),
        reference: reference.to_owned(),
        tags: Vec::new(),
        digest: None,
        content_type: Some(IMAGE.to_owned()),
        body: body.to_string(),
    }
}

fn image(config: &str, size: usize) -> Value {
    json!({ "schemaVersion": 2, "config": { "mediaType": "x/y", "digest": config, "size": size }, "layers": [] })
}

#[test]
fn a_referenced_blob_cannot_be_deleted_until_its_manifest_is() {
    let mut play = Play::new();
    let content = Content::whole(3);
    let config = play.push("b", &content);
    let delete = Op::DeleteBlob { repo: "b".to_owned(), digest: config.clone() };
    assert_eq!(play.status(&put("b", "latest", &image(&config, content.len()))), 201);
    assert_eq!(play.status(&delete), 405);
    let digest = play.judge.state().repos["b"].tags["latest"].clone();
    let tag = Op::DeleteManifest { repo: "b".to_owned(), reference: "latest".to_owned() };
    assert_eq!(play.status(&tag), 202);
    assert_eq!(play.status(&delete), 405, "the manifest is still there");
    assert_eq!(play.status(&Op::DeleteManifest { repo: "b".to_owned(), reference: digest }), 202);
    assert_eq!(play.status(&delete), 202);
    assert_eq!(play.status(&delete), 404);
    let tags = Op::Tags { repo: "b".to_owned(), n: None, last: None };
    assert_eq!(play.run(&tags).1.text(), r#"{"name":"b","tags":[]}"#, "row 119");
}

#[test]
fn a_manifest_with_missing_references_names_each() {
    let mut play = Play::new();
    let mut body = image(&Content::whole(1).digest("sha256"), 1);
    body["layers"] = json!([{ "mediaType": "x/y", "digest": Content::whole(2).digest("sha256"), "size": 2 }]);
    let (status, response) = play.run(&put("b", "latest", &body));
    assert_eq!((status, response.text().matches("MANIFEST_BLOB_UNKNOWN").count()), (400, 2));
    let content = Content::whole(3);
    let config = play.push("b", &content);
    let wrong = play.run(&put("b", "latest", &image(&config, content.len() + 1)));
    assert_eq!((wrong.0, wrong.1.error_code().as_deref()), (400, Some("MANIFEST_INVALID")), "row 97");
}

#[test]
fn chunks_out_of_order_leave_the_session_alive() {
    let mut play = Play::new();
    let repo = || "b".to_owned();
    assert_eq!(play.status(&Op::StartUpload { repo: repo(), slot: 1, algorithm: None, junk: false }), 202);
    let chunk = |from: u32, to: u32, range: &str| Op::Patch {
        repo: repo(),
        slot: 1,
        bytes: Content::Seeded(9, from, to),
        range: Some(range.to_owned()),
        chunked: false,
    };
    assert_eq!(play.status(&chunk(0, 10, "0-9")), 202);
    assert_eq!(play.status(&chunk(5, 10, "5-9")), 416, "overlap");
    assert_eq!(play.status(&chunk(20, 30, "20-29")), 416, "gap");
    assert_eq!(play.status(&chunk(10, 20, "10-25")), 400, "length");
    let response = play.run(&Op::UploadStatus { repo: repo(), slot: 1 }).1;
    assert_eq!(response.header("Range"), Some("0-9"));
    let close = |digest: String| Op::CloseUpload {
        repo: repo(),
        slot: 1,
        digest: Some(digest),
        bytes: Some(Content::Seeded(9, 10, 20)),
        range: None,
    };
    let digest = Content::Seeded(9, 0, 20).digest("sha512");
    assert_eq!(play.status(&close("sha256:short".to_owned())), 400);
    assert_eq!(play.status(&close(digest.clone())), 201, "row 70");
    assert_eq!(play.status(&close(digest)), 201, "row 71");
    assert_eq!(play.status(&Op::UploadStatus { repo: repo(), slot: 1 }), 404);
}

#[test]
fn a_collection_keeps_what_is_needed_or_may_soon_be() {
    let mut play = Play::new();
    let (kept, lost) = (Content::whole(3), Content::whole(4));
    let config = play.push("b", &kept);
    play.push("b", &lost);
    play.push("a/x", &lost);
    assert_eq!(play.status(&put("b", "latest", &image(&config, kept.len()))), 201);
    let open = Op::StartUpload { repo: "a/x".to_owned(), slot: 7, algorithm: None, junk: false };
    assert_eq!(play.status(&open), 202);
    let after = play.judge.state().collected();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].repos["b"].blobs.keys().collect::<Vec<_>>(), [&config]);
    assert_eq!(after[0].repos["a/x"].blobs.len(), 1, "an upload is open there");
}

#[test]
fn an_unanswered_close_has_a_few_possible_ends() {
    let mut play = Play::new();
    let repo = || "b".to_owned();
    play.run(&Op::StartUpload { repo: repo(), slot: 1, algorithm: None, junk: false });
    let content = Content::whole(4);
    let digest = Some(content.digest("sha256"));
    let op = Op::CloseUpload { repo: repo(), slot: 1, digest, bytes: Some(content), range: None };
    let ends = unanswered(play.judge.state(), &op);
    assert!(ends.iter().any(|state| state.repos["b"].blobs.len() == 1), "it happened");
    assert!(ends.iter().any(|state| state.sessions.contains_key(&1)), "it did not");
    assert!(ends.iter().any(|state| state.sessions.is_empty() && state.repos["b"].blobs.is_empty()), "in between");
}

#[test]
fn answers_at_the_same_time_need_an_order() {
    let mut play = Play::new();
    let content = Content::whole(3);
    let config = play.push("b", &content);
    let bodies: Vec<_> = (0..2)
        .map(|n| {
            let mut body = image(&config, content.len());
            body["annotations"] = json!({ "n": n.to_string() });
            body
        })
        .collect();
    let both = bodies.iter().map(|body| {
        let op = put("b", "latest", body);
        let response = render(&answer(play.judge.state(), &op, true)[0], false);
        Exchange { op, response: Some(response) }
    });
    let both: Vec<_> = both.collect();
    play.judge.take_together(&both).unwrap();
    assert_eq!(play.judge.count(), 2, "either may have been the last");
    let read =
        Op::GetManifest { repo: "b".to_owned(), reference: "latest".to_owned(), head: false, if_none_match: None };
    play.run(&read);
    assert_eq!(play.judge.count(), 1, "now it is known");
    let gone = Op::DeleteManifest { repo: "b".to_owned(), reference: "latest".to_owned() };
    let twice: Vec<_> =
        (0..2).map(|_| Exchange { op: gone.clone(), response: Some(render(&Answer::new(202), false)) }).collect();
    assert!(play.judge.take_together(&twice).is_err(), "only one of them can have deleted it");
}

#[test]
fn generated_operations_reach_every_answer() {
    let mut play = Play::new();
    let mut generator = Generator::new(Random::new(1), 0, repos(), Vec::new());
    let mut seen = BTreeMap::<String, BTreeMap<u16, usize>>::new();
    for _ in 0..20_000 {
        let op = generator.next(play.judge.state());
        let status = play.status(&op);
        let name = serde_json::to_value(&op).unwrap()["op"].as_str().unwrap().to_owned();
        *seen.entry(name).or_default().entry(status).or_default() += 1;
    }
    for (name, statuses) in [
        ("start-upload", &[202, 400][..]),
        ("post-blob", &[201, 400]),
        ("mount", &[201, 202, 400]),
        ("patch", &[202, 400, 404, 416]),
        ("upload-status", &[204, 404]),
        ("cancel-upload", &[204, 404]),
        ("close-upload", &[201, 400, 404, 416]),
        ("get-blob", &[200, 206, 400, 404, 416]),
        ("delete-blob", &[202, 404, 405]),
        ("put-manifest", &[201, 400]),
        ("get-manifest", &[200, 304, 404]),
        ("delete-manifest", &[202, 404]),
        ("tags", &[200, 400]),
        ("referrers", &[200, 400]),
    ] {
        for status in statuses {
            let count = seen[name].get(status).copied().unwrap_or(0);
            assert!(count >= 3, "{name} {status}: {count} times; {seen:#?}");
        }
    }
    let state = play.judge.state();
    assert!(state.repos.values().all(|repo| repo.manifests.len() < 60), "repositories stay small");
    assert!(state.sessions.len() < 100, "sessions stay few");
    assert!(seen["put-manifest"][&201] > seen["put-manifest"][&400] / 2, "{seen:?}");
}
