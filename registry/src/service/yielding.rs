//! Idle upload sessions end when others need what they hold: a place among the sessions, or staged bytes.

use std::sync::Arc;

use serving::{Holder, Permit, UsedUp};
use tokio::runtime::Handle;

use super::sessions::{Needed, Session};
use super::staging::Staging;
use super::{Caller, Error, Registry};

/// Counts the next bytes of an upload before they are written. Blocks while idle sessions end.
pub(super) type Stage = Box<dyn Fn(u64) -> Result<(), Error> + Send>;

impl Registry {
    /// A permit for one more session. If there is none, sessions that have been idle for a while end first.
    pub(super) async fn place(self: &Arc<Self>, caller: &Caller) -> Result<Permit, Error> {
        let places = &self.sessions.places;
        loop {
            let of = match places.try_take(caller.holder) {
                Ok(place) => return Ok(place),
                Err(UsedUp::Share(_)) => Some(caller.holder),
                Err(UsedUp::Pool(_)) => None,
            };
            if !self.one_yields(caller, Needed::Place, of).await? {
                return Ok(places.take(caller.holder).await?);
            }
        }
    }

    /// Stages something. While the staging is used up, sessions that have been idle for a while end first.
    pub(super) async fn stage<T>(
        self: &Arc<Self>,
        caller: &Caller,
        stage: impl Fn(&Staging) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        loop {
            match stage(&self.staging) {
                Err(Error::StagingFull) if self.one_yields(caller, Needed::Bytes, None).await? => {}
                staged => return staged,
            }
        }
    }

    /// Stages the bytes of a session on the thread that writes them.
    pub(super) fn stage_of(self: &Arc<Self>, caller: &Caller, session: &Session) -> Stage {
        let (registry, caller, runtime) = (Arc::clone(self), caller.clone(), Handle::current());
        let staged = Arc::clone(&session.staged);
        Box::new(move |bytes| match staged.add(bytes) {
            Err(Error::StagingFull) => runtime.block_on(registry.stage(&caller, |_| staged.add(bytes))),
            added => added,
        })
    }

    /// Ends the idle session that yields first, of one client or of all. False if none may end.
    async fn one_yields(self: &Arc<Self>, caller: &Caller, needed: Needed, of: Option<Holder>) -> Result<bool, Error> {
        let Some((session, guard)) = self.sessions.first_to_yield(needed, of) else { return Ok(false) };
        let ended = self.end_session(&session.owner, &session.id);
        drop((guard, session));
        // If it ended by itself meanwhile, there is room as well.
        let Ok(session) = ended else { return Ok(true) };
        tracing::info!(request.id = %caller.request, client = %caller.address, repository = %session.owner.repository,
            upload.id = %session.id, "an idle upload ended, because others need its {needed}");
        self.discard(session).await?;
        Ok(true)
    }
}
