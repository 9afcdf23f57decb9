//! Skylinks that lead to other skylinks.

use skynet_formats::entry::{EntryPost, SignedEntry};
use skynet_formats::proof::{PROOF_HEADER, verify_proof};

use super::*;
use crate::entries::tests::entry;

impl TestPortal {
    /// Lets the entry with this name point to a skylink. Returns the entry's own skylink.
    async fn point(&self, name: &str, revision: u64, to: Skylink) -> Skylink {
        let entry: SignedEntry = entry(1, name, revision, &to.to_bytes());
        let body = serde_json::to_string(&EntryPost::from(&entry)).unwrap();
        let response = self.send(Request::post("/skynet/registry").body(Body::from(body)).unwrap()).await;
        assert_eq!(response.status(), 204);
        Skylink::v2(*entry.id().as_bytes())
    }
}

#[tokio::test]
async fn what_a_resolver_leads_to_is_served_with_the_proof() {
    let portal = TestPortal::new();
    let v1 = portal.upload_directory(&APP, |_| ()).await;
    let last = portal.point("last", 0, v1).await;
    let first = portal.point("first", 0, last).await;
    let etag = header(&portal.get(&format!("/{v1}/")).await, "etag").to_owned();
    for (asked, passed) in [(last, 1), (first, 2)] {
        for target in [
            format!("/{asked}/"),
            format!("/{}/index.html", asked.to_base32()),
            format!("/{asked}/css"),
            format!("/skynet/metadata/{asked}"),
        ] {
            let response = portal.get(&target).await;
            assert_eq!(response.status(), 200, "{target}");
            assert_eq!(header(&response, "skynet-skylink"), v1.to_string(), "{target}");
            assert_eq!(header(&response, "cache-control"), "no-cache", "{target}");
            let proof = verify_proof(asked, header(&response, PROOF_HEADER)).unwrap();
            assert_eq!((proof.skylink, proof.passed.len()), (v1, passed), "{target}");
        }
        let same = portal.get_with(&format!("/{asked}/"), &[("if-none-match", &etag)]).await;
        assert_eq!((same.status().as_u16(), header(&same, "cache-control")), (304, "no-cache"));
        assert!(verify_proof(asked, header(&same, PROOF_HEADER)).is_ok());
    }
}

#[tokio::test]
async fn the_tag_changes_with_what_a_resolver_leads_to() {
    let portal = TestPortal::new();
    let (one, two) = (portal.upload_raw("a", b"one").await, portal.upload_raw("a", b"two").await);
    let link = portal.point("moving", 0, one).await;
    let before = header(&portal.get(&format!("/{link}")).await, "etag").to_owned();
    assert_eq!(portal.point("moving", 1, two).await, link);
    let response = portal.get_with(&format!("/{link}"), &[("if-none-match", &before)]).await;
    assert_eq!((response.status().as_u16(), header(&response, "skynet-skylink")), (200, two.to_string().as_str()));
    assert_ne!(header(&response, "etag"), before);
    assert_eq!(text(response).await, "two");
}

#[tokio::test]
async fn redirects_of_a_resolver_do_not_outlive_it() {
    let portal = TestPortal::new();
    let v1 = portal.upload_directory(&APP, |_| ()).await;
    let link = portal.point("app", 0, v1).await;
    let slash = portal.get(&format!("/{link}")).await;
    assert_eq!((slash.status().as_u16(), header(&slash, "cache-control")), (308, "no-cache"));
    let own = portal.get_with(&format!("/{link}/"), &[("sec-fetch-mode", "navigate")]).await;
    assert_eq!(header(&own, "location"), format!("http://{}.localhost:9980/", link.to_base32()));
    let host = format!("{}.localhost", link.to_base32());
    let response = portal.get_with("/about.html", &[("host", &host)]).await;
    assert_eq!(header(&response, "cache-control"), "no-cache");
    assert_eq!(text(response).await, "about");
}

#[tokio::test]
async fn a_resolver_that_leads_nowhere_is_not_found() {
    let portal = TestPortal::new();
    let absent = Skylink::v2([7; 32]);
    let gone = portal.point("gone", 0, "AACa5S94r4CHMshi4MCclYYoqW3IwMIpRXEcaBdUBpR4DA".parse().unwrap()).await;
    for link in [absent, gone] {
        let (status, body) = portal.fetch(&format!("/{link}")).await;
        assert_eq!(status, 404, "{body}");
        assert!(body.contains("failed to fetch skylink: "), "{body}");
    }
}
