//! One life of a server under clients that push and delete at once, ended by `kill -9`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use harness::server::{Server, ServerOptions};

use super::pusher::Pusher;

/// Lets the clients work for so long, with something else beside, and gives what the server can be started with again.
pub fn until_killed(
    server: Server,
    pushers: &mut [Pusher],
    life: Duration,
    beside: impl FnOnce() -> anyhow::Result<()> + Send,
) -> anyhow::Result<ServerOptions> {
    let dying = AtomicBool::new(false);
    let target = server.target();
    std::thread::scope(|scope| {
        let workers: Vec<_> = pushers
            .iter_mut()
            .map(|pusher| {
                let (target, dying) = (&target, &dying);
                scope.spawn(move || pusher.work(target, &|| dying.load(Ordering::SeqCst)))
            })
            .collect();
        let beside = scope.spawn(beside);
        std::thread::sleep(life);
        dying.store(true, Ordering::SeqCst);
        let options = server.kill();
        for worker in workers.into_iter().chain([beside]) {
            worker.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        options
    })
}
