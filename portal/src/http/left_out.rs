//! Features of Skynet's portals that this one does not have, so that a client gets a reason instead of "not found".

const HNS: &str = "Handshake names, and MySky which is hosted at one, are not served by this portal";
const SKYKEYS: &str = "this portal keeps no skykeys: encrypt before you upload";
const SUBSCRIPTION: &str = "this portal has no registry subscriptions: ask for the entry again";
const ACCOUNTS: &str = "this portal has no accounts: its operator hands out API keys";

/// The reason why this path is not supported.
pub(super) fn at_path(path: &str) -> Option<&'static str> {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| below(prefix));
    if any(&["/hns", "/hnsres"]) {
        Some(HNS)
    } else if any(&["/skynet/registry/subscription"]) {
        Some(SUBSCRIPTION)
    } else if any(&[
        "/skynet/skykey",
        "/skynet/skykeys",
        "/skynet/addskykey",
        "/skynet/createskykey",
        "/skynet/deleteskykey",
    ]) {
        Some(SKYKEYS)
    } else if any(&["/skynet/accounts", "/api"]) {
        Some(ACCOUNTS)
    } else {
        None
    }
}

/// The reason why the host with this label below the portal's own is not supported.
pub(super) fn at_host(label: &str) -> Option<&'static str> {
    let label = label.to_ascii_lowercase();
    if label.rsplit('.').next() == Some("hns") {
        return Some(HNS);
    }
    (label == "account").then_some(ACCOUNTS)
}
