//! One request that came through a front, with what was answered: heads are read, bodies are counted.

use std::time::Instant;

/// What passed.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: String,
    /// With its query.
    pub path: String,
    pub range: Option<String>,
    /// `Upload-Offset` of a request.
    pub offset: Option<u64>,
    /// `Upload-Metadata`, or whatever else names what is uploaded.
    pub metadata: Option<String>,
    /// Bytes of the request's body that came.
    pub received: u64,
    pub status: Option<u16>,
    /// `Upload-Offset` of the answer.
    pub acknowledged: Option<u64>,
    /// `Location` of the answer.
    pub location: Option<String>,
    /// Bytes of the answer, with its head.
    pub sent: u64,
    pub began: Instant,
    /// When the answer had passed whole.
    pub ended: Option<Instant>,
}

impl Exchange {
    /// From a request's head.
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
            acknowledged: None,
            location: None,
            sent: 0,
            began: Instant::now(),
            ended: None,
        }
    }

    /// Adds an answer's head.
    pub fn answered(&mut self, head: &[u8]) {
        let text = String::from_utf8_lossy(head);
        self.status = status(&text);
        self.acknowledged = field(&text, "upload-offset").and_then(|value| value.parse().ok());
        self.location = field(&text, "location");
    }

    /// A GET of content: not of what a portal says of itself.
    pub fn is_download(&self) -> bool {
        const OF_ITSELF: [&str; 7] = ["stats", "portals", "health", "tus", "pin", "blocklist", "registry"];
        let path = self.path.split('?').next().unwrap_or_default();
        let own = path.strip_prefix("/skynet/").is_some_and(|rest| {
            let first = rest.split('/').next().unwrap_or_default();
            OF_ITSELF.contains(&first)
        });
        self.method == "GET" && !own && !["/", "/readyz", "/livez", "/healthz", "/metrics"].contains(&path)
    }

    /// An upload as a whole or in parts.
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

/// The status of an answer's head.
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
            ("/readyz", false),
            ("/", false),
        ] {
            assert_eq!(get(path).is_download(), is_download, "{path}");
        }
        assert!(Exchange::of(b"POST /skynet/unpin/AAB HTTP/1.1\r\n\r\n").is_unpin());
    }
}
