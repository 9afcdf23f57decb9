//! One peer: requests to it, with bounded answers that are verified before use.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use skynet_formats::entry::{EntryAnswer, EntryId, EntryPost, SignedEntry};
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::{SectorRoot, sector_root};
use skynet_formats::skylink::Skylink;
use tokio::task::spawn_blocking;

use super::error::PeerError;
use super::timing::Timing;
use crate::PeerKey;

/// The header that tells a portal not to ask its own peers.
pub(crate) const PEER_HEADER: HeaderName = HeaderName::from_static("skyberth-peer");

/// The header with the key that authorizes writes.
const API_KEY: HeaderName = HeaderName::from_static("skynet-api-key");

/// Most bytes of an entry as JSON; one takes less than 1 KiB.
const ENTRY_LIMIT: usize = 4096;

/// An entry in the list of peers is invalid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPeer {
    /// The text is not the URL of an HTTP server.
    #[error("the peer {0:?} is not a URL such as http://portal.example:9980")]
    Url(String),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client for peers")]
    Client(#[from] reqwest::Error),
}

/// Another portal.
#[derive(Debug)]
pub(super) struct Peer {
    /// The base URL without a slash at the end.
    url: String,
    key: PeerKey,
    client: Client,
    /// True if it did not say in time whether it has an entry, the last time that it was asked.
    silent: AtomicBool,
    /// True while it is asked whether it still is.
    probed: AtomicBool,
}

/// True if a text is the base URL of a portal that can be a peer.
pub fn is_peer_url(text: &str) -> bool {
    let is_base = |url: &Url| {
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        matches!(url.scheme(), "http" | "https") && plain && url.password().is_none()
    };
    Url::parse(text).is_ok_and(|url| is_base(&url))
}

/// The client for all peers. It follows no redirects, because they could lead to any host, and uses no proxy.
pub(super) fn http_client(timing: &Timing) -> Result<Client, InvalidPeer> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls_roots::client_config())
        .connect_timeout(timing.connect)
        .read_timeout(timing.idle)
        .timeout(timing.answer)
        .redirect(Policy::none())
        .no_proxy()
        // skyd answers only this user agent.
        .user_agent(concat!("Sia-Agent skyberth-portal/", env!("CARGO_PKG_VERSION")));
    Ok(client.build()?)
}

impl Peer {
    pub(super) fn new(url: &str, key: &PeerKey, client: Client) -> Result<Self, InvalidPeer> {
        if !is_peer_url(url) {
            return Err(InvalidPeer::Url(url.to_owned()));
        }
        Ok(Peer {
            url: url.trim_end_matches('/').to_owned(),
            key: key.clone(),
            client,
            silent: AtomicBool::new(false),
            probed: AtomicBool::new(false),
        })
    }

    /// True if readers of entries should not wait for it.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(super) fn set_silent(&self, silent: bool) {
        if self.silent.swap(silent, Ordering::Relaxed) != silent {
            let (peer, now) = (&self.url, if silent { "gives no answer in time" } else { "answers again" });
            tracing::warn!(peer, "a peer {now} when it is asked for entries");
        }
    }

    /// True for one caller, until [`Peer::probe_ended`].
    pub(super) fn begin_probe(&self) -> bool {
        !self.probed.swap(true, Ordering::Relaxed)
    }

    pub(super) fn probe_ended(&self) {
        self.probed.store(false, Ordering::Relaxed);
    }

    /// The URL for logs.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The entry of an id.
    pub(super) async fn entry(&self, id: EntryId) -> Result<SignedEntry, PeerError> {
        let body = self.get(&format!("/skynet/registry?entryid={id}"), ENTRY_LIMIT).await?;
        let answer: EntryAnswer = serde_json::from_slice(&body).map_err(|_| PeerError::WrongEntry)?;
        let entry = SignedEntry::try_from(answer).map_err(|_| PeerError::WrongEntry)?;
        if entry.id() == id { Ok(entry) } else { Err(PeerError::WrongEntry) }
    }

    /// Passes an entry on to the peer.
    pub(super) async fn post_entry(&self, entry: &SignedEntry) -> Result<(), PeerError> {
        let request = self.client.post(format!("{}/skynet/registry", self.url)).header(PEER_HEADER, "1");
        let request = match self.key.header() {
            Some(key) => request.header(API_KEY, key),
            None => request,
        };
        let response = request.json(&EntryPost::from(entry)).send().await?;
        if response.status().is_success() { Ok(()) } else { Err(PeerError::Status(response.status())) }
    }

    /// The bytes of a skylink's base sector, without the zeros at its end.
    pub(super) async fn base_sector(
        &self,
        skylink: Skylink,
        root: SectorRoot,
        size: SectorSize,
    ) -> Result<Bytes, PeerError> {
        // It covers the bytes named by the skylink. For any content uploaded as a skyfile, the rest is zeros.
        let named = self.get(&format!("/skynet/basesector/{skylink}"), size.bytes()).await?;
        match verified(named, root, size).await {
            Err(PeerError::WrongBytes) => self.sector(root, size).await,
            checked => checked,
        }
    }

    /// The bytes of a sector, without the zeros at its end.
    pub(super) async fn sector(&self, root: SectorRoot, size: SectorSize) -> Result<Bytes, PeerError> {
        let path = format!("/skynet/root?root={root}&offset=0&length={}", size.bytes());
        verified(self.get(&path, size.bytes()).await?, root, size).await
    }

    async fn get(&self, path: &str, limit: usize) -> Result<Bytes, PeerError> {
        let request = self.client.get(format!("{}{path}", self.url));
        let response = request.header(PEER_HEADER, HeaderValue::from_static("1")).send().await?;
        match response.status() {
            StatusCode::OK => read(response, limit).await,
            StatusCode::NOT_FOUND => Err(PeerError::Absent),
            status => Err(PeerError::Status(status)),
        }
    }
}

/// The whole answer, if it is at most `limit` bytes long.
async fn read(mut response: Response, limit: usize) -> Result<Bytes, PeerError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Err(PeerError::TooLong { limit });
    }
    let mut body = BytesMut::with_capacity(announced as usize);
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > limit {
            return Err(PeerError::TooLong { limit });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The bytes, if they match the root of the sector.
async fn verified(bytes: Bytes, root: SectorRoot, size: SectorSize) -> Result<Bytes, PeerError> {
    let is_right = {
        let bytes = bytes.clone();
        spawn_blocking(move || sector_root(size, &bytes) == root).await?
    };
    if is_right { Ok(bytes) } else { Err(PeerError::WrongBytes) }
}
