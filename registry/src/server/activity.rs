//! What one connection is doing: its requests in flight, and which of their responses wait for the peer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use serving::Pool;
use tokio::time::Instant;

use super::Limits;
use super::buffers::{Room, SMALL_ANSWER, Share, holding};

/// A write of at most this many bytes is h2 control frames: a PING answer has 17, a SETTINGS answer 9.
const CONTROL_FRAMES: usize = 64;

/// The activity of one connection, shared by its transport, gate and watch.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that change one by one, in no order")]
struct State {
    /// Requests whose response has not ended.
    open: usize,
    /// Responses that have passed on a frame and were not asked for the next one yet.
    peers_turn: usize,
    /// Request bodies of which the next bytes are awaited.
    bodies_awaited: usize,
    /// The pools of which responses hold a permit until they have ended.
    pools: Vec<Arc<Pool>>,
    /// Bytes received and sent, and those of them that the peer has not acknowledged.
    moved: u64,
    queued: u64,
    /// Requests begun since the connection opened.
    begun: u64,
    /// True until the handler of the last request runs.
    handler_is_due: bool,
    /// True if the last request had a body, so that more of it may arrive while we close.
    body_expected: bool,
    /// True if a line of the last head ended with LF alone.
    bare_lf: bool,
    /// The number of requests before the last head of which all line ends were checked.
    checked_head: Option<u64>,
    /// True if those of the last request were.
    is_checked: bool,
    /// The transport, where it keeps a head until all answers have ended.
    reader: Option<Waker>,
    /// True while the kernel accepts no more bytes. The transport's timer is then in charge.
    write_waits: bool,
    /// When a response last began, ended or moved.
    since: Instant,
}

/// What the watch of an h2 connection finds, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing wrong: look again at this time.
    Fine(Instant),
    /// No first request in time.
    Silent,
    /// No further request for too long.
    Idle,
    /// Every response waits for a peer that reads nothing.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Activity(Mutex::new(State {
            open: 0,
            peers_turn: 0,
            bodies_awaited: 0,
            pools: Vec::new(),
            moved: 0,
            queued: 0,
            begun: 0,
            handler_is_due: false,
            body_expected: false,
            bare_lf: false,
            checked_head: None,
            is_checked: false,
            reader: None,
            write_waits: false,
            since: Instant::now(),
        })))
    }

    /// A panic under the lock leaves plain counters, never a half-changed state, so a poisoned lock stays usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of requests before, if the next bytes of an HTTP/1 connection belong to a request's head.
    pub(super) fn awaits_head(&self) -> Option<u64> {
        let state = self.state();
        (state.open == 0).then_some(state.begun)
    }

    /// True if the peer may still be sending a body.
    pub(super) fn body_expected(&self) -> bool {
        self.state().body_expected
    }

    /// Records that a line of the current head ends with LF alone.
    pub(super) fn found_bare_lf(&self) {
        self.state().bare_lf = true;
    }

    /// Records that all line ends of the head after this number of requests were checked.
    pub(super) fn checked_head(&self, request: u64) {
        self.state().checked_head = Some(request);
    }

    /// The line ends of the last head: `None` if they were not checked, true if one was LF alone.
    pub(super) fn bare_lf(&self) -> Option<bool> {
        let state = self.state();
        state.is_checked.then_some(state.bare_lf)
    }

    /// True if the next head must wait: a request without a body has no answer yet. Then it wakes the reader once it
    /// has.
    pub(super) fn head_waits(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        let waits = state.open > 0 && !state.body_expected;
        if waits {
            state.reader = Some(cx.waker().clone());
        }
        waits
    }

    /// The number of the last request, if its handler has not run yet.
    pub(super) fn due_to_a_handler(&self) -> Option<u64> {
        let state = self.state();
        state.handler_is_due.then_some(state.begun)
    }

    /// Records that the kernel accepts no more bytes for now, and how many of them the peer has not acknowledged.
    pub(super) fn write_waits(&self, queued: Option<usize>) {
        let mut state = self.state();
        state.write_waits = true;
        state.queued = queued.unwrap_or_default() as u64;
    }

    /// Records bytes from the peer.
    pub(super) fn read(&self, bytes: usize) {
        self.state().moved += bytes as u64;
    }

    /// Bytes that moved since the connection opened, in both directions.
    pub(super) fn moved(&self) -> u64 {
        let state = self.state();
        state.moved.saturating_sub(state.queued)
    }

    /// True if a request waits for this server, not for its peer.
    pub(super) fn waits_for_us(&self) -> bool {
        let state = self.state();
        state.open > state.peers_turn + state.bodies_awaited
    }

    /// True if a response holds a permit that others may want.
    pub(super) fn holds_what_is_short(&self) -> bool {
        self.state().pools.iter().any(|pool| pool.is_short())
    }

    /// Records that the next bytes of a request's body are awaited, or no longer.
    pub(super) fn awaits_body(&self, awaited: bool) {
        let mut state = self.state();
        state.bodies_awaited = if awaited { state.bodies_awaited + 1 } else { state.bodies_awaited.saturating_sub(1) };
    }

    /// Records a write of `bytes`. Answers to a peer's PING do not count as movement of a response.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.write_waits = false;
        state.moved += bytes as u64;
        state.queued = 0;
        if bytes > CONTROL_FRAMES {
            state.since = Instant::now();
        }
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>, has_body: bool) -> InFlight {
        let mut state = self.state();
        state.is_checked = state.checked_head == Some(state.begun);
        state.open += 1;
        state.begun += 1;
        state.handler_is_due = true;
        state.body_expected = has_body;
        state.since = Instant::now();
        drop(state);
        InFlight { activity: Arc::clone(self), peers_turn: false, pool: None }
    }

    /// Judges an h2 connection. The HTTP library does not limit its stalls and pauses.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let state = self.state();
        let (limit, verdict): (Duration, _) = match (state.open, state.begun > 0) {
            (0, false) => (limits.header_timeout, Verdict::Silent),
            (0, true) => (limits.keep_alive_timeout, Verdict::Idle),
            (open, _) if state.peers_turn == open && !state.write_waits => {
                (limits.write_stall_timeout, Verdict::Stalled)
            }
            // A handler is at work, or the transport waits. Both have limits of their own. Look again when a stall is
            // possible.
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
    /// The pool of which it holds a permit until its response has ended.
    pool: Option<Arc<Pool>>,
}

impl InFlight {
    /// Records that its response holds a permit of this pool.
    pub(super) fn holds(&mut self, pool: Arc<Pool>) {
        self.activity.state().pools.push(Arc::clone(&pool));
        self.pool = Some(pool);
    }

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

    /// Records that the request's handler runs.
    pub(super) fn handler_runs(&self) {
        self.activity.state().handler_is_due = false;
    }

    /// Ties the request and its room to the body of its response.
    pub(super) fn watch<B>(mut self, body: B, share: Share, room: Option<Room>) -> Watched<B> {
        // The head is being sent. The HTTP library asks for the first frame when the peer allows it.
        self.set_peers_turn(true);
        Watched { body, in_flight: self, share, next: NextFrame::Absent, _room: room }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_peers_turn(false);
        let mut state = self.activity.state();
        state.open -= 1;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        if let Some(pool) = &self.pool
            && let Some(at) = state.pools.iter().position(|held| Arc::ptr_eq(held, pool))
        {
            state.pools.swap_remove(at);
        }
    }
}

/// The body of a response. It reports each frame to the activity, and takes room for a frame before it makes one.
pub(super) struct Watched<B> {
    body: B,
    in_flight: InFlight,
    share: Share,
    next: NextFrame,
    _room: Option<Room>,
}

/// The room for the next frame.
enum NextFrame {
    Absent,
    Waiting(BoxFuture<'static, Room>),
    Present(Room),
}

impl<B: Body<Data = Bytes> + Unpin> Watched<B> {
    /// Takes room for the next frame. The rest of a small answer needs none.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let NextFrame::Absent = self.next {
            if self.body.size_hint().upper().is_some_and(|left| left <= SMALL_ANSWER as u64) {
                return Poll::Ready(());
            }
            self.next = match self.share.frame_at_once() {
                Some(room) => NextFrame::Present(room),
                None => NextFrame::Waiting(Box::pin(self.share.clone().frame())),
            };
        }
        if let NextFrame::Waiting(room) = &mut self.next {
            self.next = NextFrame::Present(ready!(room.as_mut().poll(cx)));
        }
        Poll::Ready(())
    }

    /// The frame with its room.
    fn with_room(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match std::mem::replace(&mut self.next, NextFrame::Absent) {
            NextFrame::Present(room) => {
                frame.map_data(|data| if data.len() <= SMALL_ANSWER { data } else { holding(data, room) })
            }
            NextFrame::Absent | NextFrame::Waiting(_) => frame,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.poll_room(cx).is_pending() {
            // Room comes when this peer, or another one, takes what was sent.
            this.in_flight.set_peers_turn(true);
            return Poll::Pending;
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.in_flight.set_peers_turn(polled.is_ready());
        polled.map(|frame| frame.map(|frame| frame.map(|frame| this.with_room(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
