//! Clients that push and delete at once until the registry is killed, and then check what it promised.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use harness::client::{Request, Target};
use harness::random::Random;
use harness::report::{Outcome, Report};
use harness::server::{Server, ServerOptions};

use crate::pusher::Pusher;

/// The clients, and the random source for everything else in a round.
pub struct Crowd {
    pub pushers: Vec<Pusher>,
    pub random: Random,
}

impl Crowd {
    /// Clients that each push to their own repository and mount from the others.
    pub fn new(clients: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let repos: Vec<String> = (0..clients).map(|number| format!("crash/{number}")).collect();
        let pusher = |number: u32| {
            let own = &repos[number as usize];
            let others = repos.iter().filter(|name| *name != own).cloned().collect();
            Pusher::new(number, own.clone(), others, random.fork())
        };
        let pushers = (0..clients).map(pusher).collect();
        Crowd { pushers, random }
    }

    /// The duration of the next life.
    pub fn life(&mut self, lives: Range<Duration>) -> Duration {
        let [start, end] = [lives.start, lives.end].map(|time| time.as_micros() as u64);
        Duration::from_micros(start + self.random.next() % (end - start))
    }

    /// Runs the clients and `beside` until `kill -9` ends the registry. Returns the options to start it again.
    pub fn work(
        &mut self,
        server: Server,
        life: Duration,
        beside: impl FnOnce() -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<ServerOptions> {
        let dying = AtomicBool::new(false);
        let target = server.target();
        std::thread::scope(|scope| {
            let worker = |pusher| {
                let (target, dying) = (&target, &dying);
                scope.spawn(move || Pusher::work(pusher, target, &|| dying.load(Ordering::SeqCst)))
            };
            let workers: Vec<_> = self.pushers.iter_mut().map(worker).collect();
            let beside = scope.spawn(beside);
            std::thread::sleep(life);
            dying.store(true, Ordering::SeqCst);
            let options = server.kill();
            for worker in workers.into_iter().chain([beside]) {
                worker.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            options
        })
    }

    /// Checks every promise. With `all`, every content is read whole.
    pub fn verify(&mut self, target: &Target, all: bool) -> anyhow::Result<()> {
        std::thread::scope(|scope| {
            let checks: Vec<_> =
                self.pushers.iter_mut().map(|pusher| scope.spawn(|| pusher.verify(target, all))).collect();
            checks.into_iter().try_for_each(|check| check.join().map_err(|_| anyhow!("a client panicked"))?)
        })
    }

    /// Deletes every manifest, so that nothing is referenced.
    pub fn delete_all(&self, target: &Target) -> anyhow::Result<()> {
        for pusher in &self.pushers {
            for digest in pusher.held() {
                let path = format!("/v2/{}/manifests/{digest}", pusher.repo);
                target.send(&Request::new("DELETE", path))?.expect(202)?;
            }
        }
        Ok(())
    }

    /// Number of pushes and deletes so far.
    pub fn count(&self) -> (u64, u64) {
        (self.pushers.iter().map(|p| p.pushes).sum(), self.pushers.iter().map(|p| p.deletes).sum())
    }
}

/// A row for each round until one fails. Returns the server that the last one left.
pub fn rounds(
    report: &mut Report,
    name: &str,
    count: usize,
    begin: impl FnOnce() -> anyhow::Result<Server>,
    mut round: impl FnMut(usize, Server) -> anyhow::Result<(Server, String)>,
) -> Option<Server> {
    let started = Instant::now();
    let mut server = match begin() {
        Ok(server) => server,
        Err(error) => {
            report.add(name, Outcome::Fail(format!("{error:#}")), started.elapsed());
            return None;
        }
    };
    for number in 0..count {
        let started = Instant::now();
        match round(number, server) {
            Ok((next, summary)) => {
                report.add(format!("{name}: {number}: {summary}"), Outcome::Pass, started.elapsed());
                server = next;
            }
            Err(error) => {
                let why = format!("{error:#}");
                report.add(format!("{name}: {number}"), Outcome::Fail(why), started.elapsed());
                return None;
            }
        }
    }
    Some(server)
}
