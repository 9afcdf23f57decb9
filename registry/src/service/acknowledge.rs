//! Answers that wait for the backend, if the operator wants that (`storage.acknowledge`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Error, Registry};
use crate::oci::Digest;
use crate::placement::Acknowledgement;

impl Registry {
    /// Waits a while until a blob, already durable here, is placed. The answer is the same either way, since only the
    /// manifest's answer promises a copy.
    pub(super) async fn acknowledge_blob(self: &Arc<Self>, digest: &Digest) {
        let Some(patience) = self.network_patience() else { return };
        // If the catalog cannot be read now, the push goes on.
        let _ = self.wait_for_places(vec![digest.clone()], patience).await;
    }

    /// Waits until a manifest, already durable and visible here, is placed with all its content. [`Error::InDoubt`] if
    /// that takes too long. The client then repeats the push, which is cheap.
    pub(super) async fn acknowledge_manifest(self: &Arc<Self>, needed: Vec<Digest>) -> Result<(), Error> {
        let Some(patience) = self.network_patience() else { return Ok(()) };
        if self.wait_for_places(needed, patience).await? { Ok(()) } else { Err(Error::InDoubt) }
    }

    /// True if answers wait for the backend.
    pub(super) fn acknowledges_network(&self) -> bool {
        self.network_patience().is_some()
    }

    fn network_patience(&self) -> Option<Duration> {
        let settings = &self.remote.as_ref()?.settings;
        (settings.acknowledge == Acknowledgement::Network).then_some(settings.acknowledge_patience)
    }

    /// Waits until these digests and the lists of their unit roots are placed. False if that exceeds `patience`.
    async fn wait_for_places(self: &Arc<Self>, mut digests: Vec<Digest>, patience: Duration) -> Result<bool, Error> {
        let Some(mut changes) = self.catalog().placement_changes() else { return Ok(true) };
        let Some(remote) = self.remote.clone() else { return Ok(true) };
        let deadline = Instant::now() + patience;
        loop {
            changes.mark_unchanged();
            // Check the last digest first; while it is unplaced, skip the rest.
            let remote = Arc::clone(&remote);
            digests = self
                .reading(move |catalog| {
                    while let Some(last) = digests.pop() {
                        if catalog.is_lacking(&last)?.is_some() && remote.may_place(catalog, &last)? {
                            digests.push(last);
                            break;
                        }
                        // Its unit roots were recorded before it was placed.
                        digests.extend(catalog.unit_roots(&last)?.map(|roots| roots.list));
                    }
                    Ok(digests)
                })
                .await?;
            if digests.is_empty() {
                return Ok(true);
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(false),
            }
        }
    }
}
