//! The faults of a test portal, and when they happen.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The kind of a request to a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `GET /skynet/stats`
    Stats,
    /// `GET /skynet/identity`
    Identity,
    /// `POST /skynet/skyfile`
    Upload,
    /// `POST /skynet/tus`
    TusCreate,
    /// `HEAD /skynet/tus/..`
    TusHead,
    /// `PATCH /skynet/tus/..`
    TusPatch,
    /// `HEAD` of a skylink
    Head,
    /// `GET` of a skylink
    Get,
    /// `GET /skynet/basesector/…`
    BaseSector,
    /// `GET /skynet/health/skylink/…`
    Health,
    /// `POST /skynet/pin/…`.
    Pin,
    /// `POST /skynet/unpin/..`
    Unpin,
}

/// One way to do wrong.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// Answers this status, content type and body instead of doing anything.
    Answer(u16, &'static str, &'static str),
    /// Answers this status with this `Retry-After`.
    Busy(u16, &'static str),
    /// Does it, and answers this status.
    AnswerAfterwards(u16),
    /// Never answers.
    Stall,
    /// Answers the skylink of other content.
    WrongSkylink,
    /// Answers a body without end.
    Endless,
    /// For a read: changes the byte at this offset of the content.
    WrongByte(u64),
    /// For a read: breaks off after this many bytes.
    BreakAfter(u64),
    /// For a read: stalls after this many bytes.
    StallAfter(u64),
    /// For a read: answers the whole content for any range.
    IgnoreRange,
    /// Claims to be a gateway.
    Gateway,
    /// Signs another nonce than the one in the question.
    OldProof,
    /// For a question for the health of a skylink: has not all units of it.
    LostUnit,
    /// For a part of an upload: accepts this many bytes, then breaks off.
    TakeOnly(u64),
    /// For a part of an upload: accepts it, keeps nothing of it, and says so.
    TakeNothing,
    /// For a part of an upload: forgets the upload once the part is received.
    Forget,
}

/// When to do what.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    calls: HashMap<Route, u64>,
    once: HashMap<(Route, u64), Trouble>,
    always: HashMap<Route, Trouble>,
}

impl Plan {
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn at(&self, route: Route, nth: u64, trouble: Trouble) {
        self.with(|plan| {
            let number = plan.calls.get(&route).copied().unwrap_or_default() + nth;
            plan.once.insert((route, number), trouble);
        });
    }

    pub(super) fn always(&self, route: Route, trouble: Trouble) {
        self.with(|plan| plan.always.insert(route, trouble));
    }

    pub(super) fn clear(&self) {
        self.with(|plan| {
            plan.once.clear();
            plan.always.clear();
        });
    }

    pub(super) fn calls(&self, route: Route) -> u64 {
        self.with(|plan| plan.calls.get(&route).copied().unwrap_or_default())
    }

    pub(super) fn next(&self, route: Route) -> Option<Trouble> {
        self.with(|plan| {
            let count = plan.calls.entry(route).or_default();
            let number = *count;
            *count += 1;
            plan.once.remove(&(route, number)).or_else(|| plan.always.get(&route).copied())
        })
    }
}
