//! Checks a name and its password.
//!
//! A password costs a hash only the first time that an address sends it. An unknown user costs as much as a wrong
//! password. A client that leaves stops no hash, which keeps its permit, and a failure is counted also then.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serving::{Holder, UsedUp};

use super::identity::{Identity, UserName};
use super::password::{PasswordHash, generate_password};
use super::personal::PREFIX;
use super::rights::Principal;
use super::tokens::now;
use super::verified::Fingerprint;
use super::{Access, Known};

/// Most bytes of a password.
const LONGEST_PASSWORD: usize = 8 * 1024;

/// Checked where a node has no user at all.
static NO_USER: LazyLock<PasswordHash> = LazyLock::new(|| PasswordHash::of(&generate_password()));

/// Why nobody was logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// There is no such user, or the password is wrong.
    #[error("the user name or the password is wrong")]
    Refused,
    /// Too many logins from this address failed.
    #[error("too many failed logins from this address; retry in {} s", whole_seconds(.0))]
    Throttled(Duration),
    /// Too many passwords are to be checked.
    #[error(transparent)]
    Busy(#[from] UsedUp),
}

/// The seconds that a client is told to wait.
pub fn whole_seconds(wait: &Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Access {
    /// True if logins mean nothing: nothing needs one, and nobody has one.
    pub fn ignores_logins(&self) -> bool {
        !self.asks_for_logins() && self.known().has_no_login()
    }

    /// The caller with this name and password, or personal token in its place. The client holds the permit for the check.
    pub async fn log_in(&self, name: &str, password: &str, holder: Holder) -> Result<Principal, LoginError> {
        if password.starts_with(PREFIX) {
            return self.log_in_with_token(name, password, holder);
        }
        self.check_password(name, password, holder).await.map(Principal::of)
    }

    /// A token costs no expensive hash, and cannot be guessed. So failures of others at its address do not keep it out. Wrong
    /// ones count as wrong passwords do.
    fn log_in_with_token(&self, name: &str, secret: &str, holder: Holder) -> Result<Principal, LoginError> {
        let (known, now) = (self.known(), now());
        let found = known.personal.check(name, secret, now).filter(|token| known.has_owner(token));
        let Some(token) = found else {
            self.check_failures(holder)?;
            self.throttle.failed(holder, Instant::now());
            return Err(LoginError::Refused);
        };
        let caller = Principal::with_token(Arc::clone(token));
        self.used(&caller, now);
        Ok(caller)
    }

    pub(super) async fn check_password(
        &self,
        name: &str,
        password: &str,
        holder: Holder,
    ) -> Result<Identity, LoginError> {
        let known = self.known();
        let login = known.verified.fingerprint(&[name, password]);
        if let Some(name) = known.verified.get(&login, holder) {
            return Ok(Identity::Local(name));
        }
        self.check_failures(holder)?;
        let permit = self.checks.take(holder).await?;
        // Meanwhile another request of the same client may have logged in, or failed.
        if let Some(name) = known.verified.get(&login, holder) {
            return Ok(Identity::Local(name));
        }
        self.check_failures(holder)?;
        let (throttle, name, password) = (Arc::clone(&self.throttle), name.to_owned(), password.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let found = known.check(&name, &password, login, holder);
            if found.is_none() {
                throttle.failed(holder, Instant::now());
            }
            drop(permit);
            found
        });
        checked.await.ok().flatten().map(Identity::Local).ok_or(LoginError::Refused)
    }

    fn check_failures(&self, holder: Holder) -> Result<(), LoginError> {
        self.throttle.wait(holder, Instant::now()).map_or(Ok(()), |wait| Err(LoginError::Throttled(wait)))
    }
}

impl Known {
    /// The user with this name, if the password is the right one. Blocks.
    fn check(&self, name: &str, password: &str, login: Fingerprint, holder: Holder) -> Option<UserName> {
        let user = name.parse::<UserName>().ok().and_then(|name| Some((self.users.hash(&name)?, name)));
        let Some((hash, user)) = user.filter(|_| password.len() <= LONGEST_PASSWORD) else {
            // The hash depends on the name alone, so that one unknown name always takes the same time.
            let choice = self.verified.fingerprint(&[name]).number();
            let _ = self.users.stand_in(choice).unwrap_or(&NO_USER).is_of(password);
            return None;
        };
        if !hash.is_of(password) {
            return None;
        }
        self.verified.add(login, holder, user.clone());
        Some(user)
    }
}
