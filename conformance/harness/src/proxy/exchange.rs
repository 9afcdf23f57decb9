//! One request that passed a proxy, with its answer. Heads are parsed, bodies only counted.

use std::time::Instant;

/// The kind of old answer that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// An earlier answer for the same entry.
    Entry,
    /// Other content of the same length, which differs only in its bytes.
    SameLength,
    /// Other content.
    OtherLength,
}

/// What passed.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: String,
    /// Path with its query.
    pub path: String,
    pub range: Option<String>,
    /// `Upload-Offset` of a request.
    pub offset: Option<u64>,
    /// `Upload-Metadata`, or another header that describes the upload.
    pub metadata: Option<String>,
    /// Bytes of the request's body received.
    pub received: u64,
    pub status: Option<u16>,
    /// Length of the whole content, by the answer to a download.
    pub length: Option<u64>,
    /// The complete answer to a request for an entry.
    pub answer: Vec<u8>,
    /// The kind of old answer that replaced the real one, if any.
    pub replayed: Option<Replayed>,
    /// `Upload-Offset` of the answer.
    pub acknowledged: Option<u64>,
    /// `Location` of the answer.
    pub location: Option<String>,
    /// Bytes of the answer, including its head.
    pub sent: u64,
    pub began: Instant,
    /// When the whole answer had passed.
    pub ended: Option<Instant>,
    /// True once the connection is closed.
    pub over: bool,
}

impl Exchange {
    /// The exchange of a request with this head.
    pub fn of(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut words = text.split(' ');
        Exchange {
            method: words.next().unwrap_or_default().to_owned(),
            path: words.next().unwrap_or_default().to_owned(),
            range: field(&text, "range"),
            offset: field(&text, "upload-offset").and_then(|value| value.parse().ok()),
            metadata: field(&text, "upload-metadata"),
            received: 0,
            status: None,
            length: None,
            answer: Vec::new(),
            replayed: None,
            acknowledged: None,
            location: None,
            sent: 0,
            began: Instant::now(),
            ended: None,
            over: false,
        }
    }

    /// Adds an answer's head.
    pub fn answered(&mut self, head: &[u8]) {
        let text = String::from_utf8_lossy(head);
        self.status = status(&text);
        self.length = match self.status {
            Some(206) => field(&text, "content-range").and_then(|range| range.split_once('/')?.1.parse().ok()),
            _ => field(&text, "content-length").and_then(|length| length.parse().ok()),
        };
        self.acknowledged = field(&text, "upload-offset").and_then(|value| value.parse().ok());
        self.location = field(&text, "location");
    }

    /// True for a GET of content, not of the portal's own pages.
    pub fn is_download(&self) -> bool {
        const OF_ITSELF: [&str; 9] =
            ["stats", "identity", "portals", "health", "tus", "pin", "blocklist", "registry", "resolve"];
        let path = self.path.split('?').next().unwrap_or_default();
        let own = path.strip_prefix("/skynet/").is_some_and(|rest| {
            let first = rest.split('/').next().unwrap_or_default();
            OF_ITSELF.contains(&first)
        });
        self.method == "GET" && !own && !["/", "/readyz", "/livez", "/healthz", "/metrics"].contains(&path)
    }

    /// True for a request whose answer may change: for an entry, or for the content that it leads to.
    pub fn is_of_entry(&self) -> bool {
        let asks = ["/skynet/registry", "/skynet/resolve/", "/skynet/health/entry"];
        self.method == "GET" && asks.iter().any(|start| self.path.starts_with(start))
    }

    /// The skylink in the path, in base64.
    pub fn skylink(&self) -> Option<&str> {
        const LENGTH: usize = 46;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        self.path.split(['/', '?']).find(|part| part.len() == LENGTH && part.bytes().all(is_letter))
    }

    /// True for an upload, whole or in parts.
    pub fn is_upload(&self) -> bool {
        let path = self.path.as_str();
        matches!(self.method.as_str(), "POST" | "PATCH")
            && ["/skynet/skyfile", "/skynet/tus", "/skynet/restore"].iter().any(|prefix| path.starts_with(prefix))
    }

    pub fn is_unpin(&self) -> bool {
        self.path.contains("/unpin") && matches!(self.method.as_str(), "POST" | "DELETE")
    }

    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// The status in an answer's head.
pub fn status(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.trim().parse().ok()
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_tell_what_passes() {
        let mut patch = Exchange::of(b"PATCH /skynet/tus/7 HTTP/1.1\r\nHost: a\r\nUPLOAD-offset: 42\r\n\r\n");
        assert!(patch.is_upload() && !patch.is_download());
        assert_eq!((patch.offset, patch.acknowledged), (Some(42), None));
        patch.answered(b"HTTP/1.1 204 No Content\r\nUpload-Offset: 64\r\n\r\n");
        assert!(patch.is_success());
        assert_eq!(patch.acknowledged, Some(64));
        let get = |path: &str| Exchange::of(format!("GET {path} HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n").as_bytes());
        assert_eq!(get("/AAB").range.as_deref(), Some("bytes=0-9"));
        for (path, is_download) in [
            ("/AABcd/x", true),
            ("/skynet/skylink/AAB?x=1", true),
            ("/skynet/basesector/AAB", true),
            ("/skynet/stats", false),
            ("/skynet/identity?nonce=00", false),
            ("/readyz", false),
            ("/", false),
        ] {
            assert_eq!(get(path).is_download(), is_download, "{path}");
        }
        assert!(Exchange::of(b"POST /skynet/unpin/AAB HTTP/1.1\r\n\r\n").is_unpin());
    }

    #[test]
    fn answers_tell_how_long_the_whole_is() {
        let mut part = Exchange::of(b"GET /x HTTP/1.1\r\n\r\n");
        part.answered(b"HTTP/1.1 206 Partial\r\nContent-Length: 4\r\nContent-Range: bytes 4-7/10\r\n\r\n");
        assert_eq!(part.length, Some(10));
        part.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n");
        assert_eq!(part.length, Some(11));
    }

    #[test]
    fn skylinks_and_questions_for_entries_are_known_by_their_paths() {
        let get = |path: &str| Exchange::of(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
        let link = "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA";
        for path in [format!("/{link}"), format!("/skynet/basesector/{link}"), format!("/{link}?x=1")] {
            assert_eq!(get(&path).skylink(), Some(link));
            assert!(!get(&path).is_of_entry());
        }
        assert_eq!(get("/skynet/stats").skylink(), None);
        for path in ["/skynet/registry?publickey=ed25519%3Aab&datakey=cd", &format!("/skynet/resolve/{link}")] {
            assert!(get(path).is_of_entry() && !get(path).is_download(), "{path}");
        }
    }
}
