//! A request on its way through the handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName};
use serving::Query;

use super::content_range::parse_content_range;
use super::error::HttpError;
use crate::oci::RepositoryName;
use crate::service::{Caller, Chunk, Error, Progress};

/// What handlers see of a request. The body goes beside it: the dispatcher keeps it, and drains what a handler leaves.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) caller: Caller,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
}

impl Request {
    /// A header as text; one that is no text counts as absent.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body's length, where the request states one.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(&CONTENT_LENGTH)?.parse().ok()
    }

    /// `n`: how many results, at most `cap`. Absent or empty is `cap`, as distribution has it.
    pub(crate) fn page_limit(&self, cap: usize) -> Result<usize, HttpError> {
        let Some(text) = self.query.get("n").filter(|text| !text.is_empty()) else {
            return Ok(cap);
        };
        // The largest that distribution's clients send fits an i64; beyond that it is a mistake worth naming.
        match text.parse::<i64>().ok().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(n.min(cap)),
            None => Err(HttpError::page_size_invalid(text)),
        }
    }

    /// Where a chunk belongs. One that cannot be read is answered as if it were out of order.
    pub(crate) fn chunk(&self, progress: impl FnOnce() -> Result<Progress, Error>) -> Result<Chunk, Error> {
        let Some(header) = self.headers.get(CONTENT_RANGE) else {
            return Ok(Chunk::Stream);
        };
        match header.to_str().ok().and_then(parse_content_range) {
            Some(range) => Ok(Chunk::Range { first: range.first, last: range.last }),
            None => Err(Error::ChunkOutOfOrder(progress()?)),
        }
    }
}

/// What a handler answers: success, or an error with the repository that it is about.
pub(crate) type Answer = Result<http::Response<axum::body::Body>, HttpError>;

/// Puts the repository to a service error, for the headers that name it.
pub(crate) fn in_repository(repository: &RepositoryName) -> impl Fn(Error) -> HttpError + '_ {
    move |error| HttpError::from_service(error, Some(repository))
}

/// Makes request ids: unique over restarts, cheap, and without meaning.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: String,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        RequestIds { process: HEXLOWER.encode(&crate::ids::random::<4>()), next: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> Arc<str> {
        format!("{}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed)).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page_limit(query: &str, cap: usize) -> Option<usize> {
        let query = Query::parse_uri(Some(query));
        let request = Request { caller: Caller::local(), headers: HeaderMap::new(), query };
        request.page_limit(cap).ok()
    }

    #[test]
    fn page_sizes() {
        assert_eq!(page_limit("", 100), Some(100));
        assert_eq!(page_limit("n=", 100), Some(100));
        assert_eq!(page_limit("n=0", 100), Some(0));
        assert_eq!(page_limit("n=7", 100), Some(7));
        assert_eq!(page_limit("n=7000", 100), Some(100));
        for bad in ["n=-1", "n=x", "n=%20", "n=9223372036854775808"] {
            assert_eq!(page_limit(bad, 100), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn page_sizes_are_counts(n: i64, cap in 1..2000_usize) {
            prop_assert_eq!(page_limit(&format!("n={n}"), cap), usize::try_from(n).ok().map(|n| n.min(cap)));
        }
    }
}
