//! Skylinks in requests: parsed, and resolved to the v1 link that names bytes.

use http::HeaderMap;
use skynet_formats::entry::SignedEntry;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::{Skylink, Target};

use super::error::HttpError;
use super::request::{Request, SKYNET_SKYLINK, value};
use super::resolve::{attach_proof, refuse};
use super::timeout::timeout;
use crate::Portal;
use crate::registry::resolve_link;

const MAX_TIMEOUT_SECONDS: u64 = 900;

/// A v1 skylink, and the way to it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) v1: Skylink,
    pub(super) root: SectorRoot,
    pub(super) offset: u64,
    pub(super) fetch_size: u64,
    passed: Vec<SignedEntry>,
}

/// Parses the skylink of a path; the text after it is ignored.
pub(super) fn parse(text: &str) -> Result<Skylink, HttpError> {
    let text = text.split('/').next().unwrap_or_default();
    text.parse().map_err(|error| HttpError::bad_request(format!("error parsing skylink: {error}")))
}

impl Link {
    /// Resolves a skylink to v1. `action` is the failed action in skyd's words, for the error.
    pub(super) async fn resolve(
        portal: &Portal,
        request: &Request,
        text: &str,
        action: &str,
    ) -> Result<Self, HttpError> {
        let skylink = parse(text)?;
        let timeout = timeout(&request.query, MAX_TIMEOUT_SECONDS)?;
        let Ok(resolved) = tokio::time::timeout(timeout, resolve_link(portal, &skylink, Some(request.address()))).await
        else {
            return Err(HttpError::not_found(format!("{action}: registry entry not found within given time")));
        };
        let resolved = resolved.map_err(|error| refuse(action, error))?;
        match resolved.skylink.target() {
            Target::Sector { offset, fetch_size, root } => {
                Ok(Link { v1: resolved.skylink, root, offset, fetch_size, passed: resolved.passed })
            }
            Target::Entry(_) => Err(HttpError::bad_request(format!("{action}: not a v1 skylink"))),
        }
    }

    /// True if an entry led to it, which may lead elsewhere later.
    pub(super) fn is_mutable(&self) -> bool {
        !self.passed.is_empty()
    }

    /// Adds `Skynet-Skylink`, and the proof of a v2 skylink, to an answer.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        headers.insert(SKYNET_SKYLINK, value(&self.v1.to_string()));
        attach_proof(&self.passed, headers);
    }
}
