//! TUS requests as clients send them.

use axum::body::Body;
use data_encoding::BASE64;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use crate::http::tests::{TestPortal, text};

/// A request with the headers of every TUS client, and these.
fn tus(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "portal.test:9980");
    request = request.header("tus-resumable", "1.0.0").header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_vec())).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The path in `Location`.
fn path(response: &Response<Body>) -> String {
    let location = header(response, "location");
    location.strip_prefix("http://portal.test:9980").unwrap_or_else(|| panic!("{location}")).to_owned()
}

const BYTES: (&str, &str) = ("content-type", "application/offset+octet-stream");
/// `a.txt`, `text/plain`.
const METADATA: (&str, &str) = ("upload-metadata", "filename YS50eHQ=,filetype dGV4dC9wbGFpbg==");
/// The skylink of `abc` as `a.txt`, from metadata that the client makes by skyd's rules.
async fn skylink_by_other_means(portal: &TestPortal) -> String {
    let metadata = r#"{"filename":"a.txt","length":3,"subfiles":{"a.txt":{"filename":"a.txt","contenttype":"text/plain","len":3}}}"#;
    let given = format!("skyfilemetadata {}", BASE64.encode(metadata.as_bytes()));
    let headers = [("upload-length", "3"), ("upload-metadata", &given), BYTES];
    let response = portal.send(tus("POST", "/skynet/tus", &headers, b"abc")).await;
    header(&response, "skynet-skylink").to_owned()
}

#[tokio::test]
async fn a_client_goes_from_creation_to_the_skylink() {
    let portal = TestPortal::new();
    let created = portal.send(tus("POST", "/skynet/tus", &[("upload-length", "3"), METADATA], b"")).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!((header(&created, "tus-resumable"), header(&created, "upload-offset")), ("1.0.0", "0"));
    assert!(header(&created, "upload-expires").ends_with(" GMT"));
    let path = path(&created);
    let first = portal.send(tus("PATCH", &path, &[("upload-offset", "0"), BYTES], b"a")).await;
    assert_eq!((first.status(), header(&first, "upload-offset")), (StatusCode::NO_CONTENT, "1"));
    let head = portal.send(tus("HEAD", &path, &[], b"")).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!((header(&head, "upload-offset"), header(&head, "upload-length")), ("1", "3"));
    assert_eq!((header(&head, "upload-metadata"), header(&head, "cache-control")), (METADATA.1, "no-store"));
    assert_eq!(header(&head, "skynet-skylink"), "");
    let id = path.rsplit('/').next().unwrap();
    let early = portal.send(Request::get(format!("/skynet/upload/tus/{id}")).body(Body::empty()).unwrap()).await;
    assert_eq!(early.status(), StatusCode::NOT_FOUND);
    let last = portal.send(tus("PATCH", &path, &[("upload-offset", "1"), BYTES], b"bc")).await;
    assert_eq!((last.status(), header(&last, "upload-offset")), (StatusCode::NO_CONTENT, "3"));
    assert_eq!(header(&last, "upload-expires"), "");
    let head = portal.send(tus("HEAD", &path, &[], b"")).await;
    let skylink = header(&head, "skynet-skylink");
    assert_eq!(skylink, skylink_by_other_means(&portal).await);
    let metadata = format!("{},Skylink {}", METADATA.1, BASE64.encode(skylink.as_bytes()));
    assert_eq!(header(&head, "upload-metadata"), metadata);
    let answer = portal.send(Request::get(format!("/skynet/upload/tus/{id}")).body(Body::empty()).unwrap()).await;
    assert_eq!(header(&answer, "skynet-skylink"), skylink);
    let answer: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(answer["skylink"], skylink);
    assert_eq!(answer["merkleroot"].as_str().unwrap().len(), 64);
    assert!(answer["bitfield"].is_u64());
}

#[tokio::test]
async fn parallel_parts_as_skynet_js_sends_them() {
    let portal = TestPortal::new();
    let mut urls = Vec::new();
    for part in [&b"ab"[..], b"c"] {
        let length = part.len().to_string();
        let headers = [("upload-length", length.as_str()), ("upload-concat", "partial")];
        let created = portal.send(tus("POST", "/skynet/tus", &headers, b"")).await;
        let path = path(&created);
        let patched = portal.send(tus("PATCH", &path, &[("upload-offset", "0"), BYTES], part)).await;
        assert_eq!(patched.status(), StatusCode::NO_CONTENT);
        let head = portal.send(tus("HEAD", &path, &[], b"")).await;
        assert_eq!((header(&head, "upload-concat"), header(&head, "skynet-skylink")), ("partial", ""));
        urls.push(header(&created, "location").to_owned());
    }
    let concat = format!("final;{}", urls.join(" "));
    let whole = portal.send(tus("POST", "/skynet/tus", &[("upload-concat", &concat), METADATA], b"")).await;
    assert_eq!(whole.status(), StatusCode::CREATED);
    let path = path(&whole);
    let head = portal.send(tus("HEAD", &path, &[], b"")).await;
    assert_eq!((header(&head, "upload-concat"), header(&head, "upload-length")), (concat.as_str(), "3"));
    assert_eq!(header(&head, "skynet-skylink"), skylink_by_other_means(&portal).await);
    let patched = portal.send(tus("PATCH", &path, &[("upload-offset", "3"), BYTES], b"d")).await;
    assert_eq!(patched.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn requests_that_break_the_protocol_are_told_how() {
    let portal = TestPortal::new();
    let created = portal.send(tus("POST", "/skynet/tus", &[("upload-length", "3")], b"")).await;
    let upload = path(&created);
    let unknown = format!("/skynet/tus/{}", "0".repeat(32));
    let too_large = ((1_u64 << 30) + 1).to_string();
    let length = ("upload-length", "3");
    let offset = ("upload-offset", "0");
    for (status, method, path, headers, body) in [
        (400, "POST", "/skynet/tus", &[][..], ""),
        (400, "POST", "/skynet/tus", &[("upload-length", "-1")], ""),
        (400, "POST", "/skynet/tus", &[("upload-length", "+1")], ""),
        (400, "POST", "/skynet/tus", &[length, length], ""),
        (400, "POST", "/skynet/tus", &[("upload-defer-length", "1")], ""),
        (400, "POST", "/skynet/tus", &[length, ("upload-metadata", "filename ???")], ""),
        (400, "POST", "/skynet/tus", &[length, ("upload-metadata", "skyfilemetadata e30=")], ""),
        (400, "POST", "/skynet/tus", &[length, ("upload-concat", "half")], ""),
        (404, "POST", "/skynet/tus", &[("upload-concat", &format!("final;{unknown}"))], ""),
        (400, "POST", "/skynet/tus", &[("upload-concat", &format!("final;{upload}"))], ""),
        (403, "POST", "/skynet/tus", &[("upload-concat", &format!("final;{upload}")), BYTES], "abc"),
        (413, "POST", "/skynet/tus", &[("upload-length", &too_large), ("skynetmaxuploadsize", "9999999999")], ""),
        (413, "POST", "/skynet/tus", &[("upload-length", "2"), BYTES], "abc"),
        (405, "GET", &upload, &[], ""),
        (405, "POST", &upload, &[], ""),
        (405, "PUT", "/skynet/tus", &[], ""),
        (415, "PATCH", &upload, &[offset], "abc"),
        (400, "PATCH", &upload, &[BYTES], "abc"),
        (409, "PATCH", &upload, &[("upload-offset", "1"), BYTES], "bc"),
        (413, "PATCH", &upload, &[offset, BYTES], "abcd"),
        (404, "PATCH", &unknown, &[offset, BYTES], "abc"),
        (404, "HEAD", "/skynet/tus/..", &[], ""),
        (404, "DELETE", &unknown, &[], ""),
    ] {
        let response = portal.send(tus(method, path, headers, body.as_bytes())).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path} {headers:?}: {}", text(response).await);
        assert_eq!(header(&response, "tus-resumable"), "1.0.0");
        assert!(method == "HEAD" || text(response).await.starts_with("{\"message\":"), "{method} {path} {headers:?}");
    }
    let head = portal.send(tus("HEAD", &upload, &[], b"")).await;
    assert_eq!(header(&head, "upload-offset"), "0", "nothing of all this was taken");
}

#[tokio::test]
async fn another_version_is_refused() {
    let portal = TestPortal::new();
    let upload = path(&portal.send(tus("POST", "/skynet/tus", &[("upload-length", "3")], b"")).await);
    for (method, path, version, status) in [
        ("POST", "/skynet/tus", "", 412),
        ("POST", "/skynet/tus", "0.2.2", 412),
        ("PATCH", &upload, "", 412),
        ("DELETE", &upload, "", 412),
        ("HEAD", &upload, "2.0.0", 412),
        ("HEAD", &upload, "", 200),
    ] {
        let mut request = Request::builder().method(method).uri(path).header("upload-length", "3");
        if !version.is_empty() {
            request = request.header("tus-resumable", version);
        }
        let response = portal.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status().as_u16(), status, "{method} {version}");
        assert_eq!(header(&response, "tus-version"), if status == 412 { "1.0.0" } else { "" });
    }
}

#[tokio::test]
async fn options_say_what_the_portal_can_do() {
    let portal = TestPortal::new();
    for path in ["/skynet/tus", "/skynet/tus/0"] {
        let response = portal.send(Request::options(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!((header(&response, "tus-resumable"), header(&response, "tus-version")), ("1.0.0", "1.0.0"));
        let extensions = "creation,creation-with-upload,termination,concatenation,expiration";
        assert_eq!((header(&response, "tus-extension"), header(&response, "tus-max-size")), (extensions, "1073741824"));
    }
}

#[tokio::test]
async fn bytes_may_come_with_the_creation_and_methods_in_a_header() {
    let portal = TestPortal::new();
    let created = portal.send(tus("POST", "/skynet/tus", &[("upload-length", "3"), METADATA, BYTES], b"a")).await;
    assert_eq!((created.status(), header(&created, "upload-offset")), (StatusCode::CREATED, "1"));
    let upload = path(&created);
    let patch = [("x-http-method-override", "PATCH"), ("upload-offset", "1"), BYTES];
    let patched = portal.send(tus("POST", &upload, &patch, b"bc")).await;
    assert_eq!((patched.status(), header(&patched, "upload-offset")), (StatusCode::NO_CONTENT, "3"));
    assert_eq!(header(&patched, "skynet-skylink"), skylink_by_other_means(&portal).await);
    let deleted = portal.send(tus("POST", &upload, &[("x-http-method-override", "DELETE")], b"")).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(portal.send(tus("HEAD", &upload, &[], b"")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_browser_may_read_what_the_sdk_looks_for() {
    let portal = TestPortal::new();
    let headers = [("upload-length", "0"), METADATA, ("origin", "http://app.example")];
    let created = portal.send(tus("POST", "/skynet/tus", &headers, b"")).await;
    let exposed = header(&created, "access-control-expose-headers");
    for name in ["Location", "Skynet-Skylink", "Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Metadata"] {
        assert!(exposed.contains(name), "{name}");
    }
    assert_ne!(header(&created, "skynet-skylink"), "", "an empty upload is finished at once");
}
