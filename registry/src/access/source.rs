//! All sources of users, read together.

use std::path::PathBuf;

use super::file::{SourceError, Stamp, read_file};
use super::local_users::LocalUsers;
use super::policy::Policy;
use super::users::{Entries, Origin, Users, parse_lines};
use super::{Everybody, UserName};

/// All sources of users.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The users of the settings.
    pub settings: Entries,
    /// Files as `htpasswd` writes them.
    pub htpasswd: Vec<PathBuf>,
    /// The users of the data directory.
    pub local: LocalUsers,
    /// The policy file; `None`: each user may do everything.
    pub policy: Option<PathBuf>,
}

impl Sources {
    /// Reads all users. Fails if one source cannot be read.
    pub fn read(&self) -> Result<Users, SourceError> {
        Ok(self.join(&self.read_files().collect::<Result<Vec<_>, _>>()?))
    }

    /// Reads each file of users: those of `auth.htpasswd`, then the one in the data directory.
    pub(super) fn read_files(&self) -> impl Iterator<Item = Result<Entries, SourceError>> {
        let read = |path: &PathBuf| {
            parse_lines(&read_file(path)?).map_err(|fault| SourceError::Invalid { path: path.clone(), fault })
        };
        self.htpasswd.iter().map(read).chain(std::iter::once_with(move || self.local.read()))
    }

    /// All users: those of the settings, and those of the files, in the order in which they are read.
    pub(super) fn join(&self, files: &[Entries]) -> Users {
        let mut users = Users::default();
        users.add(Origin::Settings, self.settings.clone());
        for (path, entries) in self.htpasswd.iter().zip(files) {
            warn_of(&users.add(Origin::Htpasswd, entries.clone()), &path.display().to_string());
        }
        if let Some(local) = files.get(self.htpasswd.len()) {
            warn_of(&users.add(Origin::Local, local.clone()), "the data directory");
        }
        users
    }

    /// What callers without a login may do if no setting says so: all on a node that is not public and has neither users,
    /// nor a file for them, nor a policy, else nothing. The file may be empty by mistake.
    pub fn default_of_everybody(&self, is_public: bool, users: &Users) -> Everybody {
        let is_meant_to_be_open = users.is_empty() && self.htpasswd.is_empty() && self.policy.is_none();
        if is_public || !is_meant_to_be_open { Everybody::None } else { Everybody::All }
    }

    /// Reads the policy, if there is one.
    pub fn read_policy(&self) -> Result<Option<Policy>, SourceError> {
        self.policy.as_deref().map(Policy::read).transpose()
    }

    /// The state of the files of `auth.htpasswd` and `auth.policy`.
    pub(super) fn watched_stamps(&self) -> Vec<Option<Stamp>> {
        self.htpasswd.iter().chain(&self.policy).map(|path| Stamp::of(path)).collect()
    }

    /// The state of the files in the data directory: users and personal tokens.
    pub(super) fn local_stamps(&self) -> [Option<Stamp>; 2] {
        [self.local.path(), self.local.tokens_path()].map(|path| Stamp::of(&path))
    }
}

fn warn_of(ignored: &[UserName], place: &str) {
    for name in ignored {
        tracing::warn!(user = %name, "a user of {place} is ignored, since another source has one of that name");
    }
}
