//! The backend of a node, with its settings and its state.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backends::{Backend, Replicas};
use skynet_formats::profile::Profile;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::domain::Domain;
use super::names::{self, ATTACHED, Names, names_in};
use super::removals::Removals;
use super::sound::Audits;
use crate::catalog::command::ReadError;
use crate::catalog::{Backlog, Catalog, Clock, Wanted};
use crate::content::DigestLocks;
use crate::fetch::{self, Origin};
use crate::oci::Digest;
use crate::units;

/// How long a read-back waits for one endpoint before it asks another one, too.
const READ_PATIENCE: Duration = Duration::from_secs(3);

/// Longest wait until the catalog has counted again.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(10);

/// What the answer to a push promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledgement {
    /// The content is durable on this node.
    #[default]
    Local,
    /// For a manifest: it, all content that it references, and the lists for reading parts are at the backend. For a
    /// blob: the same, if that does not take long.
    Network,
}

/// Settings of placement.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most pieces of content placed at once.
    pub transfers: usize,
    /// Pause after a first failure. It doubles with each further failure.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// How long a removal may still take effect after it was requested.
    pub settle: Duration,
    /// Longest wait for an endpoint's answer to a removal. Then it is asked again later.
    pub removal_patience: Duration,
    /// Bytes of local files above which content at the backend is evicted; 0: never.
    pub cache_size: u64,
    /// Interval between two checks of the cache's size.
    pub evict_every: Duration,
    /// Bytes not yet placed at which no upload can begin; 0: no limit.
    pub staging_limit: u64,
    /// Content of private repositories is placed, too.
    pub private: bool,
    /// What the answer to a push promises.
    pub acknowledge: Acknowledgement,
    /// Longest wait for such an answer. Ingresses cut after 60 s, containerd after 30 s.
    pub acknowledge_patience: Duration,
    /// Longest time that a stop takes to place content that is only on this node.
    pub flush_timeout: Duration,
    /// Interval between two questions to each endpoint who it is.
    pub identify_every: Duration,
    /// Interval between two questions to each endpoint for each copy.
    pub audit_interval: Duration,
    /// Interval between two readings of all copies; 0: none.
    pub full_read_interval: Duration,
    /// Bytes a second that these readings read; 0: none.
    pub audit_rate: u64,
    /// Time between two audits of content that is not clearly there.
    pub doubts_apart: Duration,
    /// How content is fetched.
    pub fetch: fetch::Settings,
}

/// The values of what no setting decides. `cli/backend` replaces all others, whose values here serve only tests.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            transfers: 4,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(5),
            settle: Duration::from_mins(10),
            removal_patience: Duration::from_secs(30),
            cache_size: 0,
            evict_every: Duration::from_secs(30),
            staging_limit: 0,
            private: false,
            acknowledge: Acknowledgement::Local,
            acknowledge_patience: Duration::from_secs(20),
            // Kubernetes kills a pod after 30 s.
            flush_timeout: Duration::from_secs(20),
            identify_every: Duration::from_mins(1),
            audit_interval: Duration::from_hours(24),
            full_read_interval: Duration::ZERO,
            audit_rate: 0,
            doubts_apart: Duration::from_mins(5),
            fetch: fetch::Settings::default(),
        }
    }
}

/// The backend of a node.
#[derive(Debug)]
pub struct Remote {
    pub(crate) backend: Arc<dyn Backend>,
    /// The backend to fetch from.
    pub(crate) origin: Arc<Origin>,
    pub(crate) settings: Settings,
    /// True if the first portal is the attached one.
    has_attached: bool,
    /// The failure domains of the endpoints, in their order. Those without one are not here.
    domains: Vec<Domain>,
    /// Which endpoints are here, in their order, when this was last looked at.
    here: Mutex<Vec<bool>>,
    /// The file with the names of endpoints, if there is one.
    names: Option<PathBuf>,
    pub(crate) clock: Clock,
    /// Directory of resume tokens, a file for each interrupted upload.
    pub(crate) tokens: PathBuf,
    /// Taken by tasks that store content of a digest there, or that begin to remove it.
    pub(crate) moves: DigestLocks,
    /// The removals in flight. A task that stores the same content stops them.
    pub(crate) removals: Removals,
    pub(crate) running: AtomicUsize,
    /// Other copies count, so that all content must be looked at.
    pub(super) rescan: Notify,
    pub(crate) audits: Audits,
    trouble: Mutex<Option<String>>,
}

/// Whether this node's disk could be lost now, by its records. It is certain only while the backend answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// Content that is only on this node.
    pub backlog: Backlog,
    /// Number of pieces of content that no portal has returned whole yet, including the backlog.
    pub not_read_back: u64,
    /// Number of other pieces of content whose copies would be lost together with this machine.
    pub only_here: u64,
    /// Number of pieces of content that endpoints do not have any more, although they acknowledged it.
    pub missing: u64,
    /// Number of pieces of content whose copies failed a read or an audit, before that is clear.
    pub in_doubt: u64,
    /// Number of pieces of content being placed.
    pub running: usize,
    /// The last failure, if nothing has succeeded since.
    pub trouble: Option<String>,
}

impl Remote {
    /// True if content may be placed: a public repository has it, or the settings say so.
    pub(crate) fn may_place(&self, catalog: &Catalog, digest: &Digest) -> Result<bool, ReadError> {
        Ok(self.settings.private || catalog.is_public(digest)?)
    }

    /// A backend with a directory of its own, which exists, for resume tokens and remembered places.
    pub fn new(backend: Arc<dyn Backend>, settings: Settings, clock: Clock, tokens: PathBuf) -> Self {
        Remote {
            origin: Arc::new(Origin::new(Arc::clone(&backend), settings.fetch, tokens.clone())),
            backend,
            settings,
            has_attached: false,
            domains: Vec::new(),
            here: Mutex::default(),
            names: None,
            clock,
            tokens,
            moves: DigestLocks::new(),
            removals: Removals::default(),
            running: AtomicUsize::new(0),
            rescan: Notify::new(),
            audits: Audits::default(),
            trouble: Mutex::new(None),
        }
    }

    /// Sets whether the first portal is the attached one, the failure domains of all, and the file with their names.
    /// Names of hosts are not looked up before the endpoints are asked who they are.
    #[must_use]
    pub fn located(self, has_attached: bool, domains: Vec<Domain>, names: PathBuf) -> Self {
        let here = Mutex::new(domains.iter().map(Domain::is_plainly_here).collect());
        Remote { has_attached, domains, here, names: Some(names), ..self }
    }

    /// When content counts as placed at this backend. `here`: which endpoints are lost with this machine, in their order.
    pub fn wanted(backend: &dyn Backend, here: &[bool]) -> Wanted {
        let profile: Option<Profile> = backend.profile().parse().ok();
        let fanout_is_list = backend.kind() == "skynet" && profile.is_some_and(Profile::fanout_is_unit_roots);
        let endpoints = backends::endpoints(backend);
        let lost = endpoints.iter().zip(here).filter(|(_, here)| **here).map(|(endpoint, _)| endpoint.clone());
        Wanted {
            kind: backend.kind().to_owned(),
            profile: backend.profile().to_owned(),
            here: lost.collect(),
            endpoints,
            copies: backend.copies().max(1) as usize,
            lists: !fanout_is_list,
        }
    }

    /// Looks where the endpoints are now, and keeps their names. Blocks.
    pub(super) fn look_around(&self) {
        let here: Vec<bool> = self.domains.iter().map(Domain::is_here).collect();
        *self.here.lock().unwrap_or_else(PoisonError::into_inner) = here;
        let Some(path) = &self.names else { return };
        let mut names = Names::new();
        for (number, member) in names::members(&self.backend).iter().enumerate() {
            let url = member.health().endpoints.into_iter().next().map(|endpoint| endpoint.name);
            let key = if self.has_attached && number == 0 { Some(ATTACHED.to_owned()) } else { url };
            names.extend(key.zip(member.endpoint()));
        }
        if names != names_in(path) {
            names::keep(path, &names);
        }
    }

    /// The endpoints that have a name in locators, with it.
    pub(super) fn endpoints(&self) -> Vec<(String, Arc<dyn Backend>)> {
        let named = |member: Arc<dyn Backend>| Some((member.endpoint()?, member));
        names::members(&self.backend).into_iter().filter_map(named).collect()
    }

    /// The URLs of the endpoints, by their names in locators.
    pub(crate) fn urls(&self) -> BTreeMap<String, String> {
        let url = |member: &Arc<dyn Backend>| Some(member.health().endpoints.into_iter().next()?.name);
        let members = names::members(&self.backend);
        members.iter().filter_map(|member| member.endpoint().zip(url(member))).collect()
    }

    /// Lets only those copies count that are at the endpoints which are there now, by their last answers. False if the
    /// catalog does not follow in time.
    pub(crate) async fn follow(&self, catalog: &Catalog) -> bool {
        let wanted = self.wanted_now();
        let is_followed = || catalog.wanted().is_none_or(|now| *now == wanted);
        let Some(mut changes) = catalog.placement_changes().filter(|_| !is_followed()) else { return true };
        tracing::info!(endpoints = ?wanted.endpoints, here = ?wanted.here, "other endpoints count from now on");
        catalog.want(wanted.clone());
        let following = async {
            // The catalog is gone once there can be no more changes.
            while !is_followed() && changes.changed().await.is_ok() {}
        };
        let _ = timeout(FOLLOWS_WITHIN, following).await;
        self.rescan.notify_one();
        is_followed()
    }

    /// When content counts as placed, by the last answers of the endpoints.
    pub(crate) fn wanted_now(&self) -> Wanted {
        Remote::wanted(&*self.backend, &self.here.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The endpoints with these names as one backend to read from; all of them if none has such a name.
    pub(super) fn readers(&self, names: &[String]) -> Arc<dyn Backend> {
        let named = |member: &Arc<dyn Backend>| member.endpoint().is_some_and(|name| names.contains(&name));
        let members: Vec<_> = self.backend.members().into_iter().filter(named).collect();
        match Replicas::new(members, 1, READ_PATIENCE) {
            Ok(readers) => Arc::new(readers),
            Err(_) => Arc::clone(&self.backend),
        }
    }

    /// True if each endpoint had a sample of its copies since it came up.
    pub(crate) fn is_sampled(&self) -> bool {
        self.audits.are_sampled(&self.wanted_now().endpoints)
    }

    /// Seconds since the last audit of all copies began.
    pub(crate) fn audited_seconds_ago(&self) -> Option<u64> {
        Some(self.clock.now_ms().saturating_sub(self.audits.last_pass()?) / 1000)
    }

    /// Records the outcome of an attempt; `None`: success.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The state of placement, with the catalog's counts.
    pub fn durability(&self, catalog: &Catalog) -> Durability {
        Durability {
            backlog: catalog.backlog(),
            not_read_back: catalog.unsettled_count(),
            only_here: catalog.only_here_count(),
            missing: catalog.missing_count(),
            in_doubt: self.origin.suspects.count() as u64,
            running: self.running.load(Ordering::Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Durability {
    /// True if all content has its copies, was read back, is not in doubt, and survives the loss of this machine. [`Wanted::survives`]
    /// judges one piece of content.
    pub fn is_safe(&self) -> bool {
        self.backlog.count == 0 && self.not_read_back == 0 && self.only_here == 0 && self.in_doubt == 0
    }
}

impl std::fmt::Display for Durability {
    /// `safe to close: no, 3 blobs, 41.0 MiB`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Backlog { count, bytes } = self.backlog;
        if self.is_safe() {
            f.write_str("nothing lacks a copy, by the records")
        } else if count > 0 {
            write!(f, "safe to close: no, {}, {}", units::count(count, "blob"), units::bytes(bytes))?;
            match self.missing {
                0 => Ok(()),
                missing => write!(f, "; portals have lost copies of {}", units::count(missing, "blob")),
            }
        } else if self.not_read_back > 0 {
            let unread = units::count(self.not_read_back, "blob");
            write!(f, "safe to close: no, {unread} placed and not read back yet")
        } else if self.in_doubt > 0 {
            let doubtful = units::count(self.in_doubt, "blob");
            write!(f, "safe to close: no, copies of {doubtful} could not be read and are being checked")
        } else {
            let copies = if self.only_here == 1 { "has copies" } else { "have copies" };
            write!(f, "safe to close: no, {} {copies} only on this machine", units::count(self.only_here, "blob"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_what_would_be_lost() {
        let of = |count, bytes| {
            let backlog = Backlog { count, bytes };
            Durability { backlog, ..Durability::default() }.to_string()
        };
        assert_eq!(of(0, 0), "nothing lacks a copy, by the records");
        assert_eq!(of(1, 512), "safe to close: no, 1 blob, 512 B");
        assert_eq!(of(3, 41 << 20), "safe to close: no, 3 blobs, 41.0 MiB");
    }

    /// The start page and the log said "safe to close: yes" in both cases.
    #[test]
    fn copies_on_this_machine_and_those_never_read_back_are_not_safe() {
        let attached = Durability { only_here: 2, ..Durability::default() };
        assert_eq!(attached.to_string(), "safe to close: no, 2 blobs have copies only on this machine");
        let unread = Durability { not_read_back: 1, ..Durability::default() };
        assert_eq!(unread.to_string(), "safe to close: no, 1 blob placed and not read back yet");
        assert!(!attached.is_safe() && !unread.is_safe() && Durability::default().is_safe());
        let doubtful = Durability { in_doubt: 1, ..Durability::default() };
        let said = "safe to close: no, copies of 1 blob could not be read and are being checked";
        assert_eq!((doubtful.to_string(), doubtful.is_safe()), (said.to_owned(), false));
        let lost = Durability { backlog: Backlog { count: 1, bytes: 5 }, missing: 1, ..unread };
        assert_eq!(lost.to_string(), "safe to close: no, 1 blob, 5 B; portals have lost copies of 1 blob");
    }
}
