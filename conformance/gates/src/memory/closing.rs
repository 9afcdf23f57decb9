//! The end of a large push on a slow disk. containerd gives up on an answer after 30 s, so write-back must run while
//! the body arrives.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::Connection;
use harness::gate::note;
use harness::noise::Noise;
use harness::server::Server;
use harness::site::{Repo, Site, local_path};

use super::MIB;
use crate::case::Bench;
use crate::control_group::Group;
use crate::place::Mount;
use crate::streamed::write_chunked;

/// Longest time from the last byte of the body to the answer.
const LIMIT: Duration = Duration::from_secs(10);

/// A server on a disk with this limit of bytes per second. If the whole push were still in memory at the body's end,
/// its answer would take 16 s or more.
fn slow(bench: &Bench) -> anyhow::Result<(Mount, Group, Server, Repo, u64)> {
    let length = bench.scale.pick(256, 1024, 10 * 1024) * MIB;
    let rate = bench.scale.pick(16, 64, 256) * MIB;
    let disk = Mount::ext4(bench.mounts()?, &bench.folder.join("disk"), length / MIB + 512)?;
    let mut options = bench.server()?;
    options.data = disk.path.join("data");
    let group = Group::writing(&disk.device()?, rate)?;
    let server = options.start()?;
    group.add(server.pid())?;
    let repo = Site::new(server.target(), "closing").repo("a");
    Ok((disk, group, server, repo, length))
}

pub fn put(bench: &Bench) -> anyhow::Result<()> {
    let (_disk, _group, _server, repo, length) = slow(bench)?;
    let session = repo.begin()?;
    let request = session.put(&Noise::new("slow", length).digest());
    let mut connection = Connection::open(&repo.target)?;
    let started = Instant::now();
    connection.write_streamed(&request, length, &mut Noise::new("slow", length))?;
    let sent = Instant::now();
    connection.read(false)?.expect(201).context("the closing PUT")?;
    in_time("the PUT", started, sent, length)
}

pub fn stream(bench: &Bench) -> anyhow::Result<()> {
    let (_disk, _group, _server, repo, length) = slow(bench)?;
    let digest = Noise::new("slow", length).digest();
    let mut session = repo.begin()?;
    let mut connection = Connection::open(&repo.target)?;
    let started = Instant::now();
    write_chunked(&connection, &session.location, &repo.target.authority(), &mut Noise::new("slow", length))?;
    let sent = Instant::now();
    let answer = connection.read(false)?;
    answer.expect(202).context("the streamed PATCH")?;
    in_time("the PATCH", started, sent, length)?;
    session.location = local_path(&repo.target, answer.need("Location")?)?;
    let sent = Instant::now();
    session.close(&digest)?.expect(201).context("the closing PUT")?;
    in_time("the closing PUT", started, sent, length)
}

fn in_time(what: &str, started: Instant, sent: Instant, length: u64) -> anyhow::Result<()> {
    let (body, answer) = (sent - started, sent.elapsed());
    let rate = length as f64 / MIB as f64 / (body + answer).as_secs_f64();
    note(&format!(
        "{what}: body {:.1} s, answer after it {:.2} s, {rate:.0} MiB/s",
        body.as_secs_f64(),
        answer.as_secs_f64()
    ));
    ensure!(answer < LIMIT, "{what} is answered {:.1} s after its last byte", answer.as_secs_f64());
    Ok(())
}
