//! The sector store: immutable files named by the Merkle root of the sector they hold.
//!
//! ```text
//! sectors/<first 2 hex>/<root hex>       a sector's bytes without the zeros at its end; mode 0400
//! incoming/<n>.tmp                       sectors on their way here; emptied at each start
//! quarantine/<root hex>-<unix time>      sectors found damaged
//! ```
//! A file below `sectors/` got there by a rename of a file whose bytes had been hashed to that root and synced, so that it
//! is there whole or not at all. What stands there already is replaced by the same bytes, fresh: an upload heals a damaged
//! sector. Nothing here tells whether a sector is wanted; see `pins`.
//!
//! Everything here blocks; call it from threads that may.

mod batch;
mod hold;
mod piece;
mod reached;
mod read;
mod source;
mod staged;
mod stretch;
mod sweep;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use content_store::{free_space, make_directory, sync_directory};
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::SectorRoot;

pub(crate) use batch::Batch;
pub(crate) use hold::Held;
pub use piece::Piece;
pub use read::Sector;
pub(crate) use read::zero_root;
pub use source::{SectorSource, SourceFile};
pub(crate) use staged::StagedSector;
pub use stretch::Stretch;
pub(crate) use sweep::Swept;

use hold::Holds;

/// How many directories the sectors are spread over, one for each first byte of a root.
const SHARDS: usize = 256;

/// Sectors of one size below one directory. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct SectorStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sectors: PathBuf,
    incoming: PathBuf,
    quarantine: PathBuf,
    size: SectorSize,
    /// Uploads are refused when the disk has less left, bytes.
    reserve: u64,
    next_name: AtomicU64,
    holds: Arc<Holds>,
}

impl SectorStore {
    /// Opens the store below `root`, making what is absent. Leftovers of uploads go.
    pub(crate) fn open(root: &Path, size: SectorSize, reserve: u64) -> io::Result<Self> {
        let [sectors, incoming, quarantine] = ["sectors", "incoming", "quarantine"].map(|name| root.join(name));
        for directory in [&sectors, &incoming, &quarantine] {
            make_directory(directory)?;
        }
        make_shards(&sectors)?;
        // A crash before this: some of the directories are gone, and are made again at the next start.
        sync_directory(root)?;
        for entry in fs::read_dir(&incoming)? {
            fs::remove_file(entry?.path())?;
        }
        let next_name = AtomicU64::new(0);
        let holds = Arc::default();
        Ok(SectorStore(Arc::new(Shared { sectors, incoming, quarantine, size, reserve, next_name, holds })))
    }

    /// Of every sector here.
    pub(crate) fn sector_size(&self) -> SectorSize {
        self.0.size
    }

    /// Opens a sector. One that is damaged in a way that shows without reading it is quarantined, and is not here.
    pub(crate) fn open_sector(&self, root: &SectorRoot) -> io::Result<Option<Sector>> {
        let file = match File::open(self.path(root)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let sector = Sector::new(file, self.0.size)?;
        if sector.has_plausible_end(root)? {
            return Ok(Some(sector));
        }
        self.quarantine(root)?;
        Ok(None)
    }

    /// Whether a sector stands here; nothing is read to check it.
    pub(crate) fn contains(&self, root: &SectorRoot) -> io::Result<bool> {
        self.path(root).try_exists()
    }

    /// Begins a group of sectors that become durable together.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Keeps a sector that is here, or will be, from being swept while the answer lives.
    pub(crate) fn hold(&self) -> Held {
        Held::new(Arc::clone(&self.0.holds))
    }

    /// Whether there is room for uploads.
    pub(crate) fn has_room(&self) -> io::Result<bool> {
        Ok(free_space(&self.0.sectors)? >= self.0.reserve)
    }

    /// Moves a damaged sector out of the way for a human to look at. Later reads do not find it.
    pub(crate) fn quarantine(&self, root: &SectorRoot) -> io::Result<()> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let target = self.0.quarantine.join(format!("{root}-{seconds}"));
        tracing::error!(sector.root = %root, quarantined = %target.display(), "a sector is damaged");
        match fs::rename(self.path(root), target) {
            // Somebody else did it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // A crash before the name is gone for good: it is found damaged again.
            result => result,
        }
    }

    /// Makes the names of these sectors durable.
    pub(crate) fn sync_names<'a>(&self, roots: impl IntoIterator<Item = &'a SectorRoot>) -> io::Result<()> {
        let mut shards = [false; SHARDS];
        for root in roots {
            shards[usize::from(root.as_bytes()[0])] = true;
        }
        for (shard, _) in shards.iter().enumerate().filter(|(_, used)| **used) {
            sync_directory(&self.0.sectors.join(format!("{shard:02x}")))?;
        }
        Ok(())
    }

    fn path(&self, root: &SectorRoot) -> PathBuf {
        let name = root.to_string();
        self.0.sectors.join(&name[..2]).join(name)
    }

    fn incoming_path(&self) -> PathBuf {
        self.0.incoming.join(format!("{}.tmp", self.0.next_name.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Makes a directory for each first byte of a root, durably.
pub(crate) fn make_shards(parent: &Path) -> io::Result<()> {
    for shard in 0..SHARDS {
        make_directory(&parent.join(format!("{shard:02x}")))?;
    }
    sync_directory(parent)
}
