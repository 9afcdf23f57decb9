//! Request targets that try to leave the data directory, reach another repository, or bypass a proxy's rules.

use std::time::Duration;

use harness::expect::{Faults, that};

use super::raw::exchange;
use super::victim;
use crate::case::Bench;

const LIMIT: Duration = Duration::from_secs(8);

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Paths of no route, or with invalid names, tags and digests.
fn bad_paths(repository: &str) -> Vec<String> {
    let long = "a".repeat(300);
    let mut paths: Vec<String> = [
        "/v2/../../../../etc/passwd",
        "/v2/%2e%2e/%2e%2e/etc/passwd",
        "/v2/..%2f..%2fetc%2fpasswd",
        "/../v2/",
        "//v2/",
        "/v2//",
        "/v2/./",
        "/v2/..;/",
        "/V2/",
        "/v2%2f",
        "/%76%32/",
        "/v2/a/../a/tags/list",
        "/v2/a/%2e%2e/a/tags/list",
        "/v2/a%2f..%2fb/tags/list",
        "/v2/a%252fb/tags/list",
        "/v2/a%5cb/tags/list",
        "/v2/a%00/tags/list",
        "/v2/a%0d%0aX:%20y/tags/list",
        "/v2/a%ff/tags/list",
        "/v2/%c0%ae%c0%ae/tags/list",
        "/v2/\u{e4}/tags/list",
        "/v2/%F0%9F%90%B3/tags/list",
        "/v2/a b/tags/list",
        "/v2/A/tags/list",
        "/v2/a/tags/list/",
        "/v2/a/tags//list",
        "/v2/_catalog/..",
        "/v2/_catalog//",
        "/skyberth.json",
        "/journal",
        "/index/",
        "/.git/config",
        "/admin.sock",
        "*",
    ]
    .map(str::to_owned)
    .to_vec();
    for tail in [
        "blobs/sha256:..".to_owned(),
        "blobs/sha256:../../../skyberth.json".to_owned(),
        "blobs/sha256%3A..%2f..%2f..%2fskyberth.json".to_owned(),
        format!("blobs/sha256%253A{HEX}"),
        format!("blobs/sha256:{}", HEX.to_uppercase()),
        format!("blobs/sha256:{HEX}%00"),
        format!("blobs/sha256:{HEX}%20"),
        format!("blobs/sha256:{HEX}/"),
        format!("blobs/..%2fsha256:{HEX}"),
        "blobs/".to_owned(),
        "blobs/uploads/../../..".to_owned(),
        "blobs/uploads/%2e%2e%2f%2e%2e".to_owned(),
        "blobs/uploads/..%2f..%2fskyberth.json".to_owned(),
        format!("blobs/uploads/{}", "0".repeat(5000)),
        "manifests/..".to_owned(),
        "manifests/%2e%2e".to_owned(),
        "manifests/..%2flatest".to_owned(),
        "manifests/latest%00".to_owned(),
        "manifests/latest%0a".to_owned(),
        "manifests/%6catest%2f".to_owned(),
        format!("manifests/{long}"),
        "manifests/".to_owned(),
        "manifests/:".to_owned(),
        "referrers/latest".to_owned(),
        "referrers/".to_owned(),
    ] {
        paths.push(format!("/v2/{repository}/{tail}"));
    }
    paths.push(format!("/v2/{long}/tags/list"));
    paths.push(format!("/v2/{}a/tags/list", "a/".repeat(1000)));
    paths
}

pub fn tricks(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "paths")?;
    let mut faults = Faults::default();
    let paths = bad_paths(&victim.repo.name);
    for path in &paths {
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let said = exchange(&victim.target(), head.as_bytes(), LIMIT);
            faults.check(
                &format!("{method} {path}"),
                said.and_then(|said| {
                    let refused = matches!(said.statuses().as_slice(), [400 | 404 | 405 | 414 | 431]);
                    that(refused, || format!("{:?} {}", said.statuses(), said.clip()))
                }),
            );
        }
    }
    harness::gate::note(&format!("{} paths by six methods", paths.len()));
    faults.check("the state", victim.unchanged());
    faults.finish()?;
    victim.end()
}

pub fn targets(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "targets")?;
    let tags = victim.repo.tags();
    let rows: Vec<(String, &[u16])> = vec![
        // A server must accept the absolute form (RFC 9112 3.2.2). Its host counts, and not the one in `Host`.
        (format!("http://localhost{tags}"), &[200]),
        (format!("http://elsewhere.example{tags}"), &[403]),
        (format!("http://user:password@elsewhere.example:99{tags}"), &[400, 403]),
        (format!("HTTP://x{tags}"), &[400, 403]),
        (format!("{tags}?"), &[200]),
        (format!("{tags}?n=1&n=2&&==&%zz=%ff"), &[200]),
        (format!("{tags}?n=99999999999999999999"), &[400]),
        (format!("{tags}?last=%00"), &[200, 400]),
        (format!("{tags}#fragment"), &[200, 400, 404]),
        ("http://".to_owned(), &[400]),
        ("http:///v2/".to_owned(), &[400]),
        ("elsewhere.example:443".to_owned(), &[400, 404]),
        ("v2/".to_owned(), &[400, 404]),
        ("?".to_owned(), &[400, 404]),
        ("/v2/?digest=../..".to_owned(), &[200]),
    ];
    let mut faults = Faults::default();
    for (target, allowed) in &rows {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let said = exchange(&victim.target(), head.as_bytes(), LIMIT);
        faults.check(
            target,
            said.and_then(|said| {
                let right = matches!(said.statuses().as_slice(), [status] if allowed.contains(status));
                that(right, || format!("{:?}, not {allowed:?}", said.statuses()))
            }),
        );
    }
    faults.check("the state", victim.unchanged());
    faults.finish()?;
    victim.end()
}
