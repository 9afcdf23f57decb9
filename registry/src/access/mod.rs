//! Who a caller is, and what it may do. Free of HTTP: the dispatcher of requests asks here before it handles one.
//!
//! Users come from the settings, from htpasswd files, and from the data directory, where `skyberth user` keeps them. Its
//! files, also that of personal tokens, are looked at on every request that shows a login. Htpasswd files are looked at every
//! second. If a changed file cannot be read, its users stay as they were, and the log says so.

mod file;
mod identity;
mod jwt;
mod keys;
mod local_users;
mod login;
mod need;
mod password;
mod pattern;
mod personal;
mod policy;
mod reach;
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

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serving::Pool;
use tokio_util::sync::CancellationToken;

pub use file::SourceError;
pub use identity::{Identity, InvalidUserName, UserName};
pub use keys::decode_key;
pub use local_users::LocalUsers;
pub use login::{LoginError, whole_seconds};
pub use need::{Need, Right};
pub use password::{InvalidHash, PasswordHash, generate_password};
pub use personal::{NewToken, PersonalToken, PersonalTokens, is_robot};
pub use policy::Policy;
pub use reach::{InvalidScope, Reach, ScopePattern};
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
/// How often the times at which tokens were used are written.
const WRITE_USES_EVERY: Duration = Duration::from_mins(1);
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
    /// Personal tokens that were used since this was last written, and when.
    uses: Mutex<BTreeMap<String, u64>>,
}

/// The users as of one moment.
#[derive(Debug)]
struct Known {
    users: Users,
    /// The users of each file, as it was last read.
    files: Vec<Entries>,
    personal: Arc<PersonalTokens>,
    verified: Verified,
    local: [Option<Stamp>; 2],
    policy: Option<Arc<Policy>>,
    watched: Vec<Option<Stamp>>,
}

impl Access {
    /// Reads all users. `everybody` says what callers without a login may do; `None`: all on a node that is not public and
    /// has no source of users and no policy, else nothing. Without `tokens`, or where nothing needs a login, none are issued.
    /// Blocks.
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
            uses: Mutex::default(),
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
        self.asks_for_logins() && self.known().has_no_login()
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

    /// Looks at files and keys until `stop`. Reads the users again when a file has changed, renews keys in time, and writes
    /// when tokens were used.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        let reading = Arc::clone(&self).keep_reading(stop.clone());
        tokio::join!(reading, Arc::clone(&self).keep_keys(stop.clone()), self.keep_uses(stop));
    }

    /// Notes that a personal token was used, if it was one.
    fn used(&self, caller: &Principal, now: u64) {
        if let Some(token) = &caller.token {
            // Only tokens that exist are noted, and their number is limited.
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            uses.insert(token.id.clone(), now);
        }
    }

    async fn keep_uses(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let goes_on = stop.run_until_cancelled(tokio::time::sleep(WRITE_USES_EVERY)).await.is_some();
            let access = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || access.write_uses());
            if written.await.is_err() || !goes_on {
                return;
            }
        }
    }

    fn write_uses(&self) {
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        if !uses.is_empty()
            && let Err(error) = self.sources.local.write_uses(&uses)
        {
            tracing::warn!(%error, "when tokens were used could not be written");
        }
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
        if self.sources.local_stamps() == known.local { known } else { self.read_again() }
    }

    fn newest(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads everything. What cannot be read stays as it was.
    fn read_again(&self) -> Arc<Known> {
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.newest();
        if self.sources.local_stamps() == old.local && self.sources.watched_stamps() == old.watched {
            return old;
        }
        // The stamps first: a change after them is noticed the next time.
        let (local, watched) = (self.sources.local_stamps(), self.sources.watched_stamps());
        let mut all = true;
        let files = self.sources.read_files().zip(&old.files).map(|(read, old)| or_old(read, old, "users", &mut all));
        let files: Vec<_> = files.collect();
        let users = self.sources.join(&files);
        let personal = self.sources.local.read_tokens().map(Arc::new);
        let personal = or_old(personal, &old.personal, "personal tokens", &mut all);
        let policy = self.sources.read_policy().map(|policy| policy.map(Arc::new));
        let policy = or_old(policy, &old.policy, "rules of the policy", &mut all);
        if all {
            tracing::info!(users = users.names().count(), "users and rights were read again");
        }
        let known = Arc::new(Known { users, files, personal, verified: Verified::new(), local, policy, watched });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        known
    }
}

/// What was read, or what there was before.
fn or_old<T: Clone>(read: Result<T, SourceError>, old: &T, what: &str, all: &mut bool) -> T {
    read.unwrap_or_else(|error| {
        *all = false;
        tracing::error!(%error, "{what} have changed and cannot be read; they stay as they were");
        old.clone()
    })
}

impl Known {
    fn read(sources: &Sources) -> Result<Self, SourceError> {
        let (local, watched) = (sources.local_stamps(), sources.watched_stamps());
        let files: Vec<_> = sources.read_files().collect::<Result<_, _>>()?;
        let (users, policy) = (sources.join(&files), sources.read_policy()?.map(Arc::new));
        let personal = Arc::new(sources.local.read_tokens()?);
        Ok(Known { users, files, personal, verified: Verified::new(), local, policy, watched })
    }

    fn has_no_login(&self) -> bool {
        self.users.is_empty() && self.personal.all().next().is_none()
    }

    /// True if the owner of a token is a robot, or a user that still exists.
    fn has_owner(&self, token: &PersonalToken) -> bool {
        is_robot(&token.owner) || self.users.origin(&token.owner).is_some()
    }

    /// The personal token with this id, if it is this identity's and has not ended.
    fn personal_token(&self, id: &str, identity: &Identity, now: u64) -> Option<Arc<PersonalToken>> {
        let token = self.personal.find(id)?;
        let is_owner = matches!(identity, Identity::Local(name) if *name == token.owner);
        (is_owner && token.is_valid_at(now) && self.has_owner(token)).then(|| Arc::clone(token))
    }
}
