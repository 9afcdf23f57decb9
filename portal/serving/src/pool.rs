//! Pools of permits for what clients use at once, with a share for each client.
//!
//! One client holds at most half of a pool. Beyond that it waits for its own permits, and the other half is left to
//! others. A request waits a while for a permit, first come first served. There are as many places to wait as permits,
//! with shares of their own. A permit moves into the work that it is for, and is free again when the work has ended.
//!
//! While more than three quarters of a pool are used, transfers that hold its permits must keep a least rate (see
//! [`Pace`](crate::Pace)). So a client cannot keep a permit by sending a byte from time to time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::client::{TrustedProxies, client_network};

/// How long a request waits for a permit. Some clients repeat a refused request at once, whatever `Retry-After` says.
pub const PERMIT_PATIENCE: Duration = Duration::from_secs(10);

/// The client that a permit counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Holder(Option<IpAddr>);

impl Holder {
    /// This server itself, or clients that cannot be told apart. The pool limits their permits, and no share does.
    pub const SHARED: Holder = Holder(None);

    /// The client at an address. Behind a trusted proxy that names no client may be anybody, so no share limits them.
    pub fn of(client: IpAddr, proxies: &TrustedProxies) -> Self {
        if proxies.trust(client) { Holder::SHARED } else { Holder::at(client) }
    }

    /// The client at an address: one IPv4 address, or an IPv6 /64.
    pub fn at(address: IpAddr) -> Self {
        Holder(Some(client_network(address)))
    }
}

/// A pool, or a client's share of it, is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsedUp {
    /// The client holds half of the pool. It may retry when its own work has ended.
    #[error("this address already has its share of {0}; retry soon")]
    Share(&'static str),
    /// All permits are held.
    #[error("too many {0} at once; retry soon")]
    Pool(&'static str),
}

/// Permits for one resource.
#[derive(Debug)]
pub struct Pool {
    /// The name of the resource, in the plural.
    what: &'static str,
    limit: usize,
    waiting_places: usize,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    held: HashMap<Holder, usize>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    holder: Holder,
    grant: oneshot::Sender<Permit>,
}

/// A permit of a pool. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    pool: Arc<Pool>,
    holder: Holder,
}

impl Pool {
    /// A pool of `limit` permits for `what`, for which requests wait up to `patience`.
    pub fn new(what: &'static str, limit: usize, patience: Duration) -> Arc<Self> {
        Pool::with_waiting(what, limit, limit, patience)
    }

    /// As [`Pool::new`], with this number of requests that may wait.
    pub fn with_waiting(what: &'static str, limit: usize, waiting_places: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Pool { what, limit, waiting_places, patience, state: Mutex::default() })
    }

    /// A permit, if one is free now.
    pub fn try_take(self: &Arc<Self>, holder: Holder) -> Result<Permit, UsedUp> {
        let mut state = self.state();
        if let Some(used_up) = self.used_up(&state, holder) {
            return Err(used_up);
        }
        Ok(self.count(&mut state, holder))
    }

    /// A permit, at once or after a wait.
    pub async fn take(self: &Arc<Self>, holder: Holder) -> Result<Permit, UsedUp> {
        self.ask(holder)?.await
    }

    /// A place to wait for a permit, which may be granted already. Fails at once if there is no place.
    pub fn ask(
        self: &Arc<Self>,
        holder: Holder,
    ) -> Result<impl Future<Output = Result<Permit, UsedUp>> + Send + use<>, UsedUp> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.state();
        if let Some(used_up) = self.used_up(&state, holder) {
            state.waiting.retain(|waiting| !waiting.grant.is_closed());
            let own = state.waiting.iter().filter(|waiting| waiting.holder == holder).count();
            if state.waiting.len() >= self.waiting_places || exceeds_share(holder, own, self.waiting_places) {
                return Err(used_up);
            }
            state.waiting.push_back(Waiting { holder, grant });
        } else {
            // The receiver is here, so this arrives.
            let _ = grant.send(self.count(&mut state, holder));
        }
        drop(state);
        let pool = Arc::clone(self);
        Ok(async move {
            let waited = timeout(pool.patience, granted).await;
            let used_up = || pool.used_up(&pool.state(), holder).unwrap_or(UsedUp::Pool(pool.what));
            waited.ok().and_then(Result::ok).ok_or_else(used_up)
        })
    }

    /// A permit, even beyond the limit: for what is there already.
    pub fn take_anyway(self: &Arc<Self>, holder: Holder) -> Permit {
        self.count(&mut self.state(), holder)
    }

    /// The permits that a client holds.
    pub fn held(&self, holder: Holder) -> usize {
        self.state().held.get(&holder).copied().unwrap_or_default()
    }

    /// True while more than three quarters of the permits are used.
    pub fn is_short(&self) -> bool {
        self.state().used * 4 > self.limit * 3
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between two changes of the state can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_up(&self, state: &State, holder: Holder) -> Option<UsedUp> {
        let held = state.held.get(&holder).copied().unwrap_or_default();
        if exceeds_share(holder, held, self.limit) {
            return Some(UsedUp::Share(self.what));
        }
        (state.used >= self.limit).then_some(UsedUp::Pool(self.what))
    }

    fn count(self: &Arc<Self>, state: &mut State, holder: Holder) -> Permit {
        state.used += 1;
        *state.held.entry(holder).or_default() += 1;
        Permit { pool: Arc::clone(self), holder }
    }

    fn give_back(self: &Arc<Self>, holder: Holder) {
        // Dropped after the lock, since that gives them back in turn.
        let mut undelivered = Vec::new();
        let mut state = self.state();
        state.used -= 1;
        state.leave(holder);
        state.waiting.retain(|waiting| !waiting.grant.is_closed());
        while let Some(next) = state.waiting.iter().position(|next| self.used_up(&state, next.holder).is_none()) {
            let Some(Waiting { holder, grant }) = state.waiting.remove(next) else { break };
            if let Err(permit) = grant.send(self.count(&mut state, holder)) {
                undelivered.push(permit);
            }
        }
        drop(state);
    }
}

impl State {
    /// Counts one permit less for a client.
    fn leave(&mut self, holder: Holder) {
        if let Some(held) = self.held.get_mut(&holder) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&holder);
            }
        }
    }
}

/// True if a client that holds this many may have no more of `limit`.
fn exceeds_share(holder: Holder, held: usize, limit: usize) -> bool {
    holder != Holder::SHARED && held >= limit.div_ceil(2)
}

impl Permit {
    /// The client that it counts for.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// Counts it for another client from now on. Changes nothing if that one has its share already.
    pub fn count_for(&mut self, holder: Holder) -> Result<(), UsedUp> {
        let mut state = self.pool.state();
        let held = state.held.get(&holder).copied().unwrap_or_default();
        if exceeds_share(holder, held, self.pool.limit) {
            return Err(UsedUp::Share(self.pool.what));
        }
        state.leave(self.holder);
        *state.held.entry(holder).or_default() += 1;
        drop(state);
        self.holder = holder;
        Ok(())
    }

    /// The pool that it is of.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.give_back(self.holder);
    }
}

#[cfg(test)]
mod tests;
