//! Reads content that is not on this node from the backend. One fetch serves all readers and fills a file, which
//! becomes the local one when it is complete. No byte leaves before its unit is verified.

mod error;
mod lost_copy;
mod lost_roots;
mod origin;
mod passing;
mod read;
mod suspects;
mod task;
mod units;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use backends::{Content, Locator, UNIT, UnitHashes};
use bytes::{Bytes, BytesMut};
use content_store::Staged;
use futures_util::TryStreamExt as _;
use tokio::sync::{OnceCell, watch};

use self::passing::Passing;
use self::units::{Step, Units};
use crate::content::{self, LocalContent};
use crate::oci::Digest;

pub use error::Error;
pub(crate) use lost_copy::{PLACE, give_up, place_file, remember_place};
pub use origin::{Origin, Settings};
pub use read::ColdRead;
pub(crate) use suspects::Suspects;

/// How long a manifest, or other content sent in one piece, may take to arrive. containerd waits 30 s for headers.
const SMALL_PATIENCE: Duration = Duration::from_secs(20);

/// The cold reads in flight.
#[derive(Debug, Default)]
pub(crate) struct ColdReads(Mutex<HashMap<Digest, Weak<Cold>>>);

/// Content that is read cold, by any number of readers.
#[derive(Debug)]
pub(crate) struct Cold {
    here: Arc<LocalContent>,
    origin: Arc<Origin>,
    /// Without unit roots, if their list is lost.
    content: Content,
    /// With unit roots, once the backend supplied them; `None` if it cannot.
    rooted: OnceCell<Option<Content>>,
    /// Locked while everything is read because no part can be verified alone.
    whole: tokio::sync::Mutex<()>,
    locators: Vec<Locator>,
    /// True if all of it was read from a backend once, and matched both its digest and its unit roots.
    proven: bool,
    staged: Staged,
    passing: Passing,
    units: Mutex<Units>,
    changed: watch::Sender<()>,
}

/// Content that is read cold. Nothing is fetched until a range of it is asked for.
#[derive(Clone, Debug)]
pub struct ColdContent(Arc<Cold>);

impl ColdContent {
    /// The content's length in bytes.
    pub fn size(&self) -> u64 {
        self.0.content.length()
    }

    /// Begins to read a range, as [`ColdContent::read_several`] does.
    pub async fn read(&self, range: Range<u64>) -> Result<ColdRead, Error> {
        self.read_several(vec![range]).await
    }

    /// Begins to read ranges one after another. Only the units that they touch are fetched. It waits for the first
    /// verified unit, but only for a short time if the backend answers other calls: then the bytes will come, and the
    /// client wants an answer now. An error means that nothing can be read now.
    pub async fn read_several(&self, ranges: Vec<Range<u64>>) -> Result<ColdRead, Error> {
        let origin = &self.0.origin;
        let mut read = ColdRead::new(Arc::clone(&self.0), ranges);
        {
            let mut first = std::pin::pin!(read.first());
            if let Ok(first) = tokio::time::timeout(origin.settings.first_unit, &mut first).await {
                first?;
            } else {
                tokio::select! {
                    first = first => first?,
                    answers = origin.answers() => if !answers { return Err(Error::Unavailable) },
                }
            }
        }
        Ok(read)
    }
}

impl Cold {
    fn units(&self) -> MutexGuard<'_, Units> {
        // Changes are complete before any code can panic.
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Units) -> T) -> T {
        let outcome = change(&mut self.units());
        self.changed.send_replace(());
        outcome
    }

    /// Returns once nothing is being fetched or published.
    async fn rest(&self) {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if self.units().is_at_rest() {
                return;
            }
            let _ = changes.changed().await;
        }
    }

    /// The bytes of these units.
    fn bytes(&self, units: &Range<u64>) -> Range<u64> {
        let length = self.content.length();
        (units.start * UNIT).min(length)..(units.end * UNIT).min(length)
    }
}

/// Opens referenced content that is not here; `None` if no backend has it. Nothing is fetched until a range is read.
pub(crate) async fn open(
    here: &Arc<LocalContent>,
    origin: &Arc<Origin>,
    digest: &Digest,
    size: u64,
) -> Result<Option<ColdContent>, Error> {
    if let Some(under_way) = origin.reads.get(digest) {
        return Ok(Some(ColdContent(under_way)));
    }
    let places = here.catalog.standing_places(digest)?;
    if places.is_empty() {
        return Ok(None);
    }
    let content = here.for_reading(digest, size).await?;
    let proven = content.has_proof() && places.iter().any(|place| place.read_back);
    let content = if proven { with_unit_hashes(here, content).await? } else { content };
    let locators = places.into_iter().map(|place| place.locator).collect();
    let staged = match here.blocking(move |store| store.stage(size)).await {
        Err(content::Error::DiskFull) => {
            tracing::warn!(%digest, size_bytes = size, "no space is left to read content from the backend");
            return Err(Error::Unavailable);
        }
        staged => staged?,
    };
    let cold = Arc::new(Cold {
        here: Arc::clone(here),
        content,
        rooted: OnceCell::new(),
        whole: tokio::sync::Mutex::new(()),
        locators,
        proven,
        staged,
        passing: Passing::default(),
        units: Mutex::new(Units::new(size.div_ceil(UNIT))),
        changed: watch::Sender::new(()),
        origin: Arc::clone(origin),
    });
    Ok(Some(ColdContent(origin.reads.get_or_keep(digest, cold))))
}

/// Adds the hashes of the content's units, if they are known.
async fn with_unit_hashes(here: &Arc<LocalContent>, content: Content) -> Result<Content, content::Error> {
    let (here, digest) = (Arc::clone(here), content.digest().clone());
    let reading = tokio::task::spawn_blocking(move || here.unit_hashes(&digest));
    match reading.await?? {
        Some(hashes) => content
            .with_proof(Arc::new(UnitHashes::from(hashes)))
            .map_err(|_| content::Error::Internal("the unit hashes do not fit the content")),
        None => Ok(content),
    }
}

/// Fetches content into a local file; false if no backend has it. After an error a retry may succeed.
pub(crate) async fn bring_back(
    here: &Arc<LocalContent>,
    origin: &Arc<Origin>,
    digest: &Digest,
    size: u64,
) -> Result<bool, Error> {
    let Some(cold) = open(here, origin, digest, size).await? else { return Ok(false) };
    let mut pieces = cold.read(0..size).await?.into_stream();
    while let Some(piece) = pieces.try_next().await.map_err(|_| Error::Unavailable)? {
        drop(piece);
    }
    drop(pieces);
    // Complete content is read once more before it becomes the file.
    cold.0.rest().await;
    let name = digest.clone();
    Ok(here.blocking(move |store| store.stat(&name)).await?.is_some())
}

/// Reads small content whole; `None` if no backend has it.
pub(crate) async fn read_small(
    here: &Arc<LocalContent>,
    origin: &Arc<Origin>,
    digest: &Digest,
    size: u64,
) -> Result<Option<Bytes>, Error> {
    let Some(cold) = open(here, origin, digest, size).await? else { return Ok(None) };
    let whole = async {
        let mut bytes = BytesMut::with_capacity(size as usize);
        let mut read = cold.read(0..size).await?.into_stream();
        while let Some(piece) = read.try_next().await.map_err(|_| Error::Unavailable)? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    };
    let in_time = tokio::time::timeout(SMALL_PATIENCE, whole).await;
    in_time.unwrap_or(Err(Error::Unavailable)).map(Some)
}

impl ColdReads {
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Cold>> {
        self.lock().get(digest).and_then(Weak::upgrade)
    }

    /// The cold read in flight; otherwise this one, from now on.
    fn get_or_keep(&self, digest: &Digest, cold: Arc<Cold>) -> Arc<Cold> {
        let mut reads = self.lock();
        if let Some(other) = reads.get(digest).and_then(Weak::upgrade) {
            return other;
        }
        reads.retain(|_, read| read.strong_count() > 0);
        reads.insert(digest.clone(), Arc::downgrade(&cold));
        cold
    }

    fn forget(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Cold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
