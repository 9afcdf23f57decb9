//! The backend that the configuration names, and how it is used.

use std::sync::Arc;

use anyhow::Context;
use storage_backends::backend::wrap::Metrics;
use storage_backends::backend::{Backend, BackendError};
use storage_backends::skynet::{Access, PortalConfig, Secret, SkynetConfig, skynet_backend_with};

use crate::config::{self, Storage};
use crate::placement::{Acknowledgement, Settings};
use crate::telemetry::BackendMetrics;

/// `None` where content stays on the local disk.
pub(super) fn backend(storage: &Storage, metrics: &BackendMetrics) -> anyhow::Result<Option<Arc<dyn Backend>>> {
    match storage.backend {
        config::Backend::Fs => Ok(None),
        config::Backend::Skynet => {
            let counted = |endpoint: &str, portal| -> Arc<dyn Backend> {
                Arc::new(Metrics::new(portal, Arc::new(metrics.of(endpoint))))
            };
            let backend = skynet_backend_with(&skynet(&storage.skynet)?, counted).context("[storage.skynet]")?;
            Ok(Some(backend))
        }
    }
}

/// What it may do, by the configuration.
pub(super) fn settings(storage: &Storage) -> Settings {
    Settings {
        transfers: storage.transfers,
        cache_size: storage.cache_size.bytes(),
        staging_limit: storage.staging_limit.bytes(),
        acknowledge: match storage.acknowledge {
            config::Acknowledge::Local => Acknowledgement::Local,
            config::Acknowledge::Network => Acknowledgement::Network,
        },
        flush_timeout: storage.flush_timeout.duration(),
        settle: storage.unpin_settle.duration(),
        first_unit: storage.cold_wait.duration(),
        ..Settings::default()
    }
}

/// Asks the backend what it is. One that means something else than the configuration stops the start; one that does not
/// answer may come up later, and is asked again with each use.
pub(super) async fn check(backend: &dyn Backend) -> anyhow::Result<()> {
    match backend.check().await {
        Ok(()) => Ok(()),
        Err(error @ BackendError::Unsuitable { .. }) => Err(error).context("the storage backend"),
        Err(error) => {
            tracing::warn!(%error, "the storage backend does not answer, content waits here for it");
            Ok(())
        }
    }
}

fn skynet(skynet: &config::Skynet) -> anyhow::Result<SkynetConfig> {
    let secret = |key: &config::Secret| Secret::new(key.expose());
    let access = if !skynet.api_key.is_empty() {
        Access::ApiKey(secret(&skynet.api_key))
    } else if !skynet.cookie.is_empty() {
        Access::Cookie(secret(&skynet.cookie))
    } else if !skynet.skyd_password.is_empty() {
        Access::Skyd(secret(&skynet.skyd_password))
    } else {
        Access::Open
    };
    let portals = skynet.portals.iter().map(|url| Ok(PortalConfig { url: url.parse()?, access: access.clone() }));
    let mut config = SkynetConfig::new(portals.collect::<anyhow::Result<_>>()?);
    config.profile = skynet.profile.parse()?;
    config.copies = skynet.copies;
    Ok(config)
}
