//! The users that `skyberth user` keeps in the data directory: `access/users`, in the form of an htpasswd file.
//!
//! A change takes the lock, reads the file, and replaces it. A crash leaves the old file or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use content_store::replace_file;

use super::file::{SourceError, read_file};
use super::identity::UserName;
use super::password::PasswordHash;
use super::users::{Entries, parse_lines};

/// The file of users in a data directory.
#[derive(Clone, Debug)]
pub struct LocalUsers {
    directory: PathBuf,
}

impl LocalUsers {
    /// The users in this directory, which need not exist: `access/` of a data directory.
    pub fn in_directory(directory: PathBuf) -> Self {
        LocalUsers { directory }
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Path of the file.
    pub fn path(&self) -> PathBuf {
        self.directory.join("users")
    }

    /// Reads all of them; none if there is no file.
    pub fn read(&self) -> Result<Entries, SourceError> {
        let path = self.path();
        match read_file(&path) {
            Ok(text) => parse_lines(&text).map_err(|fault| SourceError::Invalid { path, fault }),
            Err(SourceError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Sets a user's password. True if the user is new.
    pub fn set(&self, name: UserName, hash: PasswordHash) -> Result<bool, SourceError> {
        self.change(|users| users.insert(name, hash).is_none())
    }

    /// Removes a user. False if there is no such user.
    pub fn remove(&self, name: &UserName) -> Result<bool, SourceError> {
        self.change(|users| users.remove(name).is_some())
    }

    fn change<T>(&self, edit: impl FnOnce(&mut BTreeMap<UserName, PasswordHash>) -> T) -> Result<T, SourceError> {
        fs::create_dir_all(&self.directory).map_err(at(&self.directory))?;
        let _lock = self.lock()?;
        let mut users: BTreeMap<_, _> = self.read()?.into_iter().collect();
        let result = edit(&mut users);
        let lines: Vec<String> = users.iter().map(|(name, hash)| format!("{name}:{}\n", hash.expose())).collect();
        let path = self.path();
        replace_file(&[lines.concat().as_bytes()], &self.directory.join("users.tmp"), &path).map_err(at(&path))?;
        Ok(result)
    }

    /// Waits for other commands that change files here.
    pub(super) fn lock(&self) -> Result<File, SourceError> {
        let path = self.directory.join("lock");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(at(&path))?;
        file.lock().map_err(at(&path))?;
        Ok(file)
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> SourceError + '_ {
    |error| SourceError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_and_what_is_removed_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let users = LocalUsers::in_directory(folder.path().join("access"));
        let (bob, ann): (UserName, UserName) = ("bob".parse().unwrap(), "ann".parse().unwrap());
        assert_eq!(users.read().unwrap(), Vec::new());
        assert!(!users.remove(&bob).unwrap());
        assert!(users.set(bob.clone(), PasswordHash::of("one")).unwrap());
        assert!(users.set(ann.clone(), PasswordHash::of("two")).unwrap());
        assert!(!users.set(bob.clone(), PasswordHash::of("three")).unwrap());
        let read: BTreeMap<_, _> = users.read().unwrap().into_iter().collect();
        assert!(read[&bob].is_of("three") && read[&ann].is_of("two"));
        assert!(users.remove(&bob).unwrap());
        assert_eq!(users.read().unwrap().len(), 1);
        fs::write(users.path(), "broken").unwrap();
        assert!(users.set(bob, PasswordHash::of("one")).is_err(), "a damaged file is not replaced");
    }
}
