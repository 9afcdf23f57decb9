//! Pins: the skyfiles that a sweep keeps.
//!
//! A pin is an empty file, `pins/<first byte of the root>/<skylink>`. Its name is its whole content, so it exists or
//! not, and is never torn. A sweep removes the sectors that no pin reaches. It cannot remove a sector that is needed,
//! for these reasons:
//!
//! - A client is told that a skyfile is stored only after its pin is durable. The pin is made after all sectors that it
//!   reaches are durable. A pin reaches its base sector and the data pieces that its fanout lists.
//! - A sweep first makes sectors of every ended hold count as reached, then reads all pins. Then it removes sectors
//!   that are neither reached nor held. An upload holds each sector from before it has its name until its pin is
//!   durable. If the hold ends before the sweep begins, the sweep reads the pin; if later, the sectors are held or
//!   reached. A pin of local content holds its sectors before it checks that they exist. Both happen under the lock
//!   under which the sweep unlinks.
//! - A pin that cannot be read stops the sweep before it removes anything. A missing or damaged base sector does not:
//!   without it the sectors of its list cannot be found, and a new upload brings them again.
//! - A crash ends all holds and all uploads with them; their sectors are unreached.

#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use content_store::{Room, make_directory, sync_directory};
use skynet_formats::skylink::Skylink;

use crate::sectors::make_shards;

/// The pins below one directory. Clones share it. Everything here blocks.
#[derive(Clone, Debug)]
pub(crate) struct Pins(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// Room for pins.
    room: Room,
}

impl Pins {
    /// Opens the pins below `root`, making what is absent. New ones leave `reserve` bytes of the file system free.
    pub(crate) fn open(root: &Path, reserve: u64) -> io::Result<Self> {
        let directory = root.join("pins");
        make_directory(&directory)?;
        make_shards(&directory)?;
        sync_directory(root)?;
        let room = Room::new(&directory, reserve);
        Ok(Pins(Arc::new(Shared { directory, room })))
    }

    /// Pins a v1 skylink, durably. Its sectors must be durable and held before.
    pub(crate) fn add(&self, skylink: &Skylink) -> io::Result<()> {
        let (directory, file) = self.place(skylink);
        let _room = if file.try_exists()? { None } else { Some(self.0.room.small_file()?) };
        match OpenOptions::new().write(true).create_new(true).mode(0o400).open(file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // An existing pin may be another thread's, not synced yet.
            _ => {}
        }
        // A crash before this: the pin exists or not, and no client was told that it does.
        sync_directory(&directory)
    }

    /// Removes a pin, durably; `false` if there was none.
    pub(crate) fn remove(&self, skylink: &Skylink) -> io::Result<bool> {
        let (directory, file) = self.place(skylink);
        match fs::remove_file(file) {
            // A crash before this: the pin exists or not, and no client was told that it does not.
            Ok(()) => sync_directory(&directory).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// True if a skylink is pinned.
    pub(crate) fn contains(&self, skylink: &Skylink) -> io::Result<bool> {
        self.place(skylink).1.try_exists()
    }

    /// Visits all pins, one directory at a time. Invalid names are left alone.
    pub(crate) fn walk(&self, mut visit: impl FnMut(Skylink) -> io::Result<()>) -> io::Result<()> {
        for shard in fs::read_dir(&self.0.directory)? {
            for entry in fs::read_dir(shard?.path())? {
                if let Some(skylink) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                    visit(skylink)?;
                }
            }
        }
        Ok(())
    }

    fn place(&self, skylink: &Skylink) -> (PathBuf, PathBuf) {
        let [_, _, first, ..] = skylink.to_bytes();
        let directory = self.0.directory.join(format!("{first:02x}"));
        let file = directory.join(skylink.to_string());
        (directory, file)
    }
}
