//! Changes the owner of a data directory and all its contents.
//!
//! Walks from open directory to open directory and follows no links. So a user that could write there before cannot
//! lead a root process to files outside.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::config::Identity;
use crate::data_dir::{LOST_AND_FOUND, PARTS};

/// Deeper than any data directory. Each level keeps a descriptor open.
const MAX_DEPTH: usize = 16;

/// Gives the directory `top` to the user `to`. If it already belongs to `to`, only entries that do not are changed, so
/// a usual start looks at a handful of files.
pub(super) fn give(top: &Path, to: Identity) -> io::Result<()> {
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(top)?;
    let meta = directory.metadata()?;
    let taken = belongs(&meta, to);
    for entry in entries(&directory)? {
        let name = entry.file_name().unwrap_or_default();
        let entry_meta = fs::symlink_metadata(&entry)?;
        // One of our own directories may be the root of another file system.
        let device = if PARTS.iter().any(|part| name == *part) { entry_meta.dev() } else { meta.dev() };
        if !taken || !belongs(&entry_meta, to) {
            give_entry(&entry, &entry_meta, to, device, 1)?;
        }
    }
    // The directory itself last: after an interrupted start, the next one does it all again.
    if taken { Ok(()) } else { fchown(&directory, Some(to.uid), Some(to.gid)) }
}

/// True if `top` already belongs to `to` and this process may not read it, as root without `CAP_DAC_OVERRIDE`. Its
/// contents were given before it was. Anything that came later is noticed when it is opened.
pub(super) fn is_given_and_closed(top: &Path, to: Identity) -> bool {
    let given = fs::metadata(top).is_ok_and(|meta| belongs(&meta, to));
    given && fs::read_dir(top).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn belongs(meta: &fs::Metadata, to: Identity) -> bool {
    meta.uid() == to.uid && meta.gid() == to.gid
}

/// Children before their directory: once given away, a directory might not be readable any more.
fn give_entry(path: &Path, meta: &fs::Metadata, to: Identity, device: u64, depth: usize) -> io::Result<()> {
    if !meta.is_dir() {
        return give_file(path, to);
    }
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("directories nested more than {MAX_DEPTH} deep")));
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Another file system mounted below is not part of the data directory.
    if directory.metadata()?.dev() != device {
        return Ok(());
    }
    for entry in entries(&directory)? {
        give_entry(&entry, &fs::symlink_metadata(&entry)?, to, device, depth + 1)?;
    }
    fchown(&directory, Some(to.uid), Some(to.gid))
}

/// A file with a second hard link is refused: its other name may be outside of the directory, and root's for a reason.
fn give_file(path: &Path, to: Identity) -> io::Result<()> {
    // Opens the file itself, whatever happens to its name.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let meta = file.metadata()?;
    if meta.nlink() > 1 && !belongs(&meta, to) {
        let name = path.file_name().unwrap_or_default().display();
        return Err(io::Error::other(format!("{name} has a second name; remove it, or give it to {to} yourself")));
    }
    #[expect(unsafe_code, reason = "std cannot give away what is open without rights")]
    // SAFETY: the descriptor is open, and the path is a constant that ends with NUL.
    let code = unsafe { libc::fchownat(file.as_raw_fd(), c"".as_ptr(), to.uid, to.gid, libc::AT_EMPTY_PATH) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Paths of the entries, through the directory's descriptor, so that renaming the directory changes nothing. Without
/// `lost+found`, which belongs to the file system.
fn entries(directory: &File) -> io::Result<Vec<PathBuf>> {
    let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let mut found = Vec::new();
    for entry in fs::read_dir(&through)? {
        let name = entry?.file_name();
        if name != LOST_AND_FOUND {
            found.push(through.join(name));
        }
    }
    Ok(found)
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
        let (folder, entries) = (tree(), ["", "blobs", "link"]);
        let data = folder.path().join("data");
        let changed = |entry: &str| {
            let meta = fs::symlink_metadata(data.join(entry)).unwrap();
            (meta.ctime(), meta.ctime_nsec())
        };
        let before = entries.map(changed);
        // Giving an entry to its own owner, too, sets its time of change, which has the resolution of a clock tick.
        std::thread::sleep(std::time::Duration::from_millis(50));
        give(&data, myself()).unwrap();
        assert_eq!(entries.map(changed), before);
    }

    /// Only root can give files away. As another user, this checks that the failure is reported.
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
        // Files that a command of root left later are found without a full walk.
        fs::create_dir(data.join("journal")).unwrap();
        fs::write(data.join("journal/segment"), "x").unwrap();
        give(&data, to).unwrap();
        assert!(belongs(&fs::metadata(data.join("journal/segment")).unwrap(), to));
    }

    /// Users who can write to the directory can link root's files into it, if the kernel allows that.
    #[test]
    fn a_file_with_a_name_outside_is_not_given() {
        let (folder, to) = (tree(), Identity { uid: 65532, gid: 65532 });
        let (data, outside) = (folder.path().join("data"), folder.path().join("outside"));
        fs::hard_link(&outside, data.join("blobs/shadow")).unwrap();
        let error = give(&data, to).unwrap_err();
        assert_eq!(fs::metadata(outside).unwrap().uid(), myself().uid);
        if myself().uid == 0 {
            assert!(error.to_string().contains("shadow has a second name"), "{error}");
        }
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
