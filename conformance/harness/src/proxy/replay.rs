//! Old answers for a proxy to serve again: for content, those to another skylink; for an entry, its first answer.

use std::collections::BTreeMap;

use super::exchange::{Exchange, Replayed};

/// Longest answer kept for an entry.
pub const MAX_ANSWER: usize = 16 << 10;

/// Earlier answers of a portal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Old {
    /// Each skylink with the length of its content.
    contents: BTreeMap<String, u64>,
    /// The first complete answer to each request for an entry.
    entries: BTreeMap<String, Vec<u8>>,
}

/// How to send an old answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again<'a> {
    /// These bytes, including the head.
    Answer(&'a [u8]),
    /// The answer at this other path. Content never changes, so the portal still gives its old answer.
    At(String, Replayed),
}

impl Old {
    /// The old answers among these exchanges.
    pub fn of(exchanges: &[Exchange]) -> Self {
        let mut old = Old::default();
        for one in exchanges.iter().filter(|one| one.is_success() && one.replayed.is_none()) {
            if one.is_of_entry() && one.answer.len() as u64 == one.sent {
                old.entries.entry(one.path.clone()).or_insert_with(|| one.answer.clone());
            }
            // A base sector is longer than its content.
            let is_content = one.is_download() && !one.path.starts_with("/skynet/basesector/");
            if let (true, Some(skylink), Some(length)) = (is_content, one.skylink(), one.length) {
                old.contents.insert(skylink.to_owned(), length);
            }
        }
        old
    }

    /// An old answer to send instead of the real one; `None` if there is none.
    pub fn instead_of(&self, exchange: &Exchange) -> Option<Again<'_>> {
        if let Some(answer) = self.entries.get(&exchange.path) {
            return Some(Again::Answer(answer));
        }
        let wanted = exchange.skylink().filter(|_| exchange.is_download())?;
        let length = self.contents.get(wanted);
        let others = || self.contents.iter().filter(|(other, _)| *other != wanted);
        let alike = others().find(|(_, other)| Some(*other) == length);
        let kind = if alike.is_some() { Replayed::SameLength } else { Replayed::OtherLength };
        let (other, _) = alike.or_else(|| others().next())?;
        Some(Again::At(exchange.path.replacen(wanted, other, 1), kind))
    }

    /// True if at least two contents have this length.
    pub fn has_two_of(&self, length: u64) -> bool {
        self.contents.values().filter(|found| **found == length).count() > 1
    }
}

/// A request's head with another path.
pub fn with_path(head: &[u8], path: &str) -> Vec<u8> {
    let mut parts = head.splitn(3, |byte| *byte == b' ');
    let (method, rest) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    [method, b" ", path.as_bytes(), b" ", rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: [&str; 3] = [
        "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA",
        "AACDPHoC2DCV_kLGUdpdRJr3CcxCmKadLGPi6OAMl7d48w",
        "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA",
    ];

    fn get(path: &str, answer: &str) -> Exchange {
        let mut exchange = Exchange::of(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
        exchange.answered(answer.as_bytes());
        if exchange.is_of_entry() {
            exchange.answer = answer.as_bytes().to_vec();
            exchange.sent = answer.len() as u64;
        }
        exchange
    }

    #[test]
    fn content_is_answered_with_other_content_of_its_length_if_there_is_any() {
        let answer = |length: u64| format!("HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-0/{length}\r\n\r\n");
        let seen: Vec<_> =
            LINKS.iter().zip([5, 7, 7]).map(|(link, length)| get(&format!("/{link}"), &answer(length))).collect();
        let old = Old::of(&seen);
        assert!(old.has_two_of(7) && !old.has_two_of(5));
        assert_eq!(old.instead_of(&seen[1]), Some(Again::At(format!("/{}", LINKS[2]), Replayed::SameLength)));
        assert_eq!(old.instead_of(&seen[0]), Some(Again::At(format!("/{}", LINKS[1]), Replayed::OtherLength)));
        let sector = get(&format!("/skynet/basesector/{}", LINKS[2]), "");
        let other = format!("/skynet/basesector/{}", LINKS[1]);
        assert_eq!(old.instead_of(&sector), Some(Again::At(other, Replayed::SameLength)));
        assert_eq!(old.instead_of(&get("/skynet/stats", "")), None);
        assert_eq!(Old::of(&seen[..1]).instead_of(&seen[0]), None, "there is nothing else");
    }

    #[test]
    fn an_entry_is_answered_as_it_was_first() {
        let path = "/skynet/registry?publickey=a&datakey=b";
        let answers = ["HTTP/1.1 404 No\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nold", "HTTP/1.1 200 OK\r\n\r\nnew"];
        let seen: Vec<_> = answers.iter().map(|answer| get(path, answer)).collect();
        let old = Old::of(&seen);
        assert_eq!(old.instead_of(&seen[2]), Some(Again::Answer(answers[1].as_bytes())));
    }

    #[test]
    fn a_head_gets_another_path_and_keeps_the_rest() {
        let head = with_path(b"GET /a HTTP/1.1\r\nX: y z\r\n\r\n", "/b");
        assert_eq!(head, b"GET /b HTTP/1.1\r\nX: y z\r\n\r\n");
    }
}
