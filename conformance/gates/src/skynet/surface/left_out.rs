//! Unsupported endpoints answer 404 with a message. So do unknown ones.

use harness::client::Request;
use harness::expect::{Faults, status};

use super::expect::message;
use super::{SurfaceRow, ours};
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    ours("HNS, skykeys, accounts and subscriptions are 404 with a message", features),
    ours("paths that nobody knows are 404 with a message", unknown_paths),
    ours("methods that a path has not are refused with a message", methods),
];

fn features(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for (method, path, words) in [
        ("GET", "/hns/name", "Handshake"),
        ("GET", "/hns/name/a/b.html", "Handshake"),
        ("GET", "/hnsres/name", "Handshake"),
        ("GET", "/skynet/skykey?name=x", "skykey"),
        ("GET", "/skynet/skykeys", "skykey"),
        ("POST", "/skynet/createskykey", "skykey"),
        ("POST", "/skynet/addskykey", "skykey"),
        ("POST", "/skynet/deleteskykey", "skykey"),
        ("GET", "/skynet/registry/subscription", "subscription"),
        ("GET", "/api/user", "account"),
        ("POST", "/api/login", "account"),
    ] {
        let sent = site.send(&Request::new(method, path));
        faults.check(path, sent.and_then(|answer| message(&answer, &[404], words)));
    }
    faults.finish()
}

fn unknown_paths(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for path in
        ["/nosuch", "/skynet", "/skynet/", "/skynet/nosuch", "/skynet/skylinks/x", "/v2/", "/%00", "/../etc/passwd"]
    {
        faults.check(path, site.get(path).and_then(|answer| message(&answer, &[404, 400], "")));
    }
    faults.finish()
}

fn methods(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("methods", &site.text("methods"))?.link;
    let mut faults = Faults::default();
    for (method, path) in [
        ("PUT", link.path("")),
        ("DELETE", link.path("")),
        ("POST", link.path("")),
        ("DELETE", "/skynet/skyfile".to_owned()),
        ("GET", "/skynet/skyfile".to_owned()),
        ("PUT", "/skynet/registry".to_owned()),
        ("GET", format!("/skynet/pin/{link}")),
    ] {
        let what = format!("{method} {path}");
        let sent = site.send(&Request::new(method, path));
        faults.check(&what, sent.and_then(|answer| status(&answer, &[404, 405])));
    }
    faults.finish()
}
