//! Runs cases that mostly wait for servers and disks, a few at a time.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::mpsc::{channel, sync_channel};
use std::time::Instant;

use crate::report::{Outcome, Report, Row};

thread_local! {
    /// The current case of this thread.
    static CASE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The current case of this thread, if other cases run beside it.
pub fn case() -> String {
    CASE.with_borrow(Clone::clone)
}

type Work<'a> = Box<dyn FnOnce(&str, &mut Report) + Send + 'a>;

/// One case, or several that depend on each other.
pub struct Job<'a> {
    name: String,
    work: Work<'a>,
}

impl<'a> Job<'a> {
    /// A case. The text that it returns is added to its name.
    pub fn new(name: impl Into<String>, work: impl FnOnce() -> anyhow::Result<String> + Send + 'a) -> Self {
        Job::rows(name, move |name, report| {
            let started = Instant::now();
            let (name, outcome) = match work() {
                Ok(told) if told.is_empty() => (name.to_owned(), Outcome::Pass),
                Ok(told) => (format!("{name}: {told}"), Outcome::Pass),
                Err(error) => (name.to_owned(), Outcome::from(Err(error))),
            };
            report.add(name, outcome, started.elapsed());
        })
    }

    /// A case without a result text.
    pub fn plain(name: impl Into<String>, work: impl FnOnce() -> anyhow::Result<()> + Send + 'a) -> Self {
        Job::new(name, || work().map(|()| String::new()))
    }

    /// Cases that depend on each other. They report their own rows.
    pub fn rows(name: impl Into<String>, work: impl FnOnce(&str, &mut Report) + Send + 'a) -> Self {
        Job { name: name.into(), work: Box::new(work) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Runs the cases, `workers` at a time, and reports them in their order. A case is created when a worker is free for
/// it.
pub fn run<'a>(
    report: &mut Report,
    workers: usize,
    jobs: impl Iterator<Item = anyhow::Result<Job<'a>>>,
) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel::<(usize, Job<'a>)>(0);
        let receive = std::sync::Arc::new(Mutex::new(receive));
        let (done, results) = channel::<(usize, Vec<Row>)>();
        for _ in 0..workers {
            let (receive, done) = (std::sync::Arc::clone(&receive), done.clone());
            scope.spawn(move || {
                while let Some((number, job)) = receive.lock().ok().and_then(|receive| receive.recv().ok()) {
                    let _ = done.send((number, work(job)));
                }
            });
        }
        // From here on only the workers' ends count.
        drop((receive, done));
        for (number, job) in jobs.enumerate() {
            if send.send((number, job?)).is_err() {
                break;
            }
        }
        drop(send);
        let mut all: Vec<_> = results.into_iter().collect();
        all.sort_by_key(|(number, _)| *number);
        report.rows.extend(all.into_iter().flat_map(|(_, rows)| rows));
        Ok(())
    })
}

/// The caller's thread prints the rows at once.
fn work(job: Job<'_>) -> Vec<Row> {
    CASE.set(job.name.clone());
    let mut part = Report::new(&job.name);
    (job.work)(&job.name, &mut part);
    part.rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::NotHere;

    #[test]
    fn every_case_is_reported_once() {
        let mut report = Report::new("test");
        let jobs = (0..20).map(|number| {
            Ok(Job::new(format!("case {number}"), move || {
                anyhow::ensure!(number != 7, "seven");
                anyhow::ensure!(number != 8, NotHere("eight".to_owned()));
                Ok(String::new())
            }))
        });
        run(&mut report, 4, jobs).unwrap();
        assert_eq!((report.passed(), report.failed(), report.rows.len()), (18, 1, 20));
        assert!(report.rows.iter().enumerate().all(|(number, row)| row.name == format!("case {number}")));
    }

    #[test]
    fn cases_that_depend_on_each_other_have_a_row_each() {
        let mut report = Report::new("test");
        let job = Job::rows("rounds", |name, report| {
            assert_eq!(case(), name);
            report.case("one", || Ok(()));
            report.case("two", || anyhow::bail!("no"));
        });
        run(&mut report, 2, [Ok(job)].into_iter()).unwrap();
        assert_eq!((report.passed(), report.failed()), (1, 1));
    }
}
