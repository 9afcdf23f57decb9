//! end-2, 10: blobs (oci.md rows 15-17, 23, 28-35, 110-111).

use crate::model::content::{Grammar, grammar};
use crate::model::expected::{Answer, Body};
use crate::model::state::{Bytes, Effect, State};

pub(super) fn get(state: &State, repo: &str, digest: &str, head: bool, range: Option<&str>) -> Vec<Answer> {
    if grammar(digest) == Grammar::Malformed {
        return malformed();
    }
    let Some(bytes) = state.repo(repo).and_then(|repo| repo.blobs.get(digest)) else {
        return vec![Answer::error(404, &["BLOB_UNKNOWN"])];
    };
    let length = bytes.len();
    match range.filter(|_| !head).map_or(Span::Whole, |range| span(range, length)) {
        Span::Whole => vec![content(200, digest, bytes)],
        Span::Part(first, last) => {
            let part = content(206, digest, &bytes[first..=last].into());
            vec![part.is("Content-Range", format!("bytes {first}-{last}/{length}"))]
        }
        Span::Unsatisfiable => {
            vec![Answer::error(416, &[]).is("Content-Range", format!("bytes */{length}"))]
        }
    }
}

pub(super) fn delete(state: &State, repo: &str, digest: &str) -> Vec<Answer> {
    if grammar(digest) == Grammar::Malformed {
        return malformed();
    }
    let unknown = vec![Answer::error(404, &["BLOB_UNKNOWN", "NAME_UNKNOWN"])];
    let Some(here) = state.repo(repo) else { return unknown };
    if !here.blobs.contains_key(digest) {
        return unknown;
    }
    if here.is_referenced(digest) {
        return vec![Answer::error(405, &["UNSUPPORTED"])];
    }
    let effect = Effect::RemoveBlob { repo: repo.to_owned(), digest: digest.to_owned() };
    vec![Answer::new(202).effect(effect)]
}

fn content(status: u16, digest: &str, bytes: &Bytes) -> Answer {
    Answer::new(status)
        .is("Docker-Content-Digest", digest)
        .is("Content-Length", bytes.len().to_string())
        .is("ETag", format!("\"{digest}\""))
        .is("Accept-Ranges", "bytes")
        .body(Body::Bytes(Bytes::clone(bytes)))
}

/// Row 15: our own choice is 400. The suites also accept 404.
pub(super) fn malformed() -> Vec<Answer> {
    vec![Answer::error(400, &["DIGEST_INVALID"]), Answer::error(404, &[])]
}

#[derive(Debug, PartialEq)]
enum Span {
    Whole,
    Part(usize, usize),
    Unsatisfiable,
}

/// Parses a `Range` of one span (RFC 9110 section 14). An invalid one is ignored.
fn span(range: &str, length: usize) -> Span {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else {
        return Span::Whole;
    };
    let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, last),
        (Ok(first), Err(_)) if last.is_empty() => (first, usize::MAX),
        (Err(_), Ok(0)) if first.is_empty() => return Span::Unsatisfiable,
        (Err(_), Ok(suffix)) if first.is_empty() => (length.saturating_sub(suffix), usize::MAX),
        _ => return Span::Whole,
    };
    if first >= length || last < first { Span::Unsatisfiable } else { Span::Part(first, last.min(length - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_the_table() {
        for (range, wanted) in [
            ("bytes=0-0", Span::Part(0, 0)),
            ("bytes=5-", Span::Part(5, 9)),
            ("bytes=-3", Span::Part(7, 9)),
            ("bytes=-30", Span::Part(0, 9)),
            ("bytes=2-99", Span::Part(2, 9)),
            ("bytes=5-0", Span::Unsatisfiable),
            ("bytes=10-12", Span::Unsatisfiable),
            ("bytes=-0", Span::Unsatisfiable),
            ("lines=1-2", Span::Whole),
            ("bytes=a-b", Span::Whole),
        ] {
            assert_eq!(span(range, 10), wanted, "{range}");
        }
        assert_eq!(span("bytes=0-0", 0), Span::Unsatisfiable, "row 31");
        assert_eq!(span("bytes=-5", 0), Span::Unsatisfiable, "row 31");
    }
}
