//! What gives sectors that nobody uploaded here.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use skynet_formats::sector::SectorRoot;

use super::{Sector, Stretch};

/// Gives the sectors of skyfiles that nobody uploaded here. Everything may block.
pub trait SectorSource: Debug + Send + Sync {
    /// The skyfile whose base sector has this root; `None` if it is not here.
    fn find(&self, base: &SectorRoot) -> io::Result<Option<Arc<dyn SourceFile>>>;

    /// A sector with content of any skyfile, by its root alone; `None` if none that is here is known to have it.
    fn find_data(&self, root: &SectorRoot) -> io::Result<Option<Sector>>;
}

/// A skyfile of a [`SectorSource`]; it stays readable while it is held.
pub trait SourceFile: Debug + Send + Sync {
    /// Its base sector, or one with content that its fanout lists; `None` of any other.
    fn open(&self, root: &SectorRoot) -> io::Result<Option<Sector>>;

    /// All of its content, where that has sectors of its own and stands in one piece all the same.
    fn content(&self) -> Option<Stretch>;
}
