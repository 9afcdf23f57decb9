//! Resolving over a portal's entries.

use std::path::PathBuf;

use skynet_formats::entry::SignedEntry;
use skynet_formats::proof::{proof_header, verify_proof};

use super::*;
use crate::entries::tests::entry;

/// A portal in a temporary directory.
struct Fixture {
    portal: Portal,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let portal = Portal::open(directory.path(), crate::options::for_tests()).unwrap();
        Fixture { portal, directory }
    }

    async fn put(&self, entry: &SignedEntry) {
        put_entries(&self.portal, vec![entry.clone()], None, false).await.unwrap();
    }

    async fn resolve(&self, skylink: Skylink) -> Result<Resolved, ResolveLinkError> {
        resolve_link(&self.portal, &skylink, None).await
    }

    fn file(&self, entry: &SignedEntry) -> PathBuf {
        let name = entry.id().to_string();
        self.directory.path().join("entries").join(&name[..2]).join(name)
    }
}

const V1: &str = "XABvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg";

fn v1() -> Skylink {
    V1.parse().unwrap()
}

fn link(entry: &SignedEntry) -> Skylink {
    Skylink::v2(*entry.id().as_bytes())
}

fn pointer(name: &str, revision: u64, target: Skylink) -> SignedEntry {
    entry(1, name, revision, &target.to_bytes())
}

#[tokio::test]
async fn a_way_over_two_entries_comes_with_its_proof() {
    let fixture = Fixture::new();
    let second = pointer("second", 0, v1());
    let first = pointer("first", 0, link(&second));
    let zeroth = pointer("zeroth", 0, link(&first));
    for entry in [&first, &second, &zeroth] {
        fixture.put(entry).await;
    }
    let resolved = fixture.resolve(link(&first)).await.unwrap();
    assert_eq!(resolved, Resolved { skylink: v1(), passed: vec![first.clone(), second] });
    let header = proof_header(&resolved.passed).unwrap();
    assert_eq!(verify_proof(link(&first), &header).unwrap(), resolved);
    let deeper = fixture.resolve(link(&zeroth)).await;
    assert!(matches!(deeper, Err(ResolveLinkError::Resolve(ResolveError::TooDeep))));
    assert_eq!(fixture.resolve(v1()).await.unwrap(), Resolved { skylink: v1(), passed: vec![] });
}

#[tokio::test]
async fn a_pointer_is_followed_to_what_it_says_now() {
    let fixture = Fixture::new();
    let asked = link(&pointer("tag", 0, v1()));
    assert!(matches!(fixture.resolve(asked).await, Err(ResolveLinkError::Unknown(_))));
    fixture.put(&pointer("tag", 0, v1())).await;
    assert_eq!(fixture.resolve(asked).await.unwrap().skylink, v1());
    let other = "AACDPHoC2DCV_kLGUdpdRJr3CcxCmKadLGPi6OAMl7d48w".parse().unwrap();
    fixture.put(&pointer("tag", 1, other)).await;
    assert_eq!(fixture.resolve(asked).await.unwrap().skylink, other);
    fixture.put(&entry(1, "tag", 2, &[0; 34])).await;
    let deleted = fixture.resolve(asked).await;
    assert!(matches!(deleted, Err(ResolveLinkError::Deleted(_))));
    fixture.put(&entry(1, "tag", 3, b"no skylink")).await;
    let lost = fixture.resolve(asked).await;
    assert!(matches!(lost, Err(ResolveLinkError::Resolve(ResolveError::NotAPointer(_)))));
}

#[tokio::test]
async fn a_failing_disk_is_not_an_unknown_entry() {
    let fixture = Fixture::new();
    let entry = pointer("tag", 0, v1());
    std::fs::create_dir_all(fixture.file(&entry)).unwrap();
    assert!(matches!(fixture.resolve(link(&entry)).await, Err(ResolveLinkError::Store(_))));
}
