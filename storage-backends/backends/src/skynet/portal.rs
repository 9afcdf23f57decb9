//! One portal as a backend: content at the skylink of its canonical form.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Method, Response, StatusCode};
use skynet_formats::profile::Profile;
use skynet_formats::skylink::Skylink;
use tokio::time::Instant;

use super::client::Client;
use super::config::{Deadlines, PortalConfig};
use super::content::{Body, canonical, max_length};
use super::problem::Problem;
use super::roots::RecentRoots;
use super::{identity, placing, presence, stats, tus, unit_roots};
use crate::{
    Answer, Backend, BackendError, ByteStream, Content, Deletion, Health, Identity, Locator, PLAIN, Progress, Put,
    Source, Stat, UnitProof, UnitProofs,
};

/// The `kind` of locators made here.
pub const KIND: &str = "skynet";

/// How long a proof of who a portal is holds for puts.
const PROOF_HOLDS: Duration = Duration::from_mins(1);

/// The longest answer to an upload, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// One portal.
#[derive(Clone, Debug)]
pub struct Portal {
    pub(super) client: Client,
    pub(super) profile: Profile,
    profile_name: Arc<str>,
    max_object_size: u64,
    deadlines: Deadlines,
    random: fn() -> [u8; 16],
    recent: Arc<RecentRoots>,
    known: Arc<Mutex<Known>>,
}

/// Who the portal is, as far as is known.
#[derive(Debug)]
struct Known {
    /// Its name in locators.
    name: String,
    /// When it last proved that, or showed that it can prove nothing.
    at: Option<Instant>,
    /// True if it is a portal of Skyberth, which can prove who it is.
    proves: bool,
}

impl Portal {
    /// A portal of this profile; it is not contacted yet. `random` names files at a bare skyd, which requires a new
    /// name for each.
    pub fn new(
        config: PortalConfig,
        profile: Profile,
        deadlines: Deadlines,
        max_object_size: Option<u64>,
        random: fn() -> [u8; 16],
    ) -> Result<Self, BackendError> {
        let possible = max_length(profile);
        let client = Client::new(config, deadlines)?;
        let name = client.known_as().cloned().unwrap_or_else(|| client.name().to_string());
        Ok(Portal {
            known: Arc::new(Mutex::new(Known { name, at: None, proves: false })),
            client,
            profile,
            profile_name: profile.to_string().into(),
            max_object_size: max_object_size.map_or(possible, |limit| limit.min(possible)),
            deadlines,
            random,
            recent: Arc::default(),
        })
    }

    /// This portal, sharing the cache of roots with other portals of its profile.
    pub(super) fn sharing(self, recent: &Arc<RecentRoots>) -> Self {
        Portal { recent: Arc::clone(recent), ..self }
    }

    fn locator(&self, skylink: &Skylink, length: u64) -> Locator {
        Locator::plain(KIND, &self.profile_name, skylink.to_string(), length)
    }

    /// The skylink of a locator. It must be a valid one, because it becomes part of a path.
    fn skylink(&self, content: &Content, locator: &Locator) -> Result<Skylink, BackendError> {
        let ours = locator.kind == KIND
            && *locator.profile == *self.profile_name
            && locator.codec == PLAIN
            && locator.stored_size == content.length();
        let skylink = Skylink::from_uri(&locator.address).ok().filter(|_| ours);
        skylink.ok_or_else(|| BackendError::Refused { cause: "the locator is not one of this backend".into() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks who it is, and remembers the answer.
    async fn ask_who(&self) -> Result<Identity, BackendError> {
        let begun = Instant::now();
        let identity = identity::ask(&self.client).await?;
        let name = match identity {
            Identity::Proven(id) => id.to_string(),
            Identity::Unprovable => {
                // A sign of life, and of the right kind of portal.
                stats::check_profile(&self.client, self.profile).await?;
                self.client.name().to_string()
            }
        };
        let mut known = self.known();
        if known.name != name {
            tracing::info!(portal = %self.client.name(), before = known.name, now = name, "a portal says who it is");
        }
        *known = Known { name, at: Some(begun), proves: matches!(identity, Identity::Proven(_)) };
        Ok(identity)
    }

    /// Its name in locators, proven not long ago.
    async fn proven_name(&self) -> Result<String, BackendError> {
        let holds = self.known().at.is_some_and(|at| at.elapsed() < PROOF_HOLDS);
        if !holds {
            self.ask_who().await?;
        }
        Ok(self.known().name.clone())
    }

    /// The path of a skylink; it differs at a bare skyd.
    fn path(&self, skylink: &Skylink) -> String {
        if self.client.is_bare() { format!("/skynet/skylink/{skylink}") } else { format!("/{skylink}") }
    }

    async fn head(&self, skylink: &Skylink, length: u64) -> Result<(), BackendError> {
        const ACTION: &str = "ask for a skylink";
        let request = self.client.request(Method::HEAD, &self.path(skylink));
        let response = self.client.send(ACTION, request, 0, StatusCode::OK).await?;
        stats::refuse_gateway(&self.client, ACTION, &response)?;
        match number(&response, CONTENT_LENGTH.as_str()) {
            // A skylink commits to its length.
            Some(found) if found != length => Err(BackendError::Corrupt { start: 0, end: length }),
            _ => Ok(()),
        }
    }

    async fn has(&self, skylink: &Skylink, length: u64) -> Result<bool, BackendError> {
        match self.head(skylink, length).await {
            Ok(()) => Ok(true),
            Err(BackendError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the content stay. A portal may have it only for a while, from a peer or after an unpin. A bare skyd has
    /// only uploaded content.
    async fn keeps(&self, skylink: &Skylink) -> Result<bool, BackendError> {
        const ACTION: &str = "pin a skylink";
        if self.client.is_bare() {
            return Ok(true);
        }
        let request = self.client.request(Method::POST, &format!("/skynet/pin/{skylink}")).header(CONTENT_LENGTH, 0);
        let response = self.client.send_any(ACTION, request, 0).await?;
        if response.status().is_success() {
            return Ok(true);
        }
        match self.client.refusal(ACTION, response).await {
            BackendError::NotFound => Ok(false),
            error => Err(error),
        }
    }

    async fn store(&self, source: Arc<dyn Source>, put: Put, progress: &dyn Progress) -> Result<Locator, BackendError> {
        let content = source.content().clone();
        if content.length() > self.max_object_size {
            return Err(BackendError::TooLarge { limit: self.max_object_size });
        }
        let canonical = canonical(&*source, self.profile, &self.recent).await?;
        let locator = self.locator(&canonical.skylink, content.length()).at(Some(self.proven_name().await?));
        // It may have been acknowledged before, but not recorded.
        let may_be_there = put == Put::IfAbsent && self.has(&canonical.skylink, content.length()).await?;
        if may_be_there && self.keeps(&canonical.skylink).await? {
            return Ok(locator);
        }
        let found = match canonical.body {
            Body::Small(bytes) => self.send_raw(&content, bytes).await?,
            Body::Large(units) => {
                let (client, chunk_size) = (&self.client, self.profile.chunk_size());
                placing::Large { client, chunk_size, source, units, skylink: canonical.skylink }.send(progress).await?
            }
        };
        self.compare(canonical.skylink, found)?;
        Ok(locator)
    }

    async fn send_raw(&self, content: &Content, bytes: bytes::Bytes) -> Result<Skylink, BackendError> {
        const ACTION: &str = "send content";
        // A portal chooses the path of a file. A bare skyd requires one, and a new one for each attempt.
        let path = match self.client.is_bare() {
            true => format!("/skynet/skyfile/skyberth/{:032x}", u128::from_be_bytes((self.random)())),
            false => "/skynet/skyfile".to_owned(),
        };
        let length = bytes.len() as u64;
        let path = format!("{path}?filename={}", content.digest().file_name());
        let request = self
            .client
            .request(Method::POST, &path)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, length)
            .body(bytes);
        let response = self.client.send(ACTION, request, length, StatusCode::OK).await?;
        let body = self.client.short_body(ACTION, response, MAX_ANSWER).await?;
        tus::skylink_in(&body).ok_or_else(|| self.client.error(ACTION, Problem::Malformed("skylink")).misbehaves())
    }

    /// Compares the portal's skylink with the computed one. A different one is the worst answer to an upload.
    pub(super) fn compare(&self, expected: Skylink, found: Skylink) -> Result<(), BackendError> {
        if expected == found {
            return Ok(());
        }
        let error = self.client.error("place content", Problem::OtherAddress { expected, found });
        tracing::error!(portal = %self.client.name(), %error, "a portal computes other skylinks than we do; it is not to be trusted");
        Err(error.misbehaves())
    }

    async fn fetch(&self, skylink: Skylink, length: u64, range: Range<u64>) -> Result<ByteStream, BackendError> {
        const ACTION: &str = "read content";
        let request = self.client.request(Method::GET, &self.path(&skylink));
        let wanted = range.end - range.start;
        if range == (0..length) {
            let response = self.client.send(ACTION, request, 0, StatusCode::OK).await?;
            return Ok(self.client.stream(ACTION, response, wanted));
        }
        let request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        let response = self.client.send(ACTION, request, 0, StatusCode::PARTIAL_CONTENT).await?;
        let answered = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        if answered != Some(&format!("bytes {}-{}/{length}", range.start, range.end - 1)) {
            return Err(self.client.error(ACTION, Problem::OtherRange).misbehaves());
        }
        Ok(self.client.stream(ACTION, response, wanted))
    }

    async fn unpin(&self, skylink: Skylink) -> Result<Deletion, BackendError> {
        const ACTION: &str = "unpin a skylink";
        let request = self.client.request(Method::POST, &format!("/skynet/unpin/{skylink}")).header(CONTENT_LENGTH, 0);
        let response = self.client.send_any(ACTION, request, 0).await?;
        if response.status().is_success() {
            return Ok(Deletion::Accepted);
        }
        match self.client.refusal(ACTION, response).await {
            BackendError::NotFound => Ok(Deletion::Done),
            error => Err(error),
        }
    }
}

fn number(response: &Response, name: &str) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.trim().parse().ok()
}

impl Backend for Portal {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn profile(&self) -> &str {
        &self.profile_name
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.known().name.clone())
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            stats::check_profile(&self.client, self.profile).await?;
            self.ask_who().await.map(drop)
        })
    }

    fn identify(&self) -> Answer<'_, Identity> {
        let after = self.deadlines.ping;
        Box::pin(async move {
            let asked = tokio::time::timeout(after, self.ask_who()).await;
            asked.map_err(|_| BackendError::TimedOut { waited_for: "sign of life", after })?
        })
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        Box::pin(async move {
            let skylink = canonical(&*source, self.profile, &self.recent).await?.skylink;
            Ok(Some(self.locator(&skylink, source.content().length())))
        })
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, put: Put, progress: &'a dyn Progress) -> Answer<'a, Locator> {
        Box::pin(self.store(source, put, progress))
    }

    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            content.check_range(&range)?;
            let skylink = self.skylink(content, locator)?;
            if range.is_empty() && content.length() > 0 {
                return Ok(stream::empty().boxed());
            }
            self.fetch(skylink, content.length(), range).await
        })
    }

    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat> {
        Box::pin(async move {
            let (length, skylink, proves) = (content.length(), self.skylink(content, locator)?, self.known().proves);
            match proves {
                true if presence::is_whole(&self.client, &skylink).await? => {}
                true => return Err(BackendError::NotFound),
                false => self.head(&skylink, length).await?,
            }
            Ok(Stat { length, endpoints: self.endpoint().into_iter().collect() })
        })
    }

    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(async move { self.unpin(self.skylink(content, locator)?).await })
    }

    fn health(&self) -> Health {
        Health::available(&**self.client.name())
    }

    fn unit_proofs(&self) -> Option<&dyn UnitProofs> {
        Some(self)
    }
}

impl UnitProofs for Portal {
    fn unit_proof<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<dyn UnitProof>>> {
        Box::pin(async move {
            let skylink = self.skylink(content, locator)?;
            let roots = unit_roots::fetch(&self.client, self.profile, content, skylink).await?;
            Ok(roots.map(|roots| Arc::new(roots) as Arc<dyn UnitProof>))
        })
    }
}
