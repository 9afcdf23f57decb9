//! Builds the configured backend and its settings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use backends::skynet::{Access, PortalConfig, Secret, SkynetConfig, skynet_backend_with};
use backends::wrap::Metrics;
use backends::{Backend, BackendError};
use reqwest::Url;

use crate::config::{self, Storage};
use crate::fetch;
use crate::placement::{ATTACHED, Acknowledgement, Domain, HERE, Names, Settings};
use crate::telemetry::BackendMetrics;

/// Longest time between two audits of content that is not clearly at a portal.
const DOUBTS_APART: Duration = Duration::from_mins(5);

/// The configured backend; `None` if content stays on the local disk. An attached portal comes first in its list.
/// `names`: those of its endpoints when they were last asked.
pub(super) fn backend(
    storage: &Storage,
    attached: Option<&PortalConfig>,
    names: &Names,
    metrics: &BackendMetrics,
) -> anyhow::Result<Option<Arc<dyn Backend>>> {
    let attached = attached.map(|own| PortalConfig { known_as: names.get(ATTACHED).cloned(), ..own.clone() });
    let config = match (storage.backend, attached) {
        (config::Backend::Fs, None) => return Ok(None),
        (config::Backend::Fs, Some(attached)) => skynet(&storage.skynet, vec![attached], 1)?,
        (config::Backend::Skynet, attached) => {
            let portals = attached.into_iter().map(Ok).chain(named(&storage.skynet, names));
            skynet(&storage.skynet, portals.collect::<anyhow::Result<_>>()?, storage.skynet.copies)?
        }
    };
    let counted =
        |endpoint: &str, portal| -> Arc<dyn Backend> { Arc::new(Metrics::new(portal, Arc::new(metrics.of(endpoint)))) };
    Ok(Some(skynet_backend_with(&config, counted).context("[storage.skynet]")?))
}

/// Limits and times of placement, from the configuration.
pub(super) fn settings(storage: &Storage) -> Settings {
    Settings {
        transfers: storage.transfers,
        cache_size: storage.cache_size.bytes(),
        staging_limit: storage.staging_limit.bytes(),
        private: storage.private,
        acknowledge: match storage.acknowledge {
            config::Acknowledge::Local => Acknowledgement::Local,
            config::Acknowledge::Network => Acknowledgement::Network,
        },
        flush_timeout: storage.flush_timeout.duration(),
        settle: storage.unpin_settle.duration(),
        audit_interval: storage.audit_interval.duration(),
        full_read_interval: storage.full_read_interval.duration(),
        audit_rate: storage.audit_rate.bytes(),
        // Three failures within the time in which a lost copy must be noticed, and within 10 minutes.
        doubts_apart: (storage.audit_interval.duration() / 4).min(DOUBTS_APART),
        fetch: fetch::Settings { first_unit: storage.cold_wait.duration(), ..fetch::Settings::default() },
        ..Settings::default()
    }
}

/// Checks the backend. A backend that contradicts the configuration stops the start. One that does not answer only
/// causes a warning: it may come up later, and each use asks it again.
pub(super) async fn check(backend: &dyn Backend) -> anyhow::Result<()> {
    match backend.check().await {
        Ok(()) => Ok(()),
        Err(error @ BackendError::Unsuitable { .. }) => Err(error).context("the storage backend"),
        Err(error) => {
            tracing::warn!(%error, "the storage backend does not answer, so content waits on this node");
            Ok(())
        }
    }
}

fn skynet(skynet: &config::Skynet, portals: Vec<PortalConfig>, copies: u32) -> anyhow::Result<SkynetConfig> {
    let mut config = SkynetConfig::new(portals);
    config.profile = skynet.profile.parse()?;
    config.copies = copies;
    Ok(config)
}

/// The failure domains of the endpoints of [`backend`], in their order. The attached portal is on this machine.
pub(super) fn domains(storage: &Storage, has_attached: bool) -> Vec<Domain> {
    let attached = has_attached.then(|| Domain::Labelled(HERE.to_owned()));
    let named = match storage.backend {
        config::Backend::Fs => &[][..],
        config::Backend::Skynet => &storage.skynet.portals[..],
    };
    let labels = storage.skynet.domains.iter().map(|label| Some(label.clone())).chain(std::iter::repeat(None));
    let domain = |(url, label): (&String, Option<String>)| match label {
        Some(label) => Domain::Labelled(label),
        None => {
            Domain::Host(Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default())
        }
    };
    attached.into_iter().chain(named.iter().zip(labels).map(domain)).collect()
}

/// The portals of the configuration, all with the same credentials.
fn named(skynet: &config::Skynet, names: &Names) -> impl Iterator<Item = anyhow::Result<PortalConfig>> {
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
    skynet.portals.iter().map(move |url| {
        let portal = PortalConfig::new(url.parse()?, access.clone());
        Ok(PortalConfig { known_as: names.get(&portal.url.to_string()).cloned(), ..portal })
    })
}
