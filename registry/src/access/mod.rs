//! Who a caller is, and what it may do. Free of HTTP: the dispatcher of requests asks here before it handles one.
//!
//! Users come from the settings, from htpasswd files, and from the data directory, where `skyberth user` keeps them. The
//! file in the data directory is looked at on every login, so a change counts from the next request on. Htpasswd files are
//! looked at every second. If a changed file cannot be read, the users stay as they were, and the log says so.

mod file;
mod identity;
mod jwt;
mod keys;
mod local_users;
mod login;
mod need;
mod password;
mod pattern;
mod policy;
mod repositories;
mod rights;
mod scope;
mod source;
mod throttle;
mod tokens;
mod users;
mod verified;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serving::Pool;
use tokio_util::sync::CancellationToken;

pub use file::SourceError;
pub use identity::{Identity, InvalidUserName, UserName};
pub use keys::decode_key;
pub use local_users::LocalUsers;
pub use login::LoginError;
pub use need::{Need, Right};
pub use password::{InvalidHash, PasswordHash, generate_password};
pub use policy::Policy;
pub use repositories::Repositories;
pub use rights::{Ceiling, Everybody, Principal, Verdict};
pub use scope::{Scopes, scope_of};
pub use source::Sources;
pub use tokens::{InvalidToken, IssuedToken, TokenSettings};
pub use users::{Entries, InvalidEntry, Origin, Users, parse_words};

use file::Stamp;
use rights::Rules;
use throttle::Throttle;
use tokens::Issuer;
use verified::Verified;

use crate::catalog::fact::Visibility;
use crate::oci::{FixedTags, RepositoryName};
use crate::resources::Resource;

/// How often htpasswd files are looked at. A changed one is read when it has not changed for as long, since other programs
/// write it in several steps.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often keys are looked at.
const RENEW_EVERY: Duration = Duration::from_hours(1);
/// Most passwords that are checked at once.
const CHECKS: usize = 2;
/// Most logins that wait for that, and how long.
const WAITING_CHECKS: usize = 64;
const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// The users of a node, and their rights.
#[derive(Debug)]
pub struct Access {
    sources: Sources,
    repositories: Repositories,
    everybody: Everybody,
    known: RwLock<Arc<Known>>,
    /// Locked while users are read again.
    reading: Mutex<()>,
    checks: Arc<Pool>,
    throttle: Arc<Throttle>,
    /// The issuer of tokens; `None`: there are none.
    issuer: Option<Issuer>,
}

/// The users as of one moment.
#[derive(Debug)]
struct Known {
    users: Arc<Users>,
    verified: Verified,
    local: Option<Stamp>,
    policy: Option<Arc<Policy>>,
    watched: Vec<Option<Stamp>>,
}

impl Access {
    /// Reads all users. `everybody` says what callers without a login may do; `None`: all on a node that is not public and
    /// has neither users nor a policy, else nothing. Without `tokens`, or where nothing needs a login, none are issued. Blocks.
    pub fn open(
        sources: Sources,
        repositories: Repositories,
        everybody: Option<Everybody>,
        is_public: bool,
        tokens: Option<TokenSettings>,
    ) -> Result<Self, SourceError> {
        let known = Known::read(&sources)?;
        let everybody = everybody.unwrap_or_else(|| sources.default_of_everybody(is_public, &known.users));
        let tokens = tokens.filter(|_| everybody < Everybody::All || sources.policy.is_some());
        Ok(Access {
            sources,
            repositories,
            everybody,
            issuer: tokens.map(Issuer::open).transpose()?,
            known: RwLock::new(Arc::new(known)),
            reading: Mutex::default(),
            checks: Pool::with_waiting(Resource::Logins.name(), CHECKS, WAITING_CHECKS, CHECK_PATIENCE),
            throttle: Arc::default(),
        })
    }

    /// Access without users, where everybody may do everything.
    #[cfg(test)]
    pub(crate) fn open_to_all() -> Self {
        let nowhere = LocalUsers::in_directory("/nonexistent".into());
        let sources = Sources { settings: Vec::new(), htpasswd: Vec::new(), local: nowhere, policy: None };
        Access::open(sources, Repositories::public(), Some(Everybody::All), false, None).expect("nothing is read")
    }

    /// What callers without a login may do.
    pub fn everybody(&self) -> Everybody {
        self.everybody
    }

    /// True if some action needs a login.
    pub fn asks_for_logins(&self) -> bool {
        self.everybody < Everybody::All || self.sources.policy.is_some()
    }

    /// True if some action needs a login, and nobody can log in.
    pub fn needs_first_user(&self) -> bool {
        self.asks_for_logins() && self.known().users.is_empty()
    }

    /// The users of the data directory.
    pub fn local_users(&self) -> &LocalUsers {
        &self.sources.local
    }

    /// Decides whether this caller may do what has this need.
    pub fn decide(&self, caller: &Principal, need: &Need<'_>) -> Verdict {
        self.by_rules(|rules| rules.decide(caller, need))
    }

    /// The visibility of a repository that is created now.
    pub fn visibility_of_new(&self, repository: &RepositoryName) -> Visibility {
        self.by_rules(|rules| rules.visibility_of_new(repository))
    }

    /// The tags of a repository that a push of this caller may not move.
    pub fn not_to_move(&self, identity: &Identity, repository: &RepositoryName) -> FixedTags {
        self.by_rules(|rules| rules.fixed_tags(identity, repository, true))
    }

    /// The tags of a repository that no client may delete.
    pub fn not_to_delete(&self, identity: &Identity, repository: &RepositoryName) -> FixedTags {
        self.by_rules(|rules| rules.fixed_tags(identity, repository, false))
    }

    fn by_rules<T>(&self, decide: impl FnOnce(&Rules<'_>) -> T) -> T {
        let known = self.newest();
        let policy = known.policy.as_deref();
        decide(&Rules { everybody: self.everybody, policy, repositories: &self.repositories })
    }

    /// Looks at htpasswd files and keys until `stop`. Reads the users again when a file has changed, and renews keys in time.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(Arc::clone(&self).keep_reading(stop.clone()), self.keep_keys(stop));
    }

    async fn keep_keys(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(RENEW_EVERY)).await.is_some() {
            let access = Arc::clone(&self);
            let renewed = tokio::task::spawn_blocking(move || access.issuer.as_ref().map(Issuer::rotate));
            if renewed.await.is_err() {
                return;
            }
        }
    }

    async fn keep_reading(self: Arc<Self>, stop: CancellationToken) {
        if self.sources.htpasswd.is_empty() && self.sources.policy.is_none() {
            return;
        }
        let mut before = Vec::new();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let access = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || access.look(&before));
            let Ok(seen) = looked.await else { return };
            before = seen;
        }
    }

    /// Reads the users again if a file has changed and is now as it was the last time. Returns the state of the files.
    fn look(&self, before: &[Option<Stamp>]) -> Vec<Option<Stamp>> {
        let now = self.sources.watched_stamps();
        if now == before && now != self.newest().watched {
            self.read_again();
        }
        now
    }

    /// The users, as of now.
    fn known(&self) -> Arc<Known> {
        let known = self.newest();
        // The file is small, and read only if it has changed.
        if self.sources.local_stamp() == known.local { known } else { self.read_again() }
    }

    fn newest(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the users. If that fails, they stay as they were until a file changes again.
    fn read_again(&self) -> Arc<Known> {
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.newest();
        if self.sources.local_stamp() == old.local && self.sources.watched_stamps() == old.watched {
            return old;
        }
        // The stamps first: a change after them is noticed the next time.
        let (local, watched) = (self.sources.local_stamp(), self.sources.watched_stamps());
        let users = match self.sources.read() {
            Ok(users) => Arc::new(users),
            Err(error) => {
                tracing::error!(%error, "the users have changed and cannot be read; they stay as they were");
                Arc::clone(&old.users)
            }
        };
        let policy = match self.sources.read_policy() {
            Ok(policy) => policy.map(Arc::new),
            Err(error) => {
                tracing::error!(%error, "the policy has changed and cannot be read; it stays as it was");
                old.policy.clone()
            }
        };
        tracing::info!(users = users.names().count(), "users and rights were read again");
        let known = Arc::new(Known { users, verified: Verified::new(), local, policy, watched });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        known
    }
}

impl Known {
    fn read(sources: &Sources) -> Result<Self, SourceError> {
        let (local, watched) = (sources.local_stamp(), sources.watched_stamps());
        let (users, policy) = (Arc::new(sources.read()?), sources.read_policy()?.map(Arc::new));
        Ok(Known { users, verified: Verified::new(), local, policy, watched })
    }
}
