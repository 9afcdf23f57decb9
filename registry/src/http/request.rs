//! A parsed request, as handlers see it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName, Uri};
use serving::{Query, Scheme};

use super::content_range::parse_content_range;
use super::error::HttpError;
use crate::access::{Identity, Principal};
use crate::oci::RepositoryName;
use crate::service::{Caller, Chunk, Error, Progress};

/// A request without its body. The dispatcher keeps the body, and drains the part that a handler does not read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) caller: Caller,
    /// The login of the caller.
    pub(crate) principal: Principal,
    /// The address of the connection's other end.
    pub(crate) peer: IpAddr,
    /// The scheme of the connection.
    pub(crate) scheme: Scheme,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
}

impl Request {
    /// A request whose caller has not logged in yet.
    pub(crate) fn new(caller: Caller, (peer, scheme): (IpAddr, Scheme), uri: Uri, headers: HeaderMap) -> Self {
        let query = Query::parse_uri(uri.query());
        Request { caller, principal: Principal::of(Identity::Anonymous), peer, scheme, uri, headers, query }
    }

    /// Sets the caller's login.
    pub(crate) fn log_in(&mut self, principal: Principal) {
        self.caller.identity.clone_from(&principal.identity);
        self.principal = principal;
    }

    /// A header as text; `None` if it is absent or not text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body's length, if the request states it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(&CONTENT_LENGTH)?.parse().ok()
    }

    /// The number of results requested by `n`, at most `cap`. Absent or empty `n` means `cap`, as in distribution.
    pub(crate) fn page_limit(&self, cap: usize) -> Result<usize, HttpError> {
        let Some(text) = self.query.get("n").filter(|text| !text.is_empty()) else {
            return Ok(cap);
        };
        // The largest `n` of distribution's clients fits an i64. A larger one is reported as a mistake.
        match text.parse::<i64>().ok().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(n.min(cap)),
            None => Err(HttpError::page_size_invalid(text)),
        }
    }

    /// The position of a chunk. An invalid `Content-Range` is answered like a chunk out of order.
    pub(crate) fn chunk(&self, progress: impl FnOnce() -> Result<Progress, Error>) -> Result<Chunk, Error> {
        let Some(header) = self.headers.get(CONTENT_RANGE) else {
            return Ok(Chunk::Stream);
        };
        match header.to_str().ok().and_then(parse_content_range) {
            Some(range) => Ok(Chunk::Range { first: range.first, last: range.last }),
            None => Err(Error::ContentRangeInvalid(progress()?)),
        }
    }
}

/// A handler's result: a response, or an error.
pub(crate) type Answer = Result<http::Response<axum::body::Body>, HttpError>;

/// Attaches the repository to a service error, for the headers that name it.
pub(crate) fn in_repository(repository: &RepositoryName) -> impl Fn(Error) -> HttpError + '_ {
    move |error| HttpError::from_service(error, Some(repository))
}

/// A service error that concerns no repository.
pub(crate) fn in_no_repository(error: Error) -> HttpError {
    HttpError::from_service(error, None)
}

/// Makes request ids: unique across restarts, cheap, and without meaning.
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

    fn local(uri: Uri, headers: HeaderMap) -> Request {
        Request::new(Caller::local(), (std::net::Ipv4Addr::LOCALHOST.into(), Scheme::Http), uri, headers)
    }

    fn page_limit(query: &str, cap: usize) -> Option<usize> {
        let uri = format!("/?{query}").parse().unwrap();
        local(uri, HeaderMap::new()).page_limit(cap).ok()
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

    /// It was told that its chunk began elsewhere.
    #[test]
    fn a_malformed_content_range_is_called_so() {
        let progress = || Ok(Progress { id: content_store::UploadId::from_random([7; 16]), offset: 10 });
        for (text, wanted) in [("x", None), ("5-1", None), ("10-19", Some(Chunk::Range { first: 10, last: 19 }))] {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, text.parse().unwrap())]);
            let request = local(Uri::from_static("/"), headers);
            match request.chunk(progress) {
                Ok(chunk) => assert_eq!(Some(chunk), wanted),
                Err(error) => {
                    assert_eq!(wanted, None);
                    assert!(error.to_string().starts_with("Content-Range must be FIRST-LAST"), "{error}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn page_sizes_are_counts(n: i64, cap in 1..2000_usize) {
            prop_assert_eq!(page_limit(&format!("n={n}"), cap), usize::try_from(n).ok().map(|n| n.min(cap)));
        }
    }
}
