//! The requests that wait for the writer, and their order.
//!
//! Large requests have a queue of their own. Each is a batch by itself, and waits until no ordinary request does, but
//! only for a limited time. After a large one, ordinary requests take the next turn, so none waits for two.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendTimeoutError, TryRecvError, TrySendError};

use super::request::{BATCH_WEIGHT, Message, Request};
use crate::catalog::command::CommitError;

/// How long a commit waits for space in its queue.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);

/// Most large requests in their queue. Each keeps a few megabytes.
const LARGE_REQUESTS: usize = 16;

/// How long a large request waits behind ordinary ones.
const LARGE_PATIENCE: Duration = Duration::from_secs(1);

/// The ends of both queues for those who commit. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Submit {
    pub(super) ordinary: mpsc::Sender<Message>,
    large: mpsc::Sender<Request>,
}

/// Why a request did not enter its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// There was no space for too long.
    Full,
    /// The writer has ended.
    Closed,
}

/// The writer's ends of both queues.
#[derive(Debug)]
pub(super) struct Waiting {
    ordinary: mpsc::Receiver<Message>,
    large: mpsc::Receiver<Request>,
    /// The next large request.
    next_large: Option<Request>,
    /// True if the last turn was a large request's.
    was_large: bool,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Turn {
    /// Process these requests together.
    Batch(Vec<Request>),
    /// Check for changes.
    Wake,
    /// End: all senders are gone.
    End,
}

/// Both ends of new queues, the ordinary one with space for this many requests.
pub(super) fn queues(ordinary: usize) -> (Submit, Waiting) {
    let (ordinary, from_ordinary) = mpsc::channel(ordinary.max(1));
    let (large, from_large) = mpsc::channel(LARGE_REQUESTS);
    let waiting = Waiting { ordinary: from_ordinary, large: from_large, next_large: None, was_large: false };
    (Submit { ordinary, large }, waiting)
}

impl Submit {
    /// Puts a request into its queue.
    pub(super) async fn send(&self, request: Request) -> Result<(), NotQueued> {
        if request.is_large() {
            self.large.send_timeout(request, QUEUE_PATIENCE).await?;
            self.wake();
            return Ok(());
        }
        match self.ordinary.try_send(Message::Commit(request)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message)) => Ok(self.ordinary.send_timeout(message, QUEUE_PATIENCE).await?),
            Err(TrySendError::Closed(_)) => Err(NotQueued::Closed),
        }
    }

    /// [`Submit::send`] for threads outside an async runtime.
    pub(super) fn blocking_send(&self, request: Request) -> Result<(), NotQueued> {
        if request.is_large() {
            self.large.blocking_send(request).map_err(|_| NotQueued::Closed)?;
            self.wake();
            return Ok(());
        }
        self.ordinary.blocking_send(Message::Commit(request)).map_err(|_| NotQueued::Closed)
    }

    /// Lets the writer check for changes. If its queue is full, it does so anyway.
    pub(super) fn wake(&self) {
        let _ = self.ordinary.try_send(Message::Wake);
    }
}

impl<T> From<SendTimeoutError<T>> for NotQueued {
    fn from(error: SendTimeoutError<T>) -> Self {
        match error {
            SendTimeoutError::Timeout(_) => NotQueued::Full,
            SendTimeoutError::Closed(_) => NotQueued::Closed,
        }
    }
}

impl Waiting {
    /// Waits for the next turn.
    pub(super) fn next(&mut self) -> Turn {
        if self.next_large.is_none() {
            self.next_large = self.large.try_recv().ok();
        }
        let is_due = |request: &mut Request| request.since.elapsed() >= LARGE_PATIENCE;
        if !self.was_large
            && let Some(request) = self.next_large.take_if(is_due)
        {
            return self.take_large(request);
        }
        let message = match (self.ordinary.try_recv(), self.next_large.take()) {
            (Err(TryRecvError::Empty), Some(request)) => return self.take_large(request),
            (Err(TryRecvError::Empty), None) => self.ordinary.blocking_recv(),
            (message, large) => {
                self.next_large = large;
                message.ok()
            }
        };
        match message {
            Some(Message::Commit(first)) => {
                self.was_large = false;
                Turn::Batch(self.gather(first))
            }
            Some(Message::Wake) => Turn::Wake,
            None => Turn::End,
        }
    }

    fn take_large(&mut self, request: Request) -> Turn {
        self.was_large = true;
        Turn::Batch(vec![request])
    }

    /// Collects the ordinary requests that wait, so that they share one sync.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut weight = first.weight;
        let mut requests = vec![first];
        while weight < BATCH_WEIGHT
            && let Ok(message) = self.ordinary.try_recv()
        {
            if let Message::Commit(request) = message {
                weight += request.weight;
                requests.push(request);
            }
        }
        requests
    }

    /// Answers all that wait with [`CommitError::Unavailable`].
    pub(super) fn refuse(&mut self) {
        let ordinary = std::iter::from_fn(|| self.ordinary.try_recv().ok()).filter_map(|message| match message {
            Message::Commit(request) => Some(request),
            Message::Wake => None,
        });
        for request in ordinary {
            request.answer(Err(CommitError::Unavailable));
        }
        let large = std::iter::from_fn(|| self.large.try_recv().ok());
        for request in self.next_large.take().into_iter().chain(large) {
            request.answer(Err(CommitError::Unavailable));
        }
    }

    /// Closes both queues and refuses those that wait.
    pub(super) fn close(&mut self) {
        self.ordinary.close();
        self.large.close();
        self.refuse();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::sync::oneshot;

    use super::*;

    /// A request of this weight that has waited for so long.
    fn request(weight: usize, waited: Duration) -> Request {
        let since = Instant::now().checked_sub(waited).unwrap();
        Request { commands: Vec::new(), weight, since, answer: oneshot::channel().0 }
    }

    fn weights(waiting: &mut Waiting) -> Vec<usize> {
        loop {
            match waiting.next() {
                Turn::Batch(requests) => return requests.iter().map(|request| request.weight).collect(),
                Turn::Wake => {}
                Turn::End => return Vec::new(),
            }
        }
    }

    const LARGE: usize = BATCH_WEIGHT + 1;

    /// Ordinary pushes shared a batch with manifests of 38,000 references, and waited for all of them.
    #[test]
    fn a_large_request_is_a_batch_of_its_own_behind_ordinary_ones() {
        let (submit, mut waiting) = queues(16);
        for weight in [LARGE, 1, 2, 3] {
            submit.blocking_send(request(weight, Duration::ZERO)).unwrap();
        }
        assert_eq!(weights(&mut waiting), [1, 2, 3]);
        assert_eq!(weights(&mut waiting), [LARGE]);
    }

    #[test]
    fn large_requests_that_waited_long_take_every_second_turn() {
        let (submit, mut waiting) = queues(16);
        for weight in [LARGE, LARGE + 1] {
            submit.blocking_send(request(weight, LARGE_PATIENCE)).unwrap();
        }
        let mut seen = Vec::new();
        for turn in 0..4 {
            submit.blocking_send(request(turn, Duration::ZERO)).unwrap();
            seen.push(weights(&mut waiting));
        }
        assert_eq!(seen, [vec![LARGE], vec![0, 1], vec![LARGE + 1], vec![2, 3]]);
    }

    #[test]
    fn a_batch_has_a_limit() {
        let (submit, mut waiting) = queues(16);
        for _ in 0..4 {
            submit.blocking_send(request(BATCH_WEIGHT / 2, Duration::ZERO)).unwrap();
        }
        assert_eq!(weights(&mut waiting).len(), 2);
        assert_eq!(weights(&mut waiting).len(), 2);
    }

    #[tokio::test]
    async fn requests_that_wait_at_the_end_are_refused() {
        let (submit, mut waiting) = queues(16);
        let mut answers = Vec::new();
        for weight in [1, LARGE] {
            let (answer, outcome) = oneshot::channel();
            let request = Request { answer, ..request(weight, Duration::ZERO) };
            submit.send(request).await.unwrap();
            answers.push(outcome);
        }
        waiting.close();
        for outcome in answers {
            assert!(matches!(outcome.await, Ok(Err(CommitError::Unavailable))));
        }
        assert_eq!(submit.send(request(LARGE, Duration::ZERO)).await, Err(NotQueued::Closed));
    }
}
