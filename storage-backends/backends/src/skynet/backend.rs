//! The complete Skynet backend: portals of one profile, each with all its wrappers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::config::{MAX_PORTALS, SkynetConfig};
use super::portal::Portal;
use crate::wrap::{Breaker, Jitter, Limit, Retry, Verify};
use crate::{Backend, BackendError, Replicas};

/// Builds the backend. Its bytes are verified portal by portal, so a portal with wrong bytes is detected and the next
/// one is asked. Content with a proof is verified by units; wrap the whole in [`Verify`] to check the digest of a full
/// read. No portal is contacted before `check`.
///
/// Errors: [`BackendError::Unsuitable`].
pub fn skynet_backend(config: &SkynetConfig) -> Result<Arc<dyn Backend>, BackendError> {
    skynet_backend_with(config, |_, portal| portal)
}

/// Builds the backend, with a wrapper around each portal, given its address: to count its calls.
pub fn skynet_backend_with(
    config: &SkynetConfig,
    around: impl Fn(&str, Arc<dyn Backend>) -> Arc<dyn Backend>,
) -> Result<Arc<dyn Backend>, BackendError> {
    let urls: BTreeSet<String> = config.portals.iter().map(|portal| portal.url.to_string()).collect();
    if urls.len() != config.portals.len() || urls.len() > MAX_PORTALS {
        let cause = format!("at most {MAX_PORTALS} portals, none twice");
        return Err(BackendError::Unsuitable { cause: cause.into() });
    }
    let recent = Arc::default();
    let members = config.portals.iter().map(|portal| {
        let address = portal.url.to_string();
        let portal = Portal::new(portal.clone(), config.profile, config.deadlines, config.max_object_size, random)?;
        let limited = Limit::new(Arc::new(portal.sharing(&recent)), config.limit);
        let retried = Retry::new(Arc::new(limited), config.retry, Jitter::from_system());
        let retried = if config.portals.len() > 1 { retried.opening_once() } else { retried };
        let watched = around(&address, Arc::new(Verify::of_units(Arc::new(retried))));
        let guarded: Arc<dyn Backend> = Arc::new(Breaker::new(watched, config.breaker));
        Ok(guarded)
    });
    Ok(Arc::new(Replicas::new(members.collect::<Result<_, BackendError>>()?, config.copies, config.patience)?))
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness once it has booted");
    bytes
}
