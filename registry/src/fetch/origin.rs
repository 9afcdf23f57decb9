//! The backend as the origin of content that is not on this node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backends::Backend;
use backends::wrap::Verify;
use tokio::sync::Semaphore;

use super::{ColdReads, Suspects};

/// Longest wait for a backend's answer, even if its own limit is longer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(8);

/// How content is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long the answer to a cold read waits for its first verified bytes.
    pub first_unit: Duration,
    /// How long a cold read waits for a lost list of unit roots before it reads everything instead.
    pub list_patience: Duration,
    /// Most cold fetches at once, each with a few MiB of memory.
    pub cold_fetches: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            first_unit: Duration::from_secs(1),
            // The headers have been sent already, and Akash's ingress cuts connections that are silent for 60 s.
            list_patience: Duration::from_secs(20),
            cold_fetches: 8,
        }
    }
}

/// The backend to fetch from, with the fetches in flight.
#[derive(Debug)]
pub struct Origin {
    pub(crate) backend: Arc<dyn Backend>,
    /// The backend, passing on only verified bytes.
    pub(super) verified: Verify,
    /// The backend, verifying by the roots of units alone where they are known.
    pub(super) verified_by_units: Verify,
    pub(super) settings: Settings,
    pub(crate) reads: ColdReads,
    /// Content whose copies failed a read.
    pub(crate) suspects: Suspects,
    pub(super) permits: Arc<Semaphore>,
    /// Directory of remembered places: addresses at which the backend may have content.
    pub(super) places: PathBuf,
    /// When the backend was last asked who it is, and whether it answered. Locked meanwhile.
    asked: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Origin {
    /// An origin that remembers places in this directory, which exists.
    pub fn new(backend: Arc<dyn Backend>, settings: Settings, places: PathBuf) -> Self {
        Origin {
            verified: Verify::new(Arc::clone(&backend)),
            verified_by_units: Verify::of_units(Arc::clone(&backend)),
            backend,
            settings,
            reads: ColdReads::default(),
            suspects: Suspects::default(),
            permits: Arc::new(Semaphore::new(settings.cold_fetches.max(1))),
            places,
            asked: tokio::sync::Mutex::new(None),
        }
    }

    /// Whether the backend answers now. Simultaneous callers share one question.
    pub(crate) async fn answers(&self) -> bool {
        let called = Instant::now();
        let mut last = self.asked.lock().await;
        if let Some((_, answered)) = last.filter(|(at, _)| *at >= called) {
            return answered;
        }
        let answered = tokio::time::timeout(ANSWERS_WITHIN, self.backend.identify()).await;
        let answered = matches!(answered, Ok(Ok(_)));
        *last = Some((Instant::now(), answered));
        answered
    }
}
