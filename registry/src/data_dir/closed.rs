//! Closes a data directory to other users.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes other users' permissions from a directory and its direct entries, since earlier versions left them open.
/// Entries of another owner stay, such as a volume that a group may write to.
pub(super) fn close_to_others(path: &Path) -> io::Result<()> {
    let close = |path: &Path, meta: &fs::Metadata| {
        let mode = meta.permissions().mode();
        let open_to_others = mode & 0o077;
        if meta.is_symlink() || open_to_others == 0 {
            return Ok(());
        }
        match fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7700)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    };
    close(path, &fs::metadata(path)?)?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(meta) => close(&entry.path(), &meta)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::{DataDir, Kind, LOCK};

    /// With `run_as` it was open to all: other users could read the index, and hold the lock.
    #[test]
    fn other_users_can_open_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let open = || drop(DataDir::open(&path, Kind::Registry).unwrap());
        open();
        fs::create_dir(path.join("journal")).unwrap();
        let parts = ["", "journal", LOCK];
        for part in parts {
            fs::set_permissions(path.join(part), fs::Permissions::from_mode(0o755)).unwrap();
        }
        open();
        for part in parts {
            let mode = fs::metadata(path.join(part)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{part:?} has mode {mode:o}");
        }
    }
}
