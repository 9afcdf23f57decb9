//! Pins over HTTP.

use tokio_util::sync::CancellationToken;

use crate::http::tests::{TestPortal, get, json, post, upload};

#[tokio::test]
async fn what_is_here_can_be_pinned_and_unpinned() {
    let portal = TestPortal::new();
    let link = upload(&portal, "a", vec![3; 9 << 20]).await;
    let unpin = async || portal.send(post(&format!("/skynet/unpin/{link}"), "")).await.status();
    assert_eq!(unpin().await, 204);
    assert_eq!(unpin().await, 204, "it is asked for again");
    let health = json(portal.send(get(&format!("/skynet/health/skylink/{link}"))).await).await;
    assert_eq!(health["pinned"], false);
    assert_eq!(health["fanoutredundancy"], serde_json::json!([1.0, 1.0, 1.0]));
    let response = portal.send(post(&format!("/skynet/pin/{link}?siapath=my/path"), "")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["skynet-skylink"], link.as_str());
    assert_eq!(json(response).await["siapath"], "my/path");
    assert_eq!(portal.portal().stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors, 0);
    unpin().await;
    assert_eq!(
        portal.portal().stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors,
        3,
        "two sectors alike, one other, the base sector"
    );
    for path in ["/skynet/pin", "/skynet/unpin"] {
        assert_eq!(portal.send(post(&format!("{path}/nothing"), "")).await.status(), 400);
    }
    assert_eq!(portal.send(post(&format!("/skynet/pin/{link}"), "")).await.status(), 404);
    assert_eq!(portal.send(get(&format!("/skynet/health/skylink/{link}"))).await.status(), 404);
    assert_eq!(portal.send(get(&format!("/skynet/pin/{link}"))).await.status(), 405);
}

#[tokio::test]
async fn health_tells_what_is_missing() {
    let portal = TestPortal::with(|options| options.profile = "4KiB/2+3".parse().unwrap());
    let content: Vec<u8> = (0..16_384_u32).map(|n| (n % 251) as u8).collect();
    let link = upload(&portal, "a", content).await;
    let skyfile = portal.portal().stores().unwrap().skyfiles.open(&link.parse().unwrap()).await.unwrap().unwrap();
    portal.portal().stores().unwrap().skyfiles.sectors().quarantine(&skyfile.roots().nth(1).unwrap()).unwrap();
    let health = json(portal.send(get(&format!("/skynet/health/skylink/{link}"))).await).await;
    let expected = serde_json::json!({
        "basesectorredundancy": 1, "fanouteffectiveredundancy": 0.5, "fanoutdatapieces": 2, "fanoutparitypieces": 3,
        "fanoutredundancy": [0.5, 1.0], "pinned": true,
    });
    assert_eq!(health, expected);
}
