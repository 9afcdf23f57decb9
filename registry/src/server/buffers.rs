//! The memory of connections: requests in flight, response frames that were not written yet, and windows of h2.
//!
//! All listeners of a process share two pools. Each connection also has room for one request and one frame of its own,
//! so it makes progress while others use up the pools. The memory comes back when the request has ended, when the frame
//! was written, and when the connection has closed.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use serving::PERMIT_PATIENCE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes for requests and frames, besides those that each connection has of its own.
const POOL: usize = 48 << 20;
/// Bytes for the windows of h2 connections, besides [`LEAST_WINDOW`] of each.
const WINDOWS: usize = 48 << 20;
/// A permit is for this many bytes.
const UNIT: usize = 1 << 10;

/// Memory of a request in flight: its task, its head, and an answer that is made whole.
const REQUEST: usize = 48 << 10;
/// Bytes of a head that are part of [`REQUEST`]. More are taken besides.
const USUAL_HEAD: usize = 8 << 10;
/// Longest answer that is part of [`REQUEST`], and longest frame that needs no room.
pub(super) const SMALL_ANSWER: usize = 32 << 10;
/// Largest frame of an answer.
const FRAME: usize = 128 << 10;
/// Frames of a connection besides its first. They bridge the time until a peer's next window update is read; bytes on
/// their way are in the kernel.
const MORE_FRAMES: usize = 15;

/// Most requests that wait for room. Their heads are in memory.
const WAITING: usize = 256;

/// Most bytes that an h2 peer may send ahead on all its streams. Half of it is for each stream: 8 MiB fill a gigabit at
/// 60 ms.
const MOST_WINDOW: usize = 16 << 20;
/// Every h2 connection may have this much in flight (RFC 9113 6.9.2).
const LEAST_WINDOW: usize = 64 << 10;

/// The pools of a process.
#[derive(Debug)]
pub struct Buffers {
    pool: Arc<Semaphore>,
    windows: Arc<Semaphore>,
    waiting: Semaphore,
    /// How long a request waits for room.
    patience: Duration,
}

impl Buffers {
    fn new(pool: usize, windows: usize, patience: Duration) -> Arc<Self> {
        let [pool, windows] = [pool, windows].map(|bytes| Arc::new(Semaphore::new(bytes / UNIT)));
        Arc::new(Buffers { pool, windows, waiting: Semaphore::new(WAITING), patience })
    }

    /// The pools that all listeners of this process share.
    pub(super) fn of_this_process() -> Arc<Self> {
        static BUFFERS: LazyLock<Arc<Buffers>> = LazyLock::new(|| Buffers::new(POOL, WINDOWS, PERMIT_PATIENCE));
        Arc::clone(&BUFFERS)
    }

    /// Windows for a new h2 connection. Each connection gets at most a third of what is left, so that the next ones get
    /// large windows as well.
    pub(super) fn window(&self) -> Window {
        let left = self.windows.available_permits() * UNIT;
        let bytes = (left / 3).min(MOST_WINDOW);
        let permit = Arc::clone(&self.windows).try_acquire_many_owned(permits(bytes));
        match permit {
            Ok(permit) if bytes > LEAST_WINDOW => Window { bytes, _permit: Some(permit) },
            _ => Window { bytes: LEAST_WINDOW, _permit: None },
        }
    }
}

/// The windows of an h2 connection. Dropping it gives their bytes back.
#[derive(Debug)]
pub(super) struct Window {
    bytes: usize,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Window {
    /// Bytes that the peer may send ahead on all streams.
    pub(super) fn connection(&self) -> u32 {
        self.bytes as u32
    }

    /// Bytes that the peer may send ahead on one stream. Another stream always has as much.
    pub(super) fn stream(&self) -> u32 {
        self.connection() / 2
    }
}

/// A connection's access to the pools, with the room of its own.
#[derive(Clone, Debug)]
pub(super) struct Share {
    buffers: Arc<Buffers>,
    own_request: Arc<Semaphore>,
    own_frame: Arc<Semaphore>,
    more_frames: Arc<Semaphore>,
}

/// Room for a request or a frame. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
    _of_connection: Option<OwnedSemaphorePermit>,
}

impl From<OwnedSemaphorePermit> for Room {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Room { _permit: permit, _of_connection: None }
    }
}

impl Share {
    pub(super) fn of(buffers: &Arc<Buffers>) -> Self {
        let [own_request, own_frame, more_frames] = [1, 1, MORE_FRAMES].map(|count| Arc::new(Semaphore::new(count)));
        Share { buffers: Arc::clone(buffers), own_request, own_frame, more_frames }
    }

    /// Room for a request whose head has this many bytes. Waits for it; `None` if it does not come in time.
    pub(super) async fn request(&self, head_bytes: usize) -> Option<Room> {
        let bytes = REQUEST + head_bytes.saturating_sub(USUAL_HEAD);
        let pool = &self.buffers.pool;
        let at_once = Arc::clone(&self.own_request).try_acquire_owned();
        if let Ok(permit) = at_once.or_else(|_| Arc::clone(pool).try_acquire_many_owned(permits(bytes))) {
            return Some(permit.into());
        }
        let _waiting = self.buffers.waiting.try_acquire().ok()?;
        let room = async {
            tokio::select! {
                permit = Arc::clone(&self.own_request).acquire_owned() => permit,
                permit = Arc::clone(pool).acquire_many_owned(permits(bytes)) => permit,
            }
        };
        timeout(self.buffers.patience, room).await.ok()?.ok().map(Room::from)
    }

    /// Room for a frame, if there is some now.
    pub(super) fn frame_at_once(&self) -> Option<Room> {
        if let Ok(permit) = Arc::clone(&self.own_frame).try_acquire_owned() {
            return Some(permit.into());
        }
        let of_connection = Arc::clone(&self.more_frames).try_acquire_owned().ok()?;
        let permit = Arc::clone(&self.buffers.pool).try_acquire_many_owned(permits(FRAME)).ok()?;
        Some(Room { _permit: permit, _of_connection: Some(of_connection) })
    }

    /// Waits for room for a frame. A connection has its own frame again once the last one in it was written.
    pub(super) async fn frame(self) -> Room {
        let Share { buffers, own_frame, more_frames, .. } = self;
        let never_closed = "the semaphore is never closed";
        let more = async {
            let of_connection = more_frames.acquire_owned().await.expect(never_closed);
            let permit = Arc::clone(&buffers.pool).acquire_many_owned(permits(FRAME)).await;
            Room { _permit: permit.expect(never_closed), _of_connection: Some(of_connection) }
        };
        tokio::select! {
            permit = own_frame.acquire_owned() => permit.expect(never_closed).into(),
            room = more => room,
        }
    }
}

/// The permits for this many bytes.
fn permits(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT) as u32
}

/// The bytes of a frame with its room, which comes back when the last copy of the bytes is dropped.
pub(super) fn holding(bytes: Bytes, room: Room) -> Bytes {
    struct Held {
        bytes: Bytes,
        _room: Room,
    }

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    Bytes::from_owner(Held { bytes, _room: room })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_has_a_request_and_a_frame_while_others_hold_the_pool() {
        let buffers = Buffers::new(FRAME, 0, PERMIT_PATIENCE);
        let (greedy, other) = (Share::of(&buffers), Share::of(&buffers));
        let held = [greedy.frame_at_once().unwrap(), greedy.frame_at_once().unwrap()];
        assert!(greedy.frame_at_once().is_none());
        let request = other.request(0).await.unwrap();
        let frame = other.frame_at_once().unwrap();
        assert!(other.frame_at_once().is_none() && other.clone().frame().now_or_never().is_none());
        drop(frame);
        assert!(other.clone().frame().now_or_never().is_some());
        assert!(other.request(0).now_or_never().is_none());
        drop(request);
        assert!(other.request(0).now_or_never().flatten().is_some());
        drop(held);
    }

    #[tokio::test]
    async fn a_request_without_room_waits_for_a_while() {
        let buffers = Buffers::new(REQUEST, 0, Duration::from_millis(50));
        let share = Share::of(&buffers);
        let [own, pooled] = [share.request(0).await.unwrap(), share.request(0).await.unwrap()];
        assert!(share.request(0).await.is_none());
        let (room, ()) = tokio::join!(share.request(0), async { drop(pooled) });
        drop(room.unwrap());
        assert!(share.request(USUAL_HEAD + 1).await.is_none(), "a large head takes more");
        drop(own);
        assert!(share.request(USUAL_HEAD + 1).await.is_some());
    }

    #[tokio::test]
    async fn a_frame_holds_its_room_until_the_last_copy_is_dropped() {
        let share = Share::of(&Buffers::new(0, 0, PERMIT_PATIENCE));
        let bytes = holding(Bytes::from_static(b"frame"), share.frame_at_once().unwrap());
        let copy = bytes.slice(1..2);
        drop(bytes);
        assert!(share.frame_at_once().is_none());
        assert_eq!(copy, "r");
        drop(copy);
        assert!(share.frame_at_once().is_some());
    }

    #[test]
    fn a_connection_has_few_frames_of_the_pool() {
        let share = Share::of(&Buffers::new(1 << 30, 0, PERMIT_PATIENCE));
        let held: Vec<Room> = std::iter::from_fn(|| share.frame_at_once()).collect();
        assert_eq!(held.len(), 1 + MORE_FRAMES);
    }

    #[test]
    fn windows_get_smaller_as_connections_come() {
        let buffers = Buffers::new(0, WINDOWS, PERMIT_PATIENCE);
        let held: Vec<Window> = (0..40).map(|_| buffers.window()).collect();
        assert_eq!([held[0].stream(), held[0].connection()], [8 << 20, 16 << 20]);
        assert!(held[5].stream() >= 1 << 20);
        assert_eq!(held[39].connection() as usize, LEAST_WINDOW);
        let taken: usize = held.iter().map(|window| window.bytes).filter(|bytes| *bytes > LEAST_WINDOW).sum();
        assert!(taken <= WINDOWS);
        drop(held);
        assert_eq!(buffers.window().stream(), 8 << 20);
    }
}
