//! Moves a request's body to a thread that may block: frames pass through a bounded channel.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

/// Frames between the socket and the thread, each of at most 128 KiB: one is read while another is written. Two more
/// are in flight, at either end.
const DEPTH: usize = 2;

/// The frames of a body, for a thread that may block.
#[derive(Debug)]
pub struct Frames(mpsc::Receiver<Option<Bytes>>);

/// The body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete;

impl Frames {
    /// The next frame; `None` after the last one. Blocks.
    pub fn read(&mut self) -> Result<Option<Bytes>, Incomplete> {
        self.0.blocking_recv().ok_or(Incomplete)
    }
}

/// Passes a body to the blocking task that `spawn` begins. Returns what the task returned, and the error that ended the
/// body early. If this future is dropped, the task goes on and finds an incomplete body.
pub async fn pass_on<B, E, T>(
    body: &mut B,
    spawn: impl FnOnce(Frames) -> JoinHandle<T>,
) -> (Result<T, JoinError>, Option<E>)
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let (sender, receiver) = mpsc::channel(DEPTH);
    let task = spawn(Frames(receiver));
    let failure = loop {
        let frame = match body.next().await.transpose() {
            Ok(frame) => frame,
            Err(error) => break Some(error),
        };
        let is_end = frame.is_none();
        // A closed channel means that the task has ended; its result has the reason.
        if sender.send(frame).await.is_err() || is_end {
            break None;
        }
    };
    drop(sender);
    (task.await, failure)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::task::spawn_blocking;

    use super::*;

    /// The frames up to the end, and whether the end was that of the body.
    fn all(mut frames: Frames) -> (Vec<Bytes>, bool) {
        let mut all = Vec::new();
        loop {
            match frames.read() {
                Ok(Some(frame)) => all.push(frame),
                Ok(None) => return (all, true),
                Err(Incomplete) => return (all, false),
            }
        }
    }

    #[tokio::test]
    async fn a_thread_sees_how_a_body_ends() {
        let frames = ["a", "b", "c", "d"].map(Bytes::from);
        let whole = frames.clone().map(Ok::<_, &str>);
        let (seen, failure) = pass_on(&mut stream::iter(whole.clone()), |frames| spawn_blocking(|| all(frames))).await;
        assert_eq!((seen.unwrap(), failure), ((frames.to_vec(), true), None));
        let mut broken = stream::iter(whole.into_iter().chain([Err("broken")]));
        let (seen, failure) = pass_on(&mut broken, |frames| spawn_blocking(|| all(frames))).await;
        assert_eq!((seen.unwrap(), failure), ((frames.to_vec(), false), Some("broken")));
    }

    #[tokio::test]
    async fn a_thread_that_ends_early_stops_the_reading() {
        let mut endless = stream::repeat_with(|| Ok::<_, &str>(Bytes::from("x")));
        let (result, failure) = pass_on(&mut endless, |frames| spawn_blocking(|| drop(frames))).await;
        assert_eq!((result.unwrap(), failure), ((), None));
    }

    #[tokio::test]
    async fn a_thread_whose_request_is_dropped_finds_an_incomplete_body() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut stalled = stream::pending::<Result<Bytes, &str>>();
        let passing = pass_on(&mut stalled, |frames| spawn_blocking(move || tell.send(all(frames))));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), passing).await.is_err());
        assert_eq!(told.await.unwrap(), (Vec::new(), false));
    }
}
