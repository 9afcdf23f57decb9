//! The backend of a node, with how it is to be used and how that goes.

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

/// What an answer to a push promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledgement {
    /// That the content is durable on this node.
    #[default]
    Local,
    /// Of a manifest: that it and all that it refers to is at the backend, and what reading parts of it takes. Of a blob: as
    /// much, if it does not take long.
    Network,
}

/// How the backend is to be used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Pieces of content that are on their way at once.
    pub transfers: usize,
    /// Pause after a first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// So long a removal that was asked for may still arrive at the backend.
    pub settle: Duration,
    /// How long an endpoint is waited for that is asked to remove something; then it is asked again later.
    pub removal_patience: Duration,
    /// Bytes of local files above which those go that the backend is known to have; 0 = never.
    pub cache_size: u64,
    /// Between two looks at how much there is.
    pub evict_every: Duration,
    /// Bytes not yet placed at which no upload can be begun; 0 = no limit.
    pub staging_limit: u64,
    /// What an answer to a push promises.
    pub acknowledge: Acknowledgement,
    /// How long such an answer may wait: ingresses cut after 60 s, containerd after 30.
    pub acknowledge_patience: Duration,
    /// How long a stop waits for what is only here.
    pub flush_timeout: Duration,
    /// How content is fetched.
    pub fetch: fetch::Settings,
}

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
            // Kubernetes kills after 30 s.
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
    /// The first portal is the attached one, whose copies lie on this machine's own disk.
    pub(crate) has_attached: bool,
    pub(crate) clock: Clock,
    /// Resume tokens, a file for each upload that broke off.
    pub(crate) tokens: PathBuf,
    /// Held by whoever stores content of a digest there, and by whoever begins to remove it.
    pub(crate) moves: DigestLocks,
    /// Those that have begun: whoever stores the same content breaks them off.
    pub(crate) removals: Removals,
    pub(crate) running: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

/// Whether this node could be lost now, by its records. Only a backend that answers can make a "yes" of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// What is only here.
    pub backlog: Backlog,
    /// Pieces of content that no portal has given back whole yet, the backlog included.
    pub not_read_back: u64,
    /// The only copies are at the attached portal, on this machine's own disk.
    pub on_this_disk: bool,
    /// Pieces of content on their way.
    pub running: usize,
    /// What went wrong last, if nothing has gone well since.
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

    /// The same, with whether its first portal is attached.
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
            endpoints: backend.endpoints(),
            copies: backend.capabilities().copies.max(1) as usize,
            lists: !fanout_is_list,
        }
    }

    /// How an attempt went; `None` = well.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// How things stand, with these counts of the catalog.
    pub fn durability(&self, backlog: Backlog, not_read_back: u64) -> Durability {
        Durability {
            backlog,
            not_read_back,
            // Of several copies, one at least is at another portal.
            on_this_disk: self.has_attached && self.backend.capabilities().copies <= 1,
            running: self.running.load(Ordering::Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Durability {
    /// True if nothing lacks a copy.
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

    /// The start page and the log said "safe to close: yes" of both.
    #[test]
    fn copies_on_the_same_disk_and_those_never_read_back_are_not_safe() {
        let attached = Durability { on_this_disk: true, ..Durability::default() };
        assert!(attached.to_string().starts_with("safe to close: no, all of it is at the attached portal"));
        let unread = Durability { not_read_back: 1, ..Durability::default() };
        assert_eq!(unread.to_string(), "safe to close: no, 1 blob placed and not read back yet");
        assert!(!attached.is_safe() && !unread.is_safe() && Durability::default().is_safe());
    }
}
