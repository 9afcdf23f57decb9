//! Cases that wait for servers and disks more than they compute: a few at a time.

use std::sync::Mutex;
use std::sync::mpsc::{channel, sync_channel};
use std::time::{Duration, Instant};

use crate::report::{Outcome, Report};

/// Cases at once.
const WORKERS: usize = 4;

/// A case; what it returns is added to its name.
pub struct Job<'a> {
    name: String,
    work: Box<dyn FnOnce() -> anyhow::Result<String> + Send + 'a>,
}

impl<'a> Job<'a> {
    pub fn new(name: impl Into<String>, work: impl FnOnce() -> anyhow::Result<String> + Send + 'a) -> Self {
        Job { name: name.into(), work: Box::new(work) }
    }

    /// A case without anything to tell.
    pub fn plain(name: impl Into<String>, work: impl FnOnce() -> anyhow::Result<()> + Send + 'a) -> Self {
        Job::new(name, || work().map(|()| String::new()))
    }
}

/// Runs the cases; each is made only when a worker is free for it.
pub fn run<'a>(report: &mut Report, jobs: impl Iterator<Item = anyhow::Result<Job<'a>>>) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel::<Job<'a>>(0);
        let receive = std::sync::Arc::new(Mutex::new(receive));
        let (done, results) = channel::<(String, Outcome, Duration)>();
        for _ in 0..WORKERS {
            let (receive, done) = (std::sync::Arc::clone(&receive), done.clone());
            scope.spawn(move || {
                while let Some(job) = receive.lock().ok().and_then(|receive| receive.recv().ok()) {
                    let _ = done.send(work(job));
                }
            });
        }
        // The workers' ends are what counts from here on.
        drop((receive, done));
        for job in jobs {
            if send.send(job?).is_err() {
                break;
            }
            for (name, outcome, took) in results.try_iter() {
                report.add(name, outcome, took);
            }
        }
        drop(send);
        for (name, outcome, took) in results {
            report.add(name, outcome, took);
        }
        Ok(())
    })
}

fn work(job: Job<'_>) -> (String, Outcome, Duration) {
    let started = Instant::now();
    match (job.work)() {
        Ok(told) if told.is_empty() => (job.name, Outcome::Pass, started.elapsed()),
        Ok(told) => (format!("{}: {told}", job.name), Outcome::Pass, started.elapsed()),
        Err(error) => (job.name, Outcome::Fail(format!("{error:#}")), started.elapsed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_reported_once() {
        let mut report = Report::new("test");
        let jobs = (0..20).map(|number| {
            Ok(Job::new(format!("case {number}"), move || {
                anyhow::ensure!(number != 7, "seven");
                Ok(String::new())
            }))
        });
        run(&mut report, jobs).unwrap();
        assert_eq!((report.passed(), report.failed()), (19, 1));
    }
}
