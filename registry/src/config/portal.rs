//! `[portal]`: the Skynet portal, by itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use skynet_formats::profile::Profile;

use super::validate::Faults;
use super::{ByteSize, ListenAddress, Secret, TimeSpan};

/// A portal with its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Portal {
    /// Address with port of `skyberth portal`.
    pub listen: ListenAddress,
    /// Let `skyberth serve` run it as well, and keep its content there; see `config/attached.rs`.
    pub attached: bool,
    /// Directory of everything that `skyberth portal` writes.
    pub data: PathBuf,
    /// URL under which clients reach the portal, such as `https://portal.example`; empty: the host that they asked.
    pub url: String,
    /// The name below which each skylink has an origin of its own: `<base32 skylink>.<hostname>`.
    pub hostname: String,
    /// Whoever has one of these may write, sent as `Skynet-Api-Key` or as the password of Basic authentication. Empty: anybody
    /// may add, and only programs on the same machine may unpin and change the block list.
    pub api_keys: Vec<Secret>,
    /// How uploads are cut: sector size, data pieces, parity pieces. Their skylinks depend on it: `4MiB/10+20` gives those of
    /// release skyd. The sector size is that of the whole store and must not change; the pieces may.
    pub profile: Profile,
    /// Bytes of one upload.
    pub max_upload: ByteSize,
    /// Bytes of the metadata of one upload, held in memory; they grow with the number of files in it.
    pub max_metadata: ByteSize,
    /// Uploads whose bodies are taken at once; each holds about 6 MiB. More get 503.
    pub max_uploads: usize,
    /// Archives (zip, tar) of skyfiles that are made at once, each while it is sent. More get 503.
    pub max_archives: usize,
    /// Bytes that uploads leave free on the disk; below, they get 507.
    pub disk_reserve: ByteSize,
    /// From one sweep of sectors that no pin reaches to the next; an unpin causes one earlier.
    pub sweep_interval: TimeSpan,
    /// Bytes a second that are read to find damaged sectors; 0 turns that off.
    pub scrub_rate: ByteSize,
    /// Writes of registry entries per second that one address may make in the long run, ten seconds' worth at once; more get
    /// 429. 0 for any number.
    pub registry_rate: u32,
    /// Registry entries kept; each takes a small file. Further ones get 507, those that are here can be updated.
    pub max_entries: u64,
    /// Base URLs of other portals, `http://` only. Skylinks and entries that are missing here are asked for there, and checked
    /// before they are used; entries written here are passed on to all of them. Each portal should list all the others.
    pub peers: Vec<String>,
    /// The API key that peers ask for where they ask for one; all of them get the same.
    pub peer_key: Secret,
    /// Resumable uploads (TUS) that are remembered; the one that was finished first makes way. Where none is finished, more
    /// get 503.
    pub max_resumable_uploads: usize,
    /// How long a resumable upload may be idle, and a finished one is remembered.
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
            max_entries: 1_000_000,
            peers: Vec::new(),
            peer_key: Secret::default(),
            max_resumable_uploads: 4096,
            upload_expiry: TimeSpan::from_secs(24 * 3600),
        }
    }
}

/// More peers than this would all be asked for each missing entry.
const MAX_PEERS: usize = 16;

impl Portal {
    pub(super) fn validate(&self, faults: &mut Faults) {
        if self.data.as_os_str().is_empty() {
            faults.add("portal.data", "must name a directory");
        }
        faults.url("portal.url", &self.url);
        let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if self.hostname.is_empty() || !self.hostname.bytes().all(in_name) {
            faults.add("portal.hostname", "write a host name in lower case, without port");
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
            faults.add("portal.api_keys", "an empty key would let anybody write");
        }
        faults.at_least_one("portal.max_uploads", self.max_uploads);
        faults.at_least_one("portal.max_archives", self.max_archives);
        faults.not_zero("portal.sweep_interval", self.sweep_interval);
        faults.at_least_one("portal.max_resumable_uploads", self.max_resumable_uploads);
        faults.not_zero("portal.upload_expiry", self.upload_expiry);
        let (least, most) = (ByteSize::from_bytes(1024), ByteSize::from_mib(4));
        faults.size_within("portal.max_metadata", self.max_metadata, least, most);
    }
}
