//! The Skynet backend against portals in this process: the contract, the protocol, and portals that do wrong.

mod contract;
mod hostile;
mod protocol;
mod several;

use std::sync::Arc;
use std::time::Duration;

use skynet_formats::profile::Profile;

use super::testing::TestPortal;
use super::{Deadlines, Portal, PortalConfig, SectorRoots};
use crate::testing::Watched;
use crate::{Backend, BackendError, BytesSource, Locator, ProgressInMemory, Put, UNIT};

/// For machines that have much else to do.
const PATIENT: Deadlines = Deadlines {
    connect: Duration::from_secs(30),
    first_byte: Duration::from_mins(1),
    idle: Duration::from_mins(1),
    ping: Duration::from_secs(30),
    least_rate: 64 * 1024,
};

fn backend(config: PortalConfig, profile: Profile) -> Portal {
    Portal::new(config, profile, PATIENT, None, random).unwrap()
}

fn portal(test: &TestPortal) -> Portal {
    backend(test.config(), Profile::DEFAULT)
}

fn portal_with(test: &TestPortal, deadlines: Deadlines) -> Portal {
    Portal::new(test.config(), Profile::DEFAULT, deadlines, None, random).unwrap()
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

async fn put(backend: &dyn Backend, source: &BytesSource) -> Result<Locator, BackendError> {
    backend.put(Arc::new(source.clone()), Put::IfAbsent, &ProgressInMemory::default()).await
}

/// Content of this length, with the roots of its sectors if it is above one unit, as a registry gives it.
fn sample(length: u64, seed: u64) -> BytesSource {
    let source = crate::testing::sample(length, seed);
    let roots = (length > UNIT).then(|| Arc::new(SectorRoots::of_bytes(&source.read_all())));
    match roots {
        Some(roots) => source.with_proof(roots).unwrap(),
        None => source,
    }
}

/// Drops a put at the moment when it requests bytes beyond the offset.
async fn break_off(backend: &dyn Backend, source: &BytesSource, offset: u64, resume: &ProgressInMemory) {
    let watched = Watched::new(source.clone()).stalling_at(offset);
    tokio::select! {
        () = watched.stalled() => {}
        _ = backend.put(Arc::new(watched.clone()), Put::IfAbsent, resume) => panic!("a put ended that cannot have its bytes"),
    }
}
