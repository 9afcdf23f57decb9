//! The permits that a request needs before a byte of its body is read.

use std::sync::Arc;

use serving::{Permit, Pool};

use super::{Caller, Error, MemoryPermit, Registry, SMALL_MANIFEST};
use crate::resources::Resource;

/// Permits for a request's body. Each moves into the work that it is for.
#[derive(Debug, Default)]
pub struct Permits {
    body: Option<Permit>,
    manifest: Option<MemoryPermit>,
}

impl Registry {
    /// Takes the permits that a request with these costs needs before its body is read. `length` is the body's length,
    /// if the request states it. A request waits a while for each.
    ///
    /// Errors: [`Error::UsedUp`], and [`Error::ManifestTooLarge`] for a manifest that no permit could be for.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        costs: &[Resource],
        length: Option<u64>,
    ) -> Result<Permits, Error> {
        let mut permits = Permits::default();
        for cost in costs {
            match (cost, length) {
                (Resource::Bodies, _) => permits.body = Some(self.transfers.take(caller.holder).await?),
                (Resource::LargeManifests, Some(length)) if length > SMALL_MANIFEST => {
                    permits.manifest = Some(self.manifest_memory(caller, length).await?);
                }
                // The work takes these itself, once it knows how much it needs.
                _ => {}
            }
        }
        Ok(permits)
    }
}

impl Permits {
    /// The pool whose least rate the body must keep, if it holds a permit of one.
    pub fn rated(&self) -> Option<&Arc<Pool>> {
        self.body.as_ref().map(Permit::pool)
    }

    /// The permit for the body of a blob.
    ///
    /// Errors: [`Error::Internal`] if the costs of the request do not include it.
    pub fn body(self) -> Result<Permit, Error> {
        self.body.ok_or(Error::Internal("the costs of a request with a body do not include the body"))
    }

    /// The permit for a large manifest whose length was stated.
    pub fn manifest(self) -> Option<MemoryPermit> {
        self.manifest
    }
}
