//! The sector store: immutable files named by the Merkle root of their sector.
//!
//! ```text
//! sectors/<first 2 hex>/<root hex>       a sector's bytes without the zeros at its end; mode 0400
//! incoming/<n>.tmp                       sectors in flight; emptied at each start
//! quarantine/<root hex>-<unix time>      damaged sectors
//! ```
//! A file below `sectors/` was renamed into place after its bytes had been hashed to that root and synced, so it is
//! complete or absent. An existing file is replaced by the new bytes, so an upload heals a damaged sector. This module
//! does not know whether a sector is needed; see `pins`.
//!
//! Every call blocks, so call it from threads that may block.

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

use content_store::{Room, make_directory, sync_directory};
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

/// The number of directories of sectors, one for each first byte of a root.
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
    /// Room for sectors.
    room: Room,
    next_name: AtomicU64,
    holds: Arc<Holds>,
}

impl SectorStore {
    /// Opens the store below `root`, and makes missing directories. Its writers leave `reserve` bytes of the file
    /// system free. Leftovers of uploads are removed.
    pub(crate) fn open(root: &Path, size: SectorSize, reserve: u64) -> io::Result<Self> {
        let [sectors, incoming, quarantine] = ["sectors", "incoming", "quarantine"].map(|name| root.join(name));
        for directory in [&sectors, &incoming, &quarantine] {
            make_directory(directory)?;
        }
        make_shards(&sectors)?;
        // A crash before this: some of the directories are missing, and are made at the next start.
        sync_directory(root)?;
        for entry in fs::read_dir(&incoming)? {
            fs::remove_file(entry?.path())?;
        }
        let next_name = AtomicU64::new(0);
        let (room, holds) = (Room::new(&sectors, reserve), Arc::default());
        Ok(SectorStore(Arc::new(Shared { sectors, incoming, quarantine, size, room, next_name, holds })))
    }

    /// The size of every sector in this store.
    pub(crate) fn sector_size(&self) -> SectorSize {
        self.0.size
    }

    /// Opens a sector; `None` if it is missing. Damage that shows without reading the bytes moves it to the quarantine.
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

    /// True if a file of the sector exists; its bytes are not checked.
    pub(crate) fn contains(&self, root: &SectorRoot) -> io::Result<bool> {
        self.path(root).try_exists()
    }

    /// Begins a group of sectors that become durable together.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Protects sectors from being swept while the result lives, whether or not they exist yet.
    pub(crate) fn hold(&self) -> Held {
        Held::new(Arc::clone(&self.0.holds))
    }

    /// Checks that there is room for uploads, so that none begins that could only fail.
    ///
    /// Errors: [`io::ErrorKind::StorageFull`].
    pub(crate) fn check_room(&self) -> io::Result<()> {
        self.0.room.check(self.0.size.bytes() as u64)
    }

    /// Moves a damaged sector to the quarantine for inspection. Later reads do not find it.
    pub(crate) fn quarantine(&self, root: &SectorRoot) -> io::Result<()> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let target = self.0.quarantine.join(format!("{root}-{seconds}"));
        tracing::error!(sector.root = %root, quarantined = %target.display(), "a sector is damaged");
        match fs::rename(self.path(root), target) {
            // Another thread moved it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // A crash before the old name is durably gone: the damage is found again.
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
