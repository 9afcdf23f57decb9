//! Blocked skylinks are not served.

use crate::http::tests::{TestPortal, get, json, post, upload};

#[tokio::test]
async fn a_blocked_skylink_is_not_served_kept_or_taken() {
    let portal = TestPortal::new();
    let link = upload(&portal, "a", "bad").await;
    let change = async |body: String| portal.send(post("/skynet/blocklist", body)).await.status().as_u16();
    assert_eq!(change(format!(r#"{{"add":["{link}"],"remove":null}}"#)).await, 204);
    let listed = json(portal.send(get("/skynet/blocklist")).await).await;
    let hash = listed["blocklist"][0].as_str().unwrap().to_owned();
    let paths = ["basesector", "trustless/basesector", "health/skylink"];
    for path in paths {
        assert_eq!(portal.send(get(&format!("/skynet/{path}/{link}"))).await.status(), 451, "{path}");
    }
    let root = portal.portal().stores().unwrap().skyfiles.sectors();
    let mut roots = Vec::new();
    root.walk(|root, _| {
        roots.push(root);
        Ok(())
    })
    .unwrap();
    let by_root = format!("/skynet/root?root={}&offset=0&length=1", roots[0]);
    assert_eq!(portal.send(get(&by_root)).await.status(), 451);
    assert_eq!(portal.send(post(&format!("/skynet/pin/{link}"), "")).await.status(), 451);
    let again = post("/skynet/skyfile?filename=a", "bad");
    let (mut head, body) = again.into_parts();
    head.headers.insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(portal.send(http::Request::from_parts(head, body)).await.status(), 451);
    assert_eq!(change(format!(r#"{{"remove":["{hash}"],"ishash":true}}"#)).await, 204);
    assert_eq!(portal.send(get(&format!("/skynet/basesector/{link}"))).await.status(), 200);
    for wrong in ["{}", "[]", "", r#"{"add":["x"]}"#, r#"{"add":["x"],"ishash":true}"#] {
        assert_eq!(change(wrong.to_owned()).await, 400, "{wrong}");
    }
}
