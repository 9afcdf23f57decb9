//! The text for people, and the JSON members for programs.

use super::*;
use crate::admin::reply::{CatalogFigures, Stored};

fn safety(safe: Safe, backlog: u64) -> Safety {
    Safety { backlog: Some(backlog), backlog_bytes: Some(backlog << 20), ..Safety::of(safe) }
}

fn said(node: Running, safety: Safety) -> String {
    status(&Status { safety, ..Status::of(node) })
}

#[test]
fn yes_is_said_only_where_the_backend_was_asked_just_now() {
    assert!(said(Running::Running, safety(Safe::Yes, 0)).contains("safe to close: yes"));
    assert!(said(Running::Running, safety(Safe::No, 3)).contains("safe to close: no, 3 blobs, 3.0 MiB"));
    for node in [Running::Running, Running::Stopped] {
        assert!(said(node, safety(Safe::NotKnown, 0)).contains("safe to close: unknown"), "{node:?}");
    }
    for node in [Running::Starting, Running::NotAnswering] {
        assert!(!said(node, safety(Safe::NotKnown, 0)).contains("safe to close"), "{node:?}");
    }
}

#[test]
fn yes_is_said_neither_of_copies_on_this_machine_nor_of_those_never_read_back() {
    let here = said(Running::Running, Safety { only_here: Some(1), not_read_back: Some(0), ..safety(Safe::No, 0) });
    assert!(here.contains("safe to close: no, 1 blob has copies only on this machine"), "{here}");
    let unread = said(Running::Running, Safety { not_read_back: Some(1), ..safety(Safe::No, 0) });
    assert!(unread.contains("safe to close: no, 1 blob placed and not read back yet"), "{unread}");
}

#[test]
fn a_count_that_did_not_come_to_its_end_says_so() {
    let stored = |complete| {
        let stored = Some(Stored { files: 1, bytes: 2048, complete });
        status(&Status { stored, ..Status::of(Running::Running) })
    };
    assert!(stored(true).contains("stored           2.0 KiB in 1 file"));
    assert!(stored(false).contains("more than 2.0 KiB in more than 1 file"));
}

#[test]
fn programs_get_bytes_and_no_words() {
    let stored = Some(Stored { files: 3, bytes: 5 << 40, complete: true });
    let item = Item::Status(Box::new(Status { stored, ..Status::of(Running::NotAnswering) }));
    let json: serde_json::Value = serde_json::to_value(&item).unwrap();
    assert_eq!(json["kind"], "status");
    assert_eq!(json["node"], "not-answering");
    assert_eq!(json["stored"]["bytes"], 5_u64 << 40);
    assert_eq!(json["safety"]["safe"], "not-known");
    assert_eq!(serde_json::from_value::<Item>(json).unwrap(), item);
}

#[test]
fn one_of_a_thing_is_no_plural() {
    let Elsewhere { content, unpins } = Elsewhere { content: 1, unpins: 1 };
    let said = elsewhere(Elsewhere { content, unpins }).join(";");
    assert!(said.contains("1 blob,") && said.contains("1 removal,"), "{said}");
    assert!(
        text(&Item::Checked { records: 1, files: 1, elsewhere: 0, bad: 0, put_aside: 0 })
            .starts_with("journal: 1 record read")
    );
    let collected = collection(false, Collected { kept: 1, ..Collected::default() });
    assert!(collected.ends_with("kept 1 unreferenced blob, within the grace period or a running push"), "{collected}");
}

#[test]
fn findings_come_back_from_json() {
    let digest: crate::oci::Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    for finding in [
        Finding::Damaged { digest: digest.clone() },
        Finding::PutAside { digest, list: true },
        Finding::Journal { file: "segment".into(), offset: 64, what: "x".into() },
        Finding::Unreferenced { files: 2 },
    ] {
        let item = Item::Finding(finding);
        let json = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<Item>(&json).unwrap(), item, "{json}");
    }
    let item = Item::Collection { dry_run: true, collected: Collected { blobs: 1, ..Collected::default() } };
    let json = serde_json::to_string(&item).unwrap();
    assert!(json.starts_with(r#"{"kind":"collection","dry_run":true,"blobs":1"#), "{json}");
    assert_eq!(serde_json::from_str::<Item>(&json).unwrap(), item);
    assert!(text(&item).starts_with("would remove 1 unreferenced blob (0 B)"));
}

/// `ls` of an index with such a platform cleared the terminal.
#[test]
fn strings_of_others_do_not_act_on_the_terminal() {
    let platform = "linux\u{1b}[2J\n\t/\u{202e}46dma\u{9b}\u{7f}é".to_owned();
    let part = Part {
        digest: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
        bytes: Some(1),
        role: Role::Platform,
        media_type: None,
        platform: Some(platform.clone()),
        here: true,
        copies: Vec::new(),
    };
    let item = Item::Part(part);
    let shown = text(&item);
    assert!(shown.ends_with("platform linux\\u{1b}[2J\\u{a}\\u{9}/\\u{202e}46dma\\u{9b}\\u{7f}é"), "{shown}");
    let json = json(&item);
    assert!(!json.contains(['\u{202e}', '\u{9b}', '\u{7f}', '\u{1b}']), "{json}");
    assert_eq!(serde_json::from_str::<Item>(&json).unwrap(), item, "programs get it unchanged");
    let trouble = Status { trouble: Some(platform), ..Status::of(Running::Stopped) };
    assert!(!text(&Item::Status(Box::new(trouble))).contains('\u{1b}'));
}

/// A stopped node has not started.
#[test]
fn only_a_running_node_has_rebuilds_since_its_start() {
    let said = |node| {
        let catalog =
            CatalogFigures { sequence: 9, snapshot_sequence: 0, journal_bytes: 100, index_entries: 7, rebuilds: 0 };
        status(&Status { catalog: Some(catalog), ..Status::of(node) })
    };
    assert!(said(Running::Running).contains("7 entries, 0 rebuilds since the start"));
    assert!(!said(Running::Stopped).contains("start"), "{}", said(Running::Stopped));
}

/// It said "ready" and nothing more, while every push was answered 507.
#[test]
fn a_node_on_a_full_disk_says_that_it_refuses_pushes() {
    let said = |free| {
        let (state, free_bytes) = (Some(State::Ready), Some(free));
        status(&Status { state, free_bytes, reserve_bytes: Some(64), ..Status::of(Running::Running) })
    };
    // An eighth more than the reserve stays free, too.
    for free in [63, 64, 72] {
        assert!(said(free).contains("ready; pushes are refused: no more than nine eighths"), "{}", said(free));
    }
    assert!(!said(73).contains("refused"), "{}", said(73));
}
