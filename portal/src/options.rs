//! The settings of a portal; each has a key of the same name in the configuration.

use std::time::Duration;

use serving::{AccessLog, PERMIT_PATIENCE, TrustedProxies, WebPages};
use skynet_formats::profile::Profile;

use crate::{ApiKeys, PeerKey};

/// The settings of one portal.
#[derive(Clone, Debug)]
pub struct PortalOptions {
    /// Base URL under which clients reach the portal, such as `https://portal.example`. If empty, it is taken from the
    /// request's `Host`, with plain HTTP.
    pub url: String,
    /// Host below which every skylink has its own origin, `<base32 skylink>.<hostname>`.
    pub hostname: String,
    /// Longest time without a byte of a request body.
    pub idle_body_timeout: Duration,
    /// Serve `/metrics`.
    pub metrics: bool,
    /// Proxies that are trusted to name the client.
    pub trusted_proxies: TrustedProxies,
    /// The rules for web pages.
    pub pages: WebPages,
    /// Requests that get a line in the log.
    pub access_log: AccessLog,
    /// The keys that authorize writes.
    pub api_keys: ApiKeys,
    /// The sizes by which uploads are cut into sectors and pieces; their skylinks depend on it. Other layouts can be
    /// read and restored.
    pub profile: Profile,
    /// Most bytes of content in one upload.
    pub max_upload: u64,
    /// Most bytes of metadata in one upload, which grows with the number of its files.
    pub max_metadata: usize,
    /// Uploads whose bodies are received at once; each takes about 6 MiB of memory.
    pub max_uploads: usize,
    /// Archives that are made and sent at once.
    pub max_archives: usize,
    /// How long a request waits for one of these.
    pub permit_patience: Duration,
    /// Bytes of the disk to keep free. See `PortalOptions::uploads_reserve`.
    pub disk_reserve: u64,
    /// Time between two sweeps of unpinned sectors; an unpin causes an earlier one.
    pub sweep_interval: Duration,
    /// Bytes per second read to find damaged sectors; 0 disables it.
    pub scrub_rate: u64,
    /// Writes of registry entries per second and address in the long run; 0 for no limit.
    pub registry_rate: u32,
    /// Lookups of absent entries at peers per second and address in the long run; 0 for no limit.
    pub lookup_rate: u32,
    /// Most registry entries; each takes a file.
    pub max_entries: u64,
    /// Base URLs of portals from which missing content is fetched, and to which entries are passed on.
    pub peers: Vec<String>,
    /// The API key of this portal at its peers.
    pub peer_key: PeerKey,
    /// Most resumable uploads in the table, including finished ones.
    pub max_resumable_uploads: usize,
    /// Longest idle time of a resumable upload, and the time for which a finished one is remembered.
    pub upload_expiry: Duration,
}

/// Archives that a gateway makes at once.
const MAX_ARCHIVES_OF_GATEWAY: usize = 32;

impl PortalOptions {
    /// Bytes that uploads leave free: more than the reserve, so that what was uploaded can be pinned.
    pub(crate) fn uploads_reserve(&self) -> u64 {
        self.disk_reserve.saturating_add(self.disk_reserve / 8)
    }

    /// The options of a gateway, to which settings about writing do not apply.
    pub fn of_gateway(profile: Profile, url: String, idle_body_timeout: Duration, metrics: bool) -> Self {
        PortalOptions {
            url,
            hostname: "localhost".to_owned(),
            idle_body_timeout,
            metrics,
            trusted_proxies: TrustedProxies::default(),
            pages: WebPages::default(),
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
            lookup_rate: 0,
            max_entries: 0,
            peers: Vec::new(),
            peer_key: PeerKey::default(),
            max_archives: MAX_ARCHIVES_OF_GATEWAY,
            permit_patience: PERMIT_PATIENCE,
            max_resumable_uploads: 0,
            upload_expiry: Duration::MAX,
        }
    }
}

/// Small limits.
#[cfg(any(test, fuzzing))]
pub(crate) fn for_tests() -> PortalOptions {
    PortalOptions {
        url: String::new(),
        hostname: "localhost".to_owned(),
        idle_body_timeout: Duration::from_secs(5),
        metrics: true,
        trusted_proxies: TrustedProxies::default(),
        pages: WebPages::default(),
        access_log: AccessLog::Off,
        api_keys: ApiKeys::default(),
        profile: Profile::DEFAULT,
        max_upload: 1 << 30,
        max_metadata: 1 << 20,
        max_uploads: 4,
        max_archives: 4,
        permit_patience: Duration::from_millis(50),
        disk_reserve: 0,
        sweep_interval: Duration::from_hours(1),
        scrub_rate: 0,
        registry_rate: 0,
        lookup_rate: 0,
        max_entries: 1000,
        peers: Vec::new(),
        peer_key: PeerKey::default(),
        max_resumable_uploads: 16,
        upload_expiry: Duration::from_hours(24),
    }
}
