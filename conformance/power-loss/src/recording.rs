//! Runs a limited workload on a server whose system calls are recorded.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::operate::operate;
use harness::random::Random;
use harness::server::{Server, ServerOptions};

use super::bulk;
use super::lives::Lives;
use super::promise::{Key, Promises};
use super::remains::Remains;
use super::trace::{Trace, wrapper};
use super::worker::Worker;

const WORKERS: usize = 4;
/// Longest time for strace to write its last lines.
const PATIENCE: Duration = Duration::from_secs(30);

/// The workload of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Steps of each client in each of the two phases.
    pub steps: usize,
    /// Manifests that each client pushes between the phases. With enough of them the journal compacts.
    pub bulk: usize,
    /// True if the data directory exists, durably, before the server starts, as a volume does.
    pub given: bool,
}

/// What was done, and the promises made for it.
#[derive(Debug)]
pub struct Recording {
    /// Directory that contains the data directory.
    pub root: PathBuf,
    pub plan: Plan,
    pub trace: Trace,
    pub promises: Promises,
    /// What each life left on the disk, in order.
    pub remains: Vec<Remains>,
}

/// Records one run: clients push, the server is killed, collects, and is restarted.
pub fn record(binary: &Path, folder: &Path, seed: u64, plan: Plan) -> anyhow::Result<Recording> {
    let folder = folder.canonicalize()?;
    let root = folder.join("root");
    std::fs::create_dir_all(if plan.given { root.join("data") } else { root.clone() })?;
    let script = folder.join("traced");
    let output = folder.join("trace");
    wrapper(binary, &output, &script)?;
    let mut options = ServerOptions::new(&script, &root)?.env("SKYBERTH_GC_GRACE", "0s");
    options.log = folder.join("server.log");
    let mut run = Run {
        binary: binary.to_owned(),
        root: root.clone(),
        options,
        output,
        lives: Lives::default(),
        pids: Vec::new(),
        remains: Vec::new(),
        random: Random::new(seed),
    };
    let promises = run.all(seed, plan)?;
    let mut trace = Trace::default();
    for pid in run.pids {
        let path = folder.join(format!("trace.{pid}"));
        finished(&path, pid)?;
        let text = BufReader::with_capacity(1 << 20, File::open(&path)?);
        trace.add_life(text).with_context(|| path.display().to_string())?;
        // The file is large, and its content is in memory now.
        std::fs::remove_file(&path)?;
    }
    Ok(Recording { root, plan, trace, promises, remains: run.remains })
}

struct Run {
    binary: PathBuf,
    root: PathBuf,
    options: ServerOptions,
    output: PathBuf,
    lives: Lives,
    pids: Vec<u32>,
    remains: Vec<Remains>,
    random: Random,
}

impl Run {
    fn all(&mut self, seed: u64, plan: Plan) -> anyhow::Result<Promises> {
        let target = self.options.target();
        let mut workers: Vec<Worker> =
            (0..WORKERS).map(|number| Worker::new(number, &target, seed * 100 + number as u64)).collect();
        let server = self.start()?;
        let server = self.phase(&mut workers, plan.steps, server, Stop::Kill)?;
        bulk::push(&mut workers, plan.bulk)?;
        let keys = before(&mut workers);
        // The running server does it, so it is part of the recording.
        operate(&self.binary, "gc", &self.options.data, &[])?.sound().context("collection")?;
        after(&mut workers, &keys)?;
        let stop = if self.random.chance(50) { Stop::Terminate } else { Stop::Kill };
        let server = self.phase(&mut workers, plan.steps, server, stop)?;
        self.stop(server, Stop::Terminate)?;
        let mut promises = Promises::default();
        for worker in workers {
            promises.extend(worker.promises);
        }
        Ok(promises)
    }

    fn start(&mut self) -> anyhow::Result<Server> {
        let server = self.options.start()?;
        self.pids.push(server.pid());
        Ok(server)
    }

    fn stop(&mut self, server: Server, how: Stop) -> anyhow::Result<()> {
        let pid = server.pid();
        match how {
            Stop::Kill => server.kill()?,
            Stop::Terminate => server.terminate(PATIENCE)?,
        };
        finished(&self.output.with_extension(pid.to_string()), pid)?;
        self.remains.push(Remains::of(&self.root)?);
        Ok(())
    }

    /// Runs all workers at once, and ends the server's life in the middle.
    fn phase(&mut self, workers: &mut [Worker], steps: usize, server: Server, how: Stop) -> anyhow::Result<Server> {
        let total = steps * workers.len();
        let moment = total / 4 + self.random.below(total / 2 + 1);
        let done = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let lives = std::mem::take(&mut self.lives);
        let next = std::thread::scope(|scope| {
            for worker in workers.iter_mut() {
                let (lives, done, failed) = (&lives, &done, &failed);
                scope.spawn(move || {
                    for _ in 0..steps {
                        if let Err(error) = worker.step(lives)
                            && let Ok(mut failed) = failed.lock()
                        {
                            *failed = Some(error);
                            done.store(usize::MAX / 2, Ordering::SeqCst);
                            return;
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while done.load(Ordering::SeqCst) < moment {
                std::thread::sleep(Duration::from_millis(1));
            }
            lives.end_one();
            let next = self.stop(server, how).and_then(|()| self.start());
            lives.begin_one();
            next
        })?;
        match failed.into_inner() {
            Ok(None) => Ok(next),
            Ok(Some(error)) => Err(error.context("a client of the recording")),
            Err(_) => anyhow::bail!("a client panicked"),
        }
    }
}

#[derive(Clone, Copy)]
enum Stop {
    Kill,
    Terminate,
}

fn before(workers: &mut [Worker]) -> Vec<Vec<Key>> {
    workers.iter_mut().map(Worker::before_collection).collect()
}

/// An answer after the collection marks its end in the recording.
fn after(workers: &mut [Worker], keys: &[Vec<Key>]) -> anyhow::Result<()> {
    for (worker, keys) in workers.iter_mut().zip(keys) {
        let answer = worker.repos[0].send(&Request::get("/v2/"))?.expect(200)?.clone();
        worker.note(keys, &answer)?;
    }
    Ok(())
}

/// Waits until strace has written everything of an ended process.
fn finished(path: &Path, pid: u32) -> anyhow::Result<()> {
    const TAIL: u64 = 200;
    let deadline = Instant::now() + PATIENCE;
    let pid = pid.to_string();
    // Short process ids are followed by more than one space.
    let is_last = |line: &str| line.strip_prefix(&pid).is_some_and(|rest| rest.trim_start().starts_with("+++ "));
    loop {
        let mut tail = Vec::new();
        if let Ok(mut file) = File::open(path) {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            file.read_to_end(&mut tail)?;
        }
        if tail.ends_with(b"\n") && String::from_utf8_lossy(&tail).lines().any(is_last) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "strace did not end {}", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
