//! Runs compactions of the journal beside the writer, which starts them and installs their results, but never waits for
//! one.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::WeakSender;

use super::journal::{CompactionError, FinishedCompaction, Journal};
use super::request::Message;
use super::shared::Shared;

/// Pause after a failed compaction, doubled after each further failure up to the longest.
const PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

type Outcome = Result<FinishedCompaction, CompactionError>;

/// The running compaction, if there is one.
#[derive(Debug)]
pub(super) struct Compactor {
    writer: WeakSender<Message>,
    running: Option<(Receiver<Outcome>, JoinHandle<()>)>,
    not_before: Option<Instant>,
    pause: Duration,
}

impl Compactor {
    /// `writer` is woken when a compaction is done.
    pub(super) fn new(writer: WeakSender<Message>) -> Self {
        Compactor { writer, running: None, not_before: None, pause: PAUSE }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts a compaction if the journal needs one and the disk has room for it. Without that check, each failed
    /// attempt would begin a new segment for nothing.
    pub(super) fn start(&mut self, journal: &mut Journal, shared: &Shared) {
        let too_early = self.not_before.is_some_and(|time| Instant::now() < time);
        if self.running.is_some() || too_early || !journal.needs_compaction() {
            return;
        }
        let room = match journal.reserve_for_compaction() {
            Ok(room) => room,
            Err(error) => return self.put_off(&error),
        };
        let compaction = match journal.begin_compaction() {
            Ok(Some(compaction)) => compaction,
            Ok(None) => return,
            Err(error) => {
                // Failing to create a segment is a failed write like any other.
                shared.read_only.fetch_or(journal.is_failed(), Ordering::AcqRel);
                return self.put_off(&error);
            }
        };
        let (sender, receiver) = channel();
        let writer = self.writer.clone();
        let work = move || {
            let outcome = compaction.run();
            drop(room);
            let _ = sender.send(outcome);
            // If the queue is full, the writer wakes anyway.
            if let Some(writer) = writer.upgrade() {
                let _ = writer.try_send(Message::Wake);
            }
        };
        match thread::Builder::new().name("journal-compaction".into()).spawn(work) {
            Ok(thread) => self.running = Some((receiver, thread)),
            Err(error) => self.put_off(&error),
        }
    }

    /// Installs the result of a finished compaction.
    pub(super) fn collect(&mut self, journal: &mut Journal, shared: &Shared) {
        let Some((receiver, _)) = &self.running else { return };
        match receiver.try_recv() {
            Ok(outcome) => {
                self.running = None;
                self.finish(outcome, journal, shared);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                self.running = None;
                self.put_off(&"its thread ended without a result");
            }
        }
    }

    /// Waits for the running compaction.
    pub(super) fn join(&mut self, journal: &mut Journal, shared: &Shared) {
        let Some((receiver, thread)) = self.running.take() else { return };
        if let Ok(outcome) = receiver.recv() {
            self.finish(outcome, journal, shared);
        }
        let _ = thread.join();
    }

    fn finish(&mut self, outcome: Outcome, journal: &mut Journal, shared: &Shared) {
        let finished = match outcome {
            Ok(finished) => finished,
            Err(error) => return self.put_off(&error),
        };
        let sequence = finished.sequence();
        match journal.finish_compaction(finished) {
            Ok(()) => {
                self.pause = PAUSE;
                shared.snapshot_sequence.store(sequence, Ordering::Release);
            }
            Err(error) => self.put_off(&error),
        }
    }

    fn put_off(&mut self, error: &dyn std::fmt::Display) {
        tracing::warn!(%error, "the journal was not compacted");
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}
