//! `[portal]`: the Skynet portal's own settings.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use skynet_formats::profile::Profile;

use super::validate::Faults;
use super::{ByteSize, ListenAddress, Secret, TimeSpan};

/// Settings of a portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Portal {
    /// Address and port of `skyberth portal`, and of an attached portal.
    pub listen: ListenAddress,
    /// Let `skyberth serve` run the portal too and store to it, as with `--with-portal`.
    ///
    /// See `config/attached.rs`.
    pub attached: bool,
    /// Directory of everything that `skyberth portal` writes.
    pub data: PathBuf,
    /// URL under which clients reach the portal, such as `https://portal.example`. Empty: the host of the request.
    pub url: String,
    /// Host name under which each skylink has a subdomain, and so an origin, of its own: `<base32 skylink>.<hostname>`.
    pub hostname: String,
    /// Keys that allow writing, sent as `Skynet-Api-Key` or as the password of Basic authentication. Empty: every
    /// client may upload, and only programs on the same machine may unpin and block.
    pub api_keys: Vec<Secret>,
    /// How uploads are cut: sector size, data pieces, parity pieces. Skylinks depend on it; `4MiB/10+20` is the profile
    /// of released skyd. The sector size of a data directory must not change.
    pub profile: Profile,
    /// Bytes of content of one upload.
    pub max_upload: ByteSize,
    /// Bytes of metadata of one skyfile that is uploaded, restored or fetched from a peer. They grow with the number of
    /// its files.
    ///
    /// They are parsed in memory, where they take several times as much.
    pub max_metadata: ByteSize,
    /// Uploads whose bodies are received at once. Each takes about 6 MiB. [One client](explanation/shares.md) has half
    /// of them at most.
    pub max_uploads: usize,
    /// Zip and tar archives made and sent at once. [One client](explanation/shares.md) has half of them at most.
    pub max_archives: usize,
    /// Bytes of the disk to keep free. Uploads get 507 a little above it, at nine eighths, registry entries and pins below
    /// it.
    pub disk_reserve: ByteSize,
    /// Time from one sweep of sectors without a pin to the next; an unpin causes an earlier one.
    pub sweep_interval: TimeSpan,
    /// Bytes a second that are read to find damaged sectors. 0: no check.
    pub scrub_rate: ByteSize,
    /// Writes of registry entries per second that one address may make in the long run; further ones get 429. 0: any
    /// number.
    ///
    /// Ten seconds' worth may come at once.
    pub registry_rate: u32,
    /// Lookups of absent registry entries at peers per second and address, in the long run; further ones get 429. 0: any
    /// number.
    ///
    /// Ten seconds' worth may come at once.
    pub lookup_rate: u32,
    /// Registry entries kept; further ones get 507. Each takes a small file. While more than half are used, one address
    /// or API key gets 429 once it has added half.
    pub max_entries: u64,
    /// URLs of other portals, the peers. This portal asks them for missing content and registry entries, and sends them
    /// each new entry. Each of them must name all the others.
    ///
    /// Answers are checked before they are used.
    pub peers: Vec<String>,
    /// API key sent to the peers. Empty: none is sent.
    pub peer_key: Secret,
    /// Resumable uploads remembered, finished ones included. At the limit, the oldest finished one is forgotten.
    /// [One client](explanation/shares.md) has half of them at most.
    pub max_resumable_uploads: usize,
    /// Time that a resumable upload may be idle, and that a finished one is remembered.
    pub upload_expiry: TimeSpan,
}

impl Default for Portal {
    fn default() -> Self {
        Portal {
            listen: ListenAddress::local(9980),
            attached: false,
            data: PathBuf::from("./skyberth-portal-data"),
            url: String::new(),
            hostname: "localhost".to_owned(),
            api_keys: Vec::new(),
            profile: Profile::DEFAULT,
            max_upload: ByteSize::from_bytes(1 << 40),
            max_metadata: ByteSize::from_mib(1),
            max_uploads: 64,
            max_archives: 32,
            disk_reserve: ByteSize::from_mib(256),
            sweep_interval: TimeSpan::from_secs(3600),
            scrub_rate: ByteSize::from_mib(8),
            registry_rate: 60,
            lookup_rate: 20,
            max_entries: 1_000_000,
            peers: Vec::new(),
            peer_key: Secret::default(),
            max_resumable_uploads: 4096,
            upload_expiry: TimeSpan::from_secs(24 * 3600),
        }
    }
}

/// Most peers, since each missing entry is asked of all of them.
const MAX_PEERS: usize = 16;

impl Portal {
    pub(super) fn validate(&self, faults: &mut Faults) {
        if self.data.as_os_str().is_empty() {
            faults.add("portal.data", "must name a directory");
        }
        faults.url("portal.url", &self.url);
        let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if self.hostname.is_empty() || !self.hostname.bytes().all(in_name) {
            faults.add("portal.hostname", "write a host name in lower case, without a port");
        }
        if !self.peer_key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            faults.add("portal.peer_key", "must be visible ASCII characters");
        }
        if self.peers.len() > MAX_PEERS {
            faults.add("portal.peers", format!("names more than {MAX_PEERS} portals"));
        }
        if !self.peers.iter().all(|peer| portal::is_peer_url(peer)) {
            faults.add("portal.peers", "write URLs such as https://portal.example");
        }
        if self.api_keys.iter().any(|key| key.expose().is_empty()) {
            faults.add("portal.api_keys", "an empty key would let anyone write");
        }
        faults.count("portal.max_uploads", self.max_uploads);
        faults.count("portal.max_archives", self.max_archives);
        faults.not_zero("portal.sweep_interval", self.sweep_interval);
        faults.count("portal.max_resumable_uploads", self.max_resumable_uploads);
        faults.not_zero("portal.upload_expiry", self.upload_expiry);
        let (least, most) = (ByteSize::from_bytes(1024), ByteSize::from_mib(4));
        faults.size_within("portal.max_metadata", self.max_metadata, least, most);
    }
}
