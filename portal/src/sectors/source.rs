//! A source of sectors that were not uploaded to this portal.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use skynet_formats::sector::SectorRoot;

use super::{Sector, Stretch};

/// Gives the sectors of skyfiles that were not uploaded here. Every method may block.
pub trait SectorSource: Debug + Send + Sync {
    /// The skyfile whose base sector has this root; `None` if there is none.
    fn find(&self, base: &SectorRoot) -> io::Result<Option<Arc<dyn SourceFile>>>;

    /// A sector with content of any skyfile, by its root alone; `None` if no known skyfile has it.
    fn find_data(&self, root: &SectorRoot) -> io::Result<Option<Sector>>;
}

/// A skyfile of a [`SectorSource`]; it stays readable while this lives.
pub trait SourceFile: Debug + Send + Sync {
    /// Its base sector, or a sector with content that its fanout lists; `None` for any other.
    fn open(&self, root: &SectorRoot) -> io::Result<Option<Sector>>;

    /// The whole content, if it has its own sectors and is also contiguous in a file.
    fn content(&self) -> Option<Stretch>;
}
