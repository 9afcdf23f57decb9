//! What the operator of a portal chooses; each has a key of the same name in the configuration.

use std::time::Duration;

use serving::{AccessLog, TrustedProxies};
use skynet_formats::profile::Profile;

use crate::{ApiKeys, PeerKey};

/// The settings of one portal.
#[derive(Clone, Debug)]
pub struct PortalOptions {
    /// Base URL under which clients reach the portal, such as `https://portal.example`; empty: what the request's `Host`
    /// says, over plain HTTP.
    pub url: String,
    /// Name of the host below which every skylink has its own origin, `<base32 skylink>.<hostname>`.
    pub hostname: String,
    /// A body of which nothing comes for so long is given up.
    pub idle_body_timeout: Duration,
    /// Serve `/metrics`.
    pub metrics: bool,
    /// Proxies that are believed when they name the client.
    pub trusted_proxies: TrustedProxies,
    /// Which requests get a line in the log.
    pub access_log: AccessLog,
    /// Who may write.
    pub api_keys: ApiKeys,
    /// How uploads are cut into sectors and pieces, on which their skylinks depend. Other layouts can be read, and restored.
    pub profile: Profile,
    /// Bytes of content of one upload.
    pub max_upload: u64,
    /// Bytes of metadata of one upload, which grows with the number of its files.
    pub max_metadata: usize,
    /// Uploads whose bodies are taken at once; each holds about 6 MiB.
    pub max_uploads: usize,
    /// Archives that are made at once while they are sent.
    pub max_archives: usize,
    /// Bytes that uploads leave free on the disk.
    pub disk_reserve: u64,
    /// From one sweep of unpinned sectors to the next; an unpin causes one earlier.
    pub sweep_interval: Duration,
    /// Bytes a second that are read to find damaged sectors; 0 is never.
    pub scrub_rate: u64,
    /// Writes of registry entries per second that one address may make in the long run; 0 for any number.
    pub registry_rate: u32,
    /// Most registry entries that the portal keeps; each takes a file.
    pub max_entries: u64,
    /// Base URLs of portals that are asked for what is missing here, and that entries are passed on to.
    pub peers: Vec<String>,
    /// What this portal shows to its peers to be let in.
    pub peer_key: PeerKey,
    /// Resumable uploads that are remembered, finished ones among them.
    pub max_resumable_uploads: usize,
    /// How long a resumable upload may be idle, and a finished one is remembered.
    pub upload_expiry: Duration,
}

/// Archives that a gateway makes at once.
const MAX_ARCHIVES_OF_GATEWAY: usize = 32;

impl PortalOptions {
    /// Those of a gateway, to which whatever concerns writing means nothing.
    pub fn of_gateway(profile: Profile, url: String, idle_body_timeout: Duration, metrics: bool) -> Self {
        PortalOptions {
            url,
            hostname: "localhost".to_owned(),
            idle_body_timeout,
            metrics,
            trusted_proxies: TrustedProxies::default(),
            access_log: AccessLog::Off,
            api_keys: ApiKeys::default(),
            profile,
            max_upload: 0,
            max_metadata: 0,
            max_uploads: 0,
            disk_reserve: 0,
            sweep_interval: Duration::MAX,
            scrub_rate: 0,
            registry_rate: 0,
            max_entries: 0,
            peers: Vec::new(),
            peer_key: PeerKey::default(),
            max_archives: MAX_ARCHIVES_OF_GATEWAY,
            max_resumable_uploads: 0,
            upload_expiry: Duration::MAX,
        }
    }
}

/// Small limits.
#[cfg(test)]
pub(crate) fn for_tests() -> PortalOptions {
    PortalOptions {
        url: String::new(),
        hostname: "localhost".to_owned(),
        idle_body_timeout: Duration::from_secs(5),
        metrics: true,
        trusted_proxies: TrustedProxies::default(),
        access_log: AccessLog::Off,
        api_keys: ApiKeys::default(),
        profile: Profile::DEFAULT,
        max_upload: 1 << 30,
        max_metadata: 1 << 20,
        max_uploads: 4,
        max_archives: 4,
        disk_reserve: 0,
        sweep_interval: Duration::from_hours(1),
        scrub_rate: 0,
        registry_rate: 0,
        max_entries: 1000,
        peers: Vec::new(),
        peer_key: PeerKey::default(),
        max_resumable_uploads: 16,
        upload_expiry: Duration::from_hours(24),
    }
}
