//! Portals that lie, stall, babble and break.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use skynet_formats::identity::{IdentityKey, parse_nonce};
use skynet_formats::profile::Profile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::{backend, portal, portal_with, put, sample};
use crate::skynet::testing::{Route, TestPortal, Trouble};
use crate::skynet::{Access, Deadlines, Portal, PortalConfig, Secret};
use crate::testing::read;
use crate::{
    Backend as _, BackendError, BytesSource, Identity, Locator, PLAIN, Progress as _, ProgressInMemory, Put,
    Source as _, UNIT, UnitProofs as _,
};

const LARGE: u64 = 2 * UNIT + 1000;

/// Deadlines that a test can wait for.
const SHORT: Deadlines = Deadlines {
    connect: Duration::from_secs(2),
    first_byte: Duration::from_millis(500),
    idle: Duration::from_secs(1),
    ping: Duration::from_millis(500),
    least_rate: 1 << 30,
};

#[tokio::test]
async fn another_skylink_than_the_computed_one_is_misbehaviour() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    for (length, route) in [(1000, Route::Upload), (LARGE, Route::TusHead)] {
        test.always(route, Trouble::WrongSkylink);
        let resume = ProgressInMemory::default();
        let error = portal(&test).put(Arc::new(sample(length, 1)), Put::IfAbsent, &resume).await.unwrap_err();
        assert!(matches!(error, BackendError::Misbehaves { .. }), "{length} bytes: {error}");
        assert!(resume.last().is_none_or(|token| token.as_str().is_empty()), "nobody takes it up again");
        test.clear();
    }
}

/// A registry that took its own gateway for a portal would rely on a copy that is the only one.
#[tokio::test]
async fn a_gateway_is_no_place_for_content() {
    for access in [Access::Open, Access::Skyd(Secret::new("password"))] {
        let test = TestPortal::start_with(Profile::DEFAULT, access).await;
        let content = sample(1000, 1);
        put(&portal(&test), &content).await.unwrap();
        test.always(Route::Stats, Trouble::Gateway);
        test.always(Route::Head, Trouble::Gateway);
        assert!(matches!(portal(&test).check().await.unwrap_err(), BackendError::Unsuitable { .. }));
        // It has the content, and that does not count.
        let (pins, uploads) = (test.calls(Route::Pin), test.calls(Route::Upload));
        let error = put(&portal(&test), &content).await.unwrap_err();
        assert!(matches!(error, BackendError::Unsuitable { .. }), "{error}");
        assert_eq!((test.calls(Route::Pin), test.calls(Route::Upload)), (pins, uploads));
    }
}

#[tokio::test]
async fn answers_mean_what_they_mean_for_every_request() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let html = "<html><body>Bad Gateway</body></html>";
    let table = [
        (Trouble::Answer(500, "application/json", r#"{"message":"download timed out"}"#), "unavailable"),
        (Trouble::Answer(502, "text/html", html), "unavailable"),
        (Trouble::Answer(404, "text/html", html), "unavailable"),
        (Trouble::Busy(429, "17"), "unavailable"),
        (Trouble::Answer(408, "application/json", "{}"), "unavailable"),
        (Trouble::Answer(451, "application/json", "{}"), "refused"),
        (Trouble::Answer(401, "text/html", html), "refused"),
        (Trouble::Answer(403, "text/plain", "no"), "refused"),
        (Trouble::Answer(307, "text/plain", ""), "refused"),
        (Trouble::Answer(507, "text/plain", ""), "full"),
    ];
    let (small, large) = (sample(1000, 1), sample(LARGE, 2));
    for (trouble, kind) in table {
        for route in [Route::Upload, Route::TusCreate, Route::TusPatch] {
            test.always(route, trouble);
            let source = if route == Route::Upload { &small } else { &large };
            assert_eq!(put(&portal(&test), source).await.unwrap_err().kind(), kind, "{route:?} {trouble:?}");
            test.clear();
        }
    }
    let locator = put(&portal(&test), &large).await.unwrap();
    for (trouble, kind) in table {
        test.always(Route::Get, trouble);
        let error = read(&portal(&test), &large, &locator, 5..LARGE).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{trouble:?}");
        if let Trouble::Busy(..) = trouble {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
        }
    }
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_not_waited_for() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let (small, large) = (sample(1000, 1), sample(LARGE, 2));
    let locator = put(&portal(&test), &large).await.unwrap();
    put(&portal(&test), &small).await.unwrap();
    let hasty = portal_with(&test, SHORT);
    for (route, trouble) in [
        (Route::Get, Trouble::Stall),
        (Route::Get, Trouble::StallAfter(100)),
        (Route::Head, Trouble::Stall),
        (Route::Stats, Trouble::Stall),
    ] {
        test.always(route, trouble);
        let result = match route {
            Route::Get => read(&hasty, &large, &locator, 0..LARGE).await.map(|_| ()),
            Route::Head => hasty.stat(large.content(), &locator).await.map(|_| ()),
            _ => hasty.check().await,
        };
        assert!(matches!(result, Err(BackendError::TimedOut { .. })), "{route:?} {trouble:?}: {result:?}");
        test.clear();
    }
    let (a, b, c, d) = (sample(1000, 3), sample(LARGE, 4), sample(LARGE, 5), sample(LARGE, 6));
    for (route, source) in [(Route::Upload, a), (Route::TusCreate, b), (Route::TusPatch, c), (Route::TusHead, d)] {
        test.always(route, Trouble::Stall);
        let result = tokio::time::timeout(Duration::from_mins(2), put(&hasty, &source)).await.unwrap();
        assert!(matches!(result, Err(BackendError::TimedOut { .. })), "{route:?}: {result:?}");
        test.clear();
    }
}

#[tokio::test]
async fn answers_without_end_are_not_read_to_it() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(1000, 1);
    let locator = portal(&test).locate(Arc::new(source.clone())).await.unwrap().unwrap();
    for route in [Route::Stats, Route::Upload, Route::Get] {
        test.always(route, Trouble::Endless);
        let result = match route {
            Route::Stats => portal(&test).check().await,
            Route::Upload => put(&portal(&test), &source).await.map(|_| ()),
            _ => read(&portal(&test), &source, &locator, 0..1000).await.map(|_| ()),
        };
        assert!(matches!(result, Err(BackendError::Misbehaves { .. })), "{route:?}: {result:?}");
        test.clear();
    }
}

#[tokio::test]
async fn short_and_other_bytes_are_told() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    let locator = put(&portal(&test), &source).await.unwrap();
    test.at(Route::Get, 0, Trouble::BreakAfter(UNIT));
    let error = read(&portal(&test), &source, &locator, 0..LARGE).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    test.at(Route::Get, 0, Trouble::IgnoreRange);
    let error = read(&portal(&test), &source, &locator, 5..LARGE).await.unwrap_err();
    assert_eq!(error.kind(), "refused", "{error}");
}

#[tokio::test]
async fn a_locator_of_others_leads_nowhere() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(1000, 1);
    let sound = put(&portal(&test), &source).await.unwrap();
    let asked = test.requests().len();
    let others = [
        Locator { address: "../skynet/stats".into(), ..sound.clone() },
        Locator { address: String::new(), ..sound.clone() },
        Locator { kind: "s3".into(), ..sound.clone() },
        Locator { profile: "4KiB/1+4".into(), ..sound.clone() },
        Locator { codec: "age".into(), ..sound.clone() },
        Locator { stored_size: 1001, ..sound.clone() },
    ];
    assert_eq!(sound.codec, PLAIN);
    for locator in others {
        assert_eq!(read(&portal(&test), &source, &locator, 0..10).await.unwrap_err().kind(), "refused", "{locator:?}");
        assert_eq!(portal(&test).delete(source.content(), &locator).await.unwrap_err().kind(), "refused");
    }
    assert_eq!(test.requests().len(), asked, "nobody was asked");
    // For any endpoints in a locator, only the configured portal is asked.
    let elsewhere = Locator { endpoints: vec!["http://127.0.0.1:1".into()], ..sound };
    assert_eq!(read(&portal(&test), &source, &elsewhere, 0..1000).await.unwrap(), source.read_all());
}

#[tokio::test]
async fn errors_and_debug_output_hold_no_secret() {
    use crate::skynet::{Access, Secret};
    let test = TestPortal::start_with(Profile::DEFAULT, Access::ApiKey(Secret::new("very-secret"))).await;
    test.always(Route::Upload, Trouble::Answer(500, "text/plain", "oops"));
    let portal = portal(&test);
    let error = put(&portal, &sample(10, 1)).await.unwrap_err();
    assert!(!format!("{error} {error:?} {portal:?} {:?}", test.config()).contains("very-secret"));
}

async fn proof(portal: &Portal, source: &BytesSource, locator: &Locator) -> Result<bool, BackendError> {
    let proof = portal.unit_proof(source.content(), locator).await?.expect("its skylink commits to units");
    let units: Vec<Bytes> = source.read_all().chunks(UNIT as usize).map(Bytes::copy_from_slice).collect();
    Ok((0..).zip(&units).all(|(number, unit)| proof.accepts(number, unit)))
}

#[tokio::test]
async fn roots_are_believed_only_if_they_make_the_skylink() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let large = sample(LARGE, 2);
    let locator = put(&portal(&test), &large).await.unwrap();
    assert!(proof(&portal(&test), &large, &locator).await.unwrap());
    // Bytes in the layout: its version, the content's length, the pieces. Then bytes in the fanout.
    for at in [0, 1, 25, 26, 27, 99, 100, 99 + 32, 99 + 95] {
        test.always(Route::BaseSector, Trouble::WrongByte(at));
        let error = proof(&portal(&test), &large, &locator).await;
        let sound = matches!(error, Ok(true));
        assert!(sound || matches!(error, Err(BackendError::Corrupt { .. })), "byte {at}: {error:?}");
        assert!(at < 99 || !sound, "byte {at} is of a root");
    }
    let table = [
        (Trouble::Answer(404, "application/json", r#"{"message":"not found"}"#), "not_found"),
        (Trouble::Answer(500, "application/json", "{}"), "unavailable"),
        (Trouble::Answer(200, "text/html", "<html>log in first</html>"), "corrupt"),
        (Trouble::Endless, "misbehaves"),
        (Trouble::Stall, "timed_out"),
    ];
    for (trouble, kind) in table {
        test.always(Route::BaseSector, trouble);
        let error = proof(&portal_with(&test, SHORT), &large, &locator).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{trouble:?}");
    }
}

#[tokio::test]
async fn to_say_who_it_is_does_not_take_as_long_as_content_may() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    test.always(Route::Get, Trouble::Stall);
    portal(&test).identify().await.unwrap();
    test.always(Route::Identity, Trouble::Stall);
    assert_eq!(portal_with(&test, SHORT).identify().await.unwrap_err().kind(), "timed_out");
}

#[tokio::test]
async fn who_a_portal_is_must_be_proven() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let portal = portal(&test);
    assert_eq!(portal.endpoint().unwrap(), test.config().url.to_string(), "not asked yet");
    let proven = portal.identify().await.unwrap();
    assert!(matches!(proven, Identity::Proven(_)));
    assert_eq!(portal.endpoint().unwrap(), test.identity());
    // Another one at the same address that cannot prove anything is another endpoint.
    for trouble in [
        Trouble::Answer(404, "application/json", r#"{"message":"404 - Refer to API.md"}"#),
        Trouble::Answer(404, "text/html", "<html>nothing here</html>"),
        Trouble::Answer(200, "text/html", "<html>welcome</html>"),
    ] {
        test.always(Route::Identity, trouble);
        assert_eq!(portal.identify().await.unwrap(), Identity::Unprovable, "{trouble:?}");
        assert_eq!(portal.endpoint().unwrap(), test.config().url.to_string());
    }
    test.always(Route::Identity, Trouble::OldProof);
    assert_eq!(portal.identify().await.unwrap_err().kind(), "misbehaves");
    for trouble in [Trouble::Answer(500, "text/html", "<html>"), Trouble::Answer(401, "text/html", "<html>")] {
        test.clear();
        portal.identify().await.unwrap();
        test.always(Route::Identity, trouble);
        portal.identify().await.unwrap_err();
        assert_eq!(portal.endpoint().unwrap(), test.identity(), "silence changes nothing: {trouble:?}");
    }
}

#[tokio::test]
async fn nothing_is_put_where_nobody_says_who_it_is() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    test.always(Route::Identity, Trouble::Answer(500, "text/html", "<html>"));
    let portal = portal(&test);
    assert!(put(&portal, &sample(1000, 1)).await.unwrap_err().is_retryable());
    assert_eq!(test.calls(Route::Upload), 0);
    test.clear();
    assert_eq!(put(&portal, &sample(1000, 1)).await.unwrap().endpoints, [test.identity()]);
    put(&portal, &sample(1000, 2)).await.unwrap();
    assert_eq!(test.calls(Route::Identity), 2, "a proof holds for a minute");
}

/// The proof of who it is, if a request asks for one.
fn proof_for(head: &str) -> Option<String> {
    let nonce = head.strip_prefix("get /skynet/identity?nonce=")?.split(' ').next()?;
    let proof = IdentityKey::from_seed(&[1; 32]).prove(&parse_nonce(nonce)?);
    Some(serde_json::to_string(&proof).unwrap())
}

/// A portal that gives each request the answer for its head. Without one it breaks off, as if it were killed.
async fn scripted(
    mut answer: impl FnMut(&str) -> Option<&'static str> + Send + 'static,
) -> (PortalConfig, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let proof = proof_for(&head);
            let (answer, body) = match proof {
                Some(proof) => ("HTTP/1.1 200 OK\r\n", proof),
                None => match answer(&head) {
                    Some(answer) => (answer, String::new()),
                    None => continue,
                },
            };
            let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            stream.write_all(format!("{answer}{length}Connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
            // The rest of the body is read, or the answer could be lost.
            let mut rest = [0; 4096];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
    });
    (PortalConfig::new(url.parse().unwrap(), Access::Open), server)
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nLocation: /skynet/tus/1\r\nContent-Length: 0\r\n";

/// A portal that keeps each byte was restarted in the middle of a part that did not begin at a chunk, and was back before the
/// error was seen: the upload began again.
#[tokio::test]
async fn a_portal_that_breaks_off_has_the_upload_still() {
    let (sender, asked) = mpsc::channel();
    let (config, server) = scripted(move |head| {
        let method = head.split(' ').next().unwrap_or_default();
        sender.send(method.to_owned()).unwrap();
        match method {
            "post" => Some(CREATED),
            "head" if head.contains(" /skynet/tus") => Some("HTTP/1.1 200 OK\r\nUpload-Offset: 77\r\n"),
            "head" => Some("HTTP/1.1 404 Not Found\r\n"),
            _ => None,
        }
    })
    .await;
    let (source, resume) = (sample(LARGE, 1), ProgressInMemory::default());
    let portal = backend(config, Profile::DEFAULT);
    for _ in 0..2 {
        let error = portal.put(Arc::new(source.clone()), Put::IfAbsent, &resume).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked, ["head", "post", "patch", "head", "head", "head", "patch", "head"]);
    server.abort();
}

/// The request of a killed registry ended between the question for the offset and the next part, which was refused. The
/// upload began again.
#[tokio::test]
async fn an_upload_that_moved_on_meanwhile_goes_on_there() {
    let (sender, asked) = mpsc::channel();
    let mut patches = 0;
    let (config, server) = scripted(move |head| {
        let method = head.split(' ').next().unwrap_or_default();
        let offset = head.lines().find_map(|line| line.strip_prefix("upload-offset: ")).unwrap_or_default();
        sender.send(format!("{method} {offset}")).unwrap();
        patches += usize::from(method == "patch");
        match method {
            "post" => Some(CREATED),
            "head" if !head.contains(" /skynet/tus") => Some("HTTP/1.1 404 Not Found\r\n"),
            "head" if patches < 2 => Some("HTTP/1.1 200 OK\r\nUpload-Offset: 77\r\n"),
            "head" => Some("HTTP/1.1 200 OK\r\nUpload-Offset: 99\r\n"),
            _ if patches == 2 => Some("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n"),
            _ => None,
        }
    })
    .await;
    let (source, resume) = (sample(LARGE, 1), ProgressInMemory::default());
    let portal = backend(config, Profile::DEFAULT);
    for _ in 0..2 {
        portal.put(Arc::new(source.clone()), Put::IfAbsent, &resume).await.unwrap_err();
    }
    let mut asked: Vec<String> = asked.try_iter().collect();
    asked.retain(|asked| !asked.starts_with("head"));
    assert_eq!(asked, ["post ", "patch 0", "patch 77", "patch 99"]);
    server.abort();
}
