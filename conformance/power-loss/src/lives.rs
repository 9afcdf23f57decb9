//! The lives of a server under recording. Clients continue after a restart, and repeat requests without an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long clients wait for the next life.
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Even while a server lives, odd between two lives.
#[derive(Debug, Default)]
pub struct Lives(AtomicUsize);

impl Lives {
    pub fn end_one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub fn begin_one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Repeats an attempt that failed because a server's life ended. Other failures are the registry's.
    pub fn insist<T>(&self, mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
        loop {
            let life = self.living()?;
            match attempt() {
                Err(_) if self.0.load(Ordering::SeqCst) != life => {}
                outcome => return outcome,
            }
        }
    }

    fn living(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let life = self.0.load(Ordering::SeqCst);
            if life.is_multiple_of(2) {
                return Ok(life);
            }
            anyhow::ensure!(Instant::now() < deadline, "no server came back within {PATIENCE:?}");
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_death_broke_is_repeated() {
        let lives = Lives::default();
        let mut attempts = 0;
        let outcome: anyhow::Result<()> = lives.insist(|| {
            attempts += 1;
            if attempts == 1 {
                lives.end_one();
                lives.begin_one();
            }
            anyhow::bail!("broken")
        });
        assert!(outcome.is_err());
        assert_eq!(attempts, 2);
    }
}
