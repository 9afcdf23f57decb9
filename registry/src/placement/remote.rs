//! The backend of a node, with its settings and its state.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backends::Backend;
use skynet_formats::profile::Profile;

use super::removals::Removals;
use crate::catalog::{Backlog, Clock, Wanted};
use crate::content::DigestLocks;
use crate::fetch::{self, Origin};
use crate::units;

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
    /// What the answer to a push promises.
    pub acknowledge: Acknowledgement,
    /// Longest wait for such an answer. Ingresses cut after 60 s, containerd after 30 s.
    pub acknowledge_patience: Duration,
    /// Longest time that a stop takes to place content that is only on this node.
    pub flush_timeout: Duration,
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
            acknowledge: Acknowledgement::Local,
            acknowledge_patience: Duration::from_secs(20),
            // Kubernetes kills a pod after 30 s.
            flush_timeout: Duration::from_secs(20),
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
    /// True if the first portal is the attached one, whose copies are on this machine's own disk.
    pub(crate) has_attached: bool,
    pub(crate) clock: Clock,
    /// Directory of resume tokens, a file for each interrupted upload.
    pub(crate) tokens: PathBuf,
    /// Taken by tasks that store content of a digest there, or that begin to remove it.
    pub(crate) moves: DigestLocks,
    /// The removals in flight. A task that stores the same content stops them.
    pub(crate) removals: Removals,
    pub(crate) running: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

/// Whether this node's disk could be lost now, by its records. It is certain only while the backend answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// Content that is only on this node.
    pub backlog: Backlog,
    /// Number of pieces of content that no portal has returned whole yet, including the backlog.
    pub not_read_back: u64,
    /// True if the only copies are at the attached portal, on this machine's own disk.
    pub on_this_disk: bool,
    /// Number of pieces of content being placed.
    pub running: usize,
    /// The last failure, if nothing has succeeded since.
    pub trouble: Option<String>,
}

impl Remote {
    /// A backend with a directory of its own, which exists, for resume tokens and remembered places.
    pub fn new(backend: Arc<dyn Backend>, settings: Settings, clock: Clock, tokens: PathBuf) -> Self {
        Remote {
            origin: Arc::new(Origin::new(Arc::clone(&backend), settings.fetch, tokens.clone())),
            backend,
            settings,
            has_attached: false,
            clock,
            tokens,
            moves: DigestLocks::new(),
            removals: Removals::default(),
            running: AtomicUsize::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// Sets whether the first portal is the attached one.
    #[must_use]
    pub fn attached(self, has_attached: bool) -> Self {
        Remote { has_attached, ..self }
    }

    /// When content counts as placed at this backend.
    pub fn wanted(backend: &dyn Backend) -> Wanted {
        let profile: Option<Profile> = backend.profile().parse().ok();
        let fanout_is_list = backend.kind() == "skynet" && profile.is_some_and(Profile::fanout_is_unit_roots);
        Wanted {
            kind: backend.kind().to_owned(),
            profile: backend.profile().to_owned(),
            endpoints: backends::endpoints(backend),
            copies: backend.copies().max(1) as usize,
            lists: !fanout_is_list,
        }
    }

    /// Records the outcome of an attempt; `None`: success.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The state of placement, with these counts from the catalog.
    pub fn durability(&self, backlog: Backlog, not_read_back: u64) -> Durability {
        Durability {
            backlog,
            not_read_back,
            // If there are several copies, at least one is at another portal.
            on_this_disk: self.has_attached && self.backend.copies() <= 1,
            running: self.running.load(Ordering::Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Durability {
    /// True if all content has its copies and was read back, and not all copies are on this machine's own disk.
    /// [`Wanted::is_safe`] judges one piece of content.
    pub fn is_safe(&self) -> bool {
        self.backlog.count == 0 && self.not_read_back == 0 && !self.on_this_disk
    }
}

impl std::fmt::Display for Durability {
    /// `safe to close: no, 3 blobs, 41.0 MiB`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Backlog { count, bytes } = self.backlog;
        if self.is_safe() {
            f.write_str("nothing lacks a copy, by the records")
        } else if count > 0 {
            write!(f, "safe to close: no, {}, {}", units::count(count, "blob"), units::bytes(bytes))
        } else if self.on_this_disk {
            f.write_str("safe to close: no, all of it is at the attached portal, which is on the same disk")
        } else {
            let unread = units::count(self.not_read_back, "blob");
            write!(f, "safe to close: no, {unread} placed and not read back yet")
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
    fn copies_on_the_same_disk_and_those_never_read_back_are_not_safe() {
        let attached = Durability { on_this_disk: true, ..Durability::default() };
        assert!(attached.to_string().starts_with("safe to close: no, all of it is at the attached portal"));
        let unread = Durability { not_read_back: 1, ..Durability::default() };
        assert_eq!(unread.to_string(), "safe to close: no, 1 blob placed and not read back yet");
        assert!(!attached.is_safe() && !unread.is_safe() && Durability::default().is_safe());
    }
}
