//! Giving a data directory with all that lies in it to a user.
//!
//! Goes from open directory to open directory and follows no link, so that whoever could write there before cannot lead
//! a process of root's to files outside.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use crate::config::Identity;
use crate::data_dir::LOST_AND_FOUND;

/// Deeper than any data directory is; each level holds a descriptor.
const MAX_DEPTH: usize = 16;

/// Gives the directory `top` to `to`. If it is that user's already, then only those of its entries that are not, so that
/// a usual start looks at a handful of files.
pub(super) fn give(top: &Path, to: Identity) -> io::Result<()> {
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(top)?;
    let meta = directory.metadata()?;
    let taken = belongs(&meta, to);
    for entry in entries(&directory)? {
        if entry.file_name().is_some_and(|name| name == LOST_AND_FOUND) {
            continue;
        }
        let entry_meta = fs::symlink_metadata(&entry)?;
        if !taken || !belongs(&entry_meta, to) {
            give_entry(&entry, &entry_meta, to, meta.dev(), 1)?;
        }
    }
    // Last: a start that was cut off before begins anew.
    if taken { Ok(()) } else { fchown(&directory, Some(to.uid), Some(to.gid)) }
}

/// True if the directory `top` is that user's already and closed to this process, which is root without
/// `CAP_DAC_OVERRIDE`. All in it was given before the directory itself was; what came later shows when it is opened.
pub(super) fn is_given_and_closed(top: &Path, to: Identity) -> bool {
    let given = fs::metadata(top).is_ok_and(|meta| belongs(&meta, to));
    given && fs::read_dir(top).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn belongs(meta: &fs::Metadata, to: Identity) -> bool {
    meta.uid() == to.uid && meta.gid() == to.gid
}

/// Children before their directory: a directory that is another's already might not be readable any more.
fn give_entry(path: &Path, meta: &fs::Metadata, to: Identity, device: u64, depth: usize) -> io::Result<()> {
    if !meta.is_dir() {
        return lchown(path, Some(to.uid), Some(to.gid));
    }
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("more than {MAX_DEPTH} directories in each other")));
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Another file system mounted below is not ours to give.
    if directory.metadata()?.dev() != device {
        return Ok(());
    }
    for entry in entries(&directory)? {
        give_entry(&entry, &fs::symlink_metadata(&entry)?, to, device, depth + 1)?;
    }
    fchown(&directory, Some(to.uid), Some(to.gid))
}

/// Paths that lead through the descriptor of the open directory, whatever becomes of its name.
fn entries(directory: &File) -> io::Result<Vec<PathBuf>> {
    let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    fs::read_dir(&through)?.map(|entry| Ok(through.join(entry?.file_name()))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn myself() -> Identity {
        let meta = fs::metadata("/proc/self").unwrap();
        Identity { uid: meta.uid(), gid: meta.gid() }
    }

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data/blobs/sha256/ab")).unwrap();
        fs::write(folder.path().join("data/blobs/sha256/ab/abcd"), "x").unwrap();
        fs::create_dir(folder.path().join("data/lost+found")).unwrap();
        fs::write(folder.path().join("outside"), "x").unwrap();
        symlink(folder.path().join("outside"), folder.path().join("data/link")).unwrap();
        folder
    }

    #[test]
    fn what_is_owned_already_is_left_alone() {
        let folder = tree();
        give(&folder.path().join("data"), myself()).unwrap();
    }

    /// Needs root to give files away; as another user it is checked that the refusal is told.
    #[test]
    fn a_foreign_tree_changes_hands_and_links_are_not_followed() {
        let (folder, to) = (tree(), Identity { uid: 65532, gid: 65532 });
        let data = folder.path().join("data");
        if myself().uid != 0 {
            assert_eq!(give(&data, to).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            return;
        }
        give(&data, to).unwrap();
        for inside in ["", "blobs", "blobs/sha256/ab", "blobs/sha256/ab/abcd", "link"] {
            assert!(belongs(&fs::symlink_metadata(data.join(inside)).unwrap(), to), "{inside}");
        }
        for alone in ["outside", "data/lost+found"] {
            assert_eq!(fs::symlink_metadata(folder.path().join(alone)).unwrap().uid(), 0, "{alone}");
        }
        // What a command run as root left behind later is found without a walk through everything.
        fs::create_dir(data.join("journal")).unwrap();
        fs::write(data.join("journal/segment"), "x").unwrap();
        give(&data, to).unwrap();
        assert!(belongs(&fs::metadata(data.join("journal/segment")).unwrap(), to));
    }

    #[test]
    fn a_bottomless_tree_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let deep = (0..MAX_DEPTH + 2).fold(folder.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(deep).unwrap();
        let other = Identity { uid: myself().uid, gid: myself().gid + 1 };
        assert!(give(folder.path(), other).is_err());
    }
}
