//! The writer's reaction to a failed index: abandons it, rebuilds it, and ends the process if that fails. A failed journal is
//! opened again, as a restart would.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::index::Index;
use super::options::OpenCatalogError;
use super::rebuild::RebuildError;
use super::writer::{STEP, Writer};

/// Most failed rebuilds in a row.
const FAILED_REBUILDS: u32 = 2;

/// Pause between attempts.
const PAUSE: Duration = Duration::from_secs(5);

impl Writer {
    /// Rebuilds the index. After a failure it pauses and retries, after two in a row it gives up.
    pub(super) fn restore(&mut self) {
        let abandoned = self.shared.abandoned.load(Ordering::Relaxed);
        if abandoned > self.most_abandoned {
            return self.give_up(&format!("it failed {abandoned} times since the start"));
        }
        self.retire_failed();
        match self.rebuild() {
            Ok(()) => self.failed_rebuilds = 0,
            Err(RebuildError::Stopped) => {}
            Err(error) => {
                tracing::error!(%error, "the index cannot be rebuilt");
                self.failed_rebuilds += 1;
                if self.failed_rebuilds >= FAILED_REBUILDS {
                    return self.give_up(&error.to_string());
                }
                self.workshop.clear();
                self.pause();
            }
        }
    }

    /// Takes the failed database away, so that its space is free for the next one. A damaged one is kept for inspection.
    /// If that fails, the next start removes it.
    fn retire_failed(&self) {
        let Some((generation, is_damaged)) = self.shared.take_failed() else { return };
        let retired = match is_damaged {
            true => self.workshop.directory.set_aside(generation, self.clock.now_ms()),
            false => self.workshop.remove_failed(generation),
        };
        if let Err(error) = retired {
            tracing::warn!(%error, "the failed index is still in its place");
        }
    }

    fn pause(&mut self) {
        let mut waited = Duration::ZERO;
        while waited < PAUSE && !self.shared.is_stopping() {
            self.queue.refuse();
            thread::sleep(STEP);
            waited += STEP;
        }
    }

    fn give_up(&mut self, why: &str) {
        (self.on_index_lost)(why);
        // The process should have ended. If not, the catalog closes.
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Waiting requests are refused meanwhile, since clients give up after 30 s.
    fn rebuild(&mut self) -> Result<(), RebuildError> {
        let (shared, queue, journal) = (&self.shared, &mut self.queue, self.journal.reader());
        let began = Instant::now();
        let mut meanwhile = || {
            queue.refuse();
            if shared.is_stopping() { Err(RebuildError::Stopped) } else { Ok(()) }
        };
        let (index, facts) = self.workshop.rebuild(&journal, &mut meanwhile)?;
        tracing::warn!(facts, took_ms = began.elapsed().as_millis() as u64, "the index was rebuilt");
        let sequence = self.journal.last_sequence();
        if let Some(counter) = &self.shared.counter
            && let Err(fault) = counter.recount(&index, sequence)
        {
            index.abandon();
            return Err(fault.into());
        }
        self.shared.sequence.store(sequence, Ordering::Release);
        self.shared.install(index);
        self.shared.rebuilds.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Tries to write the journal again, some seconds after it failed.
    pub(super) fn revive_journal(&mut self, index: &Index) {
        self.pause();
        if self.shared.is_stopping() || self.compactor.is_running() {
            return;
        }
        match self.reopen_journal(index) {
            Ok(()) => {
                self.shared.read_only.store(false, Ordering::Release);
                tracing::info!("the journal can be written again");
            }
            Err(error) => tracing::debug!(%error, "the journal still fails"),
        }
    }

    /// The batch that failed was refused, but its records may be there.
    fn reopen_journal(&mut self, index: &Index) -> Result<(), OpenCatalogError> {
        self.journal.reopen()?;
        let (reader, last) = (self.journal.reader(), self.journal.last_sequence());
        let before = self.shared.sequence.load(Ordering::Acquire);
        match self.shared.watched(|| self.workshop.catch_up(index, &reader, before)) {
            Err(RebuildError::Fault(fault)) => {
                // The next index will have them.
                self.shared.distrust(index, &fault);
                return Ok(());
            }
            outcome => outcome?,
        };
        if let Some(counter) = &self.shared.counter
            && let Err(fault) = counter.recount(index, last)
        {
            self.shared.distrust(index, &fault);
            return Ok(());
        }
        self.shared.sequence.store(last, Ordering::Release);
        Ok(())
    }
}
