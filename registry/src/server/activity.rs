//! What one connection is doing: which requests are in flight, for which of them it is the peer's turn.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::Limits;

/// A write of no more bytes than this is h2 control frames: an answer to PING has 17, to SETTINGS 9.
const CONTROL_FRAMES: usize = 64;

/// Shared by the transport, the gate and the watch of one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests between head and end of response.
    open: usize,
    /// Responses of which a frame was handed out, with no further one asked for yet.
    peers_turn: usize,
    /// Requests begun so far.
    begun: u64,
    /// Whether the handler of the last one has not run yet.
    handler_is_due: bool,
    /// Whether the last request came with a body, so that more of it may be on its way when we close.
    body_expected: bool,
    /// Whether the kernel takes no more at the moment; then the transport's clock is in charge.
    write_waits: bool,
    /// The last beginning, end or movement of a response.
    since: Instant,
}

/// What the watch of an h2 connection finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then.
    Fine(Instant),
    /// No request at all in time.
    Silent,
    /// No further request for too long.
    Idle,
    /// Every response waits for a peer that takes nothing.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Activity(Mutex::new(State {
            open: 0,
            peers_turn: 0,
            begun: 0,
            handler_is_due: false,
            body_expected: false,
            write_waits: false,
            since: Instant::now(),
        })))
    }

    /// The fields are plain counters: a panic elsewhere while the lock is held cannot leave them half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If the next bytes of an HTTP/1 connection belong to a request's head: how many requests came before it.
    pub(super) fn awaits_head(&self) -> Option<u64> {
        let state = self.state();
        (state.open == 0).then_some(state.begun)
    }

    /// Whether the peer may still be sending a body.
    pub(super) fn body_expected(&self) -> bool {
        self.state().body_expected
    }

    /// The last request, if its handler has not run yet.
    pub(super) fn due_to_a_handler(&self) -> Option<u64> {
        let state = self.state();
        state.handler_is_due.then_some(state.begun)
    }

    /// Notes that the kernel takes no more for now.
    pub(super) fn write_waits(&self) {
        self.state().write_waits = true;
    }

    /// Notes that it took `bytes`. Answers to a peer's PING are no movement of a response.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.write_waits = false;
        if bytes > CONTROL_FRAMES {
            state.since = Instant::now();
        }
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>, has_body: bool) -> InFlight {
        let mut state = self.state();
        state.open += 1;
        state.begun += 1;
        state.handler_is_due = true;
        state.body_expected = has_body;
        state.since = Instant::now();
        drop(state);
        InFlight { activity: Arc::clone(self), peers_turn: false }
    }

    /// Judges an h2 connection, whose stalls and pauses the HTTP library does not limit.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let state = self.state();
        let (limit, verdict): (Duration, _) = match (state.open, state.begun > 0) {
            (0, false) => (limits.header_timeout, Verdict::Silent),
            (0, true) => (limits.keep_alive_timeout, Verdict::Idle),
            (open, _) if state.peers_turn == open && !state.write_waits => {
                (limits.write_stall_timeout, Verdict::Stalled)
            }
            // A handler is at work, or the transport waits: their own limits hold. Look again when a stall could have come about.
            _ => return Verdict::Fine(Instant::now() + limits.write_stall_timeout),
        };
        let due = state.since + limit;
        if due <= Instant::now() { verdict } else { Verdict::Fine(due) }
    }
}

/// A request between its head and the end of its response.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    peers_turn: bool,
}

impl InFlight {
    fn set_peers_turn(&mut self, peers_turn: bool) {
        let mut state = self.activity.state();
        match (self.peers_turn, peers_turn) {
            (false, true) => state.peers_turn += 1,
            (true, false) => state.peers_turn -= 1,
            _ => {}
        }
        state.since = Instant::now();
        drop(state);
        self.peers_turn = peers_turn;
    }

    /// Notes that its handler runs.
    pub(super) fn handler_runs(&self) {
        self.activity.state().handler_is_due = false;
    }

    /// Ties the request to the body of its response.
    pub(super) fn watch<B>(mut self, body: B) -> Watched<B> {
        // The head is on its way; the first frame is asked for when the peer lets it be.
        self.set_peers_turn(true);
        Watched { body, in_flight: self }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_peers_turn(false);
        self.activity.state().open -= 1;
    }
}

/// The body of a response, telling the activity when it moves.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    in_flight: InFlight,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.in_flight.set_peers_turn(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
