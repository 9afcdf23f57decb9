//! Rules for resumable uploads: nothing that a portal acknowledged is sent again.

use std::collections::BTreeMap;
use std::time::Instant;

use harness::proxy::exchange::Exchange;

/// Each `PATCH` that begins before an offset known to the client.
pub fn steps_back(exchanges: &[Exchange]) -> Vec<String> {
    let mut told: BTreeMap<&str, Vec<(Instant, u64)>> = BTreeMap::new();
    for exchange in exchanges.iter().filter(|exchange| exchange.is_success()) {
        if let (Some(offset), Some(ended)) = (exchange.acknowledged, exchange.ended) {
            told.entry(upload(&exchange.path)).or_default().push((ended, offset));
        }
    }
    let patches = exchanges.iter().filter(|exchange| exchange.method == "PATCH");
    let back = patches.filter_map(|patch| {
        let offset = patch.offset?;
        let known = told.get(upload(&patch.path))?;
        let most = known.iter().filter(|(ended, _)| *ended < patch.began).map(|(_, offset)| *offset).max()?;
        (offset < most).then(|| format!("{} begins at {offset}, {most} was acknowledged", patch.path))
    });
    back.collect()
}

/// Uploads that began again although an earlier one of the same content had progressed and was not refused.
pub fn begun_anew(exchanges: &[Exchange]) -> Vec<String> {
    let mut begun: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut anew = Vec::new();
    for exchange in exchanges.iter().filter(|exchange| exchange.is_success()) {
        let (Some(metadata), Some(location)) = (exchange.metadata.as_deref(), exchange.location.as_deref()) else {
            continue;
        };
        if exchange.method != "POST" || !exchange.path.starts_with("/skynet/tus") {
            continue;
        }
        let earlier = begun.entry(metadata).or_default();
        for location in &*earlier {
            if let Some(offset) = reached(exchanges, location, exchange.began) {
                anew.push(format!("{location} had got to {offset} of the same content"));
            }
        }
        earlier.push(location);
    }
    anew
}

/// The acknowledged offset of an upload at a time. `None` if nothing was acknowledged, or if the portal no longer knew
/// it.
fn reached(exchanges: &[Exchange], location: &str, at: Instant) -> Option<u64> {
    let of_it = exchanges.iter().filter(|exchange| upload(&exchange.path) == upload(location) && exchange.began < at);
    if of_it.clone().any(|exchange| matches!(exchange.status, Some(404 | 410))) {
        return None;
    }
    let offsets = of_it.filter(|exchange| exchange.ended.is_some_and(|ended| ended < at));
    offsets.filter_map(|exchange| exchange.acknowledged).max().filter(|offset| *offset > 0)
}

/// The identity of an upload: its path without host and query.
fn upload(location: &str) -> &str {
    let path = location.split_once("://").map_or(location, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    path.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &str, answer: &str) -> Exchange {
        let mut exchange = Exchange::of(format!("{request}\r\n\r\n").as_bytes());
        std::thread::sleep(std::time::Duration::from_millis(1));
        exchange.answered(format!("{answer}\r\n\r\n").as_bytes());
        exchange.ended = Some(Instant::now());
        std::thread::sleep(std::time::Duration::from_millis(1));
        exchange
    }

    fn patch(offset: u64, acknowledged: u64) -> Exchange {
        let request = format!("PATCH /skynet/tus/1 HTTP/1.1\r\nUpload-Offset: {offset}");
        exchange(&request, &format!("HTTP/1.1 204 No Content\r\nUpload-Offset: {acknowledged}"))
    }

    #[test]
    fn a_patch_before_an_acknowledged_offset_is_a_step_back() {
        assert!(steps_back(&[patch(0, 10), patch(10, 20)]).is_empty());
        assert_eq!(steps_back(&[patch(0, 10), patch(5, 20)]).len(), 1);
        let mut cut = patch(0, 10);
        cut.ended = None;
        assert!(steps_back(&[cut, patch(0, 10)]).is_empty(), "an answer that did not arrive tells nothing");
        let mut head = patch(0, 10);
        head.method = "HEAD".to_owned();
        assert_eq!(steps_back(&[head, patch(0, 10)]).len(), 1, "a HEAD tells too");
    }

    #[test]
    fn an_upload_that_got_somewhere_is_not_begun_anew() {
        let post = |id: u32| {
            let request = "POST /skynet/tus HTTP/1.1\r\nUpload-Metadata: filename YQ==";
            exchange(request, &format!("HTTP/1.1 201 Created\r\nLocation: http://127.0.0.1:1/skynet/tus/{id}"))
        };
        assert!(begun_anew(&[post(1), post(2)]).is_empty(), "the first got nowhere");
        assert_eq!(begun_anew(&[post(1), patch(0, 10), post(2)]).len(), 1);
        let gone = exchange("HEAD /skynet/tus/1 HTTP/1.1", "HTTP/1.1 404 Not Found");
        assert!(begun_anew(&[post(1), patch(0, 10), gone, post(2)]).is_empty(), "the portal has lost it");
    }
}
