//! Transfers that are large, many, or waiting.

use anyhow::{Context, anyhow, ensure};
use harness::client::{Connection, Request};
use harness::noise::Noise;
use harness::server::Server;
use harness::site::{Repo, Site, octets};
use serde_json::json;

use super::{ALLOWANCE, MIB, fresh, within};
use crate::case::Bench;
use crate::streamed::{fetch, put, stream};

const PARALLEL: usize = 64;

fn large(bench: &Bench) -> u64 {
    bench.scale.pick(256, 1024, 4096) * MIB
}

fn repo(server: &Server) -> Repo {
    Site::new(server.target(), "memory").repo("a")
}

/// Runs `work` this many times at once, each with its number. Returns the first error.
fn at_once(count: usize, work: impl Fn(usize) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count)
            .map(|number| {
                scope.spawn({
                    let work = &work;
                    move || work(number)
                })
            })
            .collect();
        running.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a client's thread died"))))
    })
}

pub fn push_put(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.start()?;
    let repo = repo(&server);
    within(&server, ALLOWANCE, || put(&repo, "large", large(bench))?.expect(201).map(drop))
}

pub fn push_stream(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.start()?;
    let repo = repo(&server);
    within(&server, ALLOWANCE, || stream(&repo, "large", large(bench))?.expect(201).map(drop))
}

pub fn pull(bench: &Bench) -> anyhow::Result<()> {
    pulls(bench, 1, large(bench))
}

pub fn parallel_pulls(bench: &Bench) -> anyhow::Result<()> {
    pulls(bench, PARALLEL, bench.scale.pick(16, 64, 256) * MIB)
}

fn pulls(bench: &Bench, count: usize, length: u64) -> anyhow::Result<()> {
    let noise = Noise::new("pulled", length);
    let mut name = String::new();
    let server = fresh(bench, |server| {
        let repo = repo(server);
        name.clone_from(&repo.name);
        put(&repo, "pulled", length)?.expect(201).map(drop)
    })?;
    let repo = Repo { target: server.target(), name };
    let digest = noise.clone().digest();
    within(&server, ALLOWANCE, || at_once(count, |_| fetch(&repo, &digest, noise.clone())))
}

pub fn parallel_pushes(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.start()?;
    let repo = repo(&server);
    let length = bench.scale.pick(4, 16, 64) * MIB;
    within(&server, ALLOWANCE, || {
        at_once(PARALLEL, |number| {
            let (label, push) = (format!("pushed {number}"), if number % 2 == 0 { put } else { stream });
            push(&repo, &label, length)?.expect(201).map(drop)
        })
    })?;
    let labels = (0..PARALLEL).step_by(9).map(|number| Noise::new(&format!("pushed {number}"), length));
    labels.into_iter().try_for_each(|noise| fetch(&repo, &noise.clone().digest(), noise))
}

/// A manifest must be in memory to be parsed, and perhaps once more for its result. That growth is limited.
pub fn manifests(bench: &Bench) -> anyhow::Result<()> {
    const COUNT: usize = 16;
    const SIZE: usize = 4 << 20;
    let server = bench.server()?.start()?;
    let repo = repo(&server);
    let base = repo.image("base")?;
    let empty = base.with("annotations", json!({"pad": "00"})).bytes.len();
    let allowance = ALLOWANCE + 2 * (COUNT * SIZE) as u64;
    within(&server, allowance, || {
        at_once(COUNT, |number| {
            let pad = format!("{number:02}{}", "x".repeat(SIZE - empty));
            let manifest = base.with("annotations", json!({"pad": pad}));
            ensure!(manifest.bytes.len() == SIZE, "the manifest has {} bytes", manifest.bytes.len());
            // One client gets a share of the memory for manifests. Like others, this one repeats a push that waited in
            // vain.
            let mut pushed = repo.put(&format!("v{number}"), &manifest)?;
            for _ in 0..5 {
                if pushed.status == 429 {
                    pushed = repo.put(&format!("v{number}"), &manifest)?;
                }
            }
            pushed.expect(201)?;
            let pulled = repo.get(&repo.manifest(&format!("v{number}")))?;
            ensure!(pulled.body == manifest.bytes, "manifest {number} came back changed");
            Ok(())
        })
    })
}

pub fn idle_connections(bench: &Bench) -> anyhow::Result<()> {
    const COUNT: usize = 1000;
    // One address may hold half of the connections, a trusted proxy all of them.
    let server = bench
        .server()?
        .env("SKYBERTH_SERVER_TRUSTED_PROXIES", "127.0.0.1")
        .env("SKYBERTH_AUTH_ANONYMOUS", "all")
        .start()?;
    let repo = repo(&server);
    within(&server, ALLOWANCE, || {
        let mut all = Vec::with_capacity(COUNT);
        for number in 0..COUNT {
            let mut connection = Connection::open(&repo.target).with_context(|| format!("connection {number}"))?;
            connection.send(&Request::get("/v2/"))?.expect(200)?;
            all.push(connection);
        }
        // All of them are open, and the server can accept another push.
        repo.send(&octets(Request::new("POST", repo.uploads())))?.expect(202)?;
        all.iter_mut().try_for_each(|one| one.send(&Request::get("/v2/"))?.expect(200).map(drop))
    })
}
