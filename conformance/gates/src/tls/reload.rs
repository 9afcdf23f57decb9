//! Certificates that change while the server runs.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Target};
use harness::gate::{note, wait_until};
use harness::noise::noise;
use harness::server::Server;
use harness::site::Site;
use harness::stream::Stream;
use harness::tls;

use super::{Secured, end};
use crate::case::Bench;

/// Longer than the server waits between two looks at the files, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Tells the server to look at its files now.
fn hang_up(server: &Server) -> anyhow::Result<()> {
    let pid = i32::try_from(server.pid())?;
    #[expect(unsafe_code, reason = "std sends no signals")]
    // SAFETY: the pid is that of our own child, which was not waited for yet.
    let result = unsafe { libc::kill(pid, libc::SIGHUP) };
    ensure!(result == 0, "no SIGHUP to {pid}");
    Ok(())
}

/// The certificate that a new client is shown. One that resumed a session of before would be shown none.
fn shown(target: &Target) -> anyhow::Result<Vec<u8>> {
    let config = target.tls.as_ref().map(|config| tls::of_new_client(config));
    let stream = Stream::open(&target.host, target.port, config.as_ref())?;
    (&stream).write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")?;
    stream.certificate().context("no certificate was shown")
}

fn becomes(target: &Target, other_than: &[u8]) -> anyhow::Result<()> {
    let changed = wait_until(PATIENCE, || shown(target).is_ok_and(|now| now != other_than));
    ensure!(changed, "the old certificate is still shown");
    Ok(())
}

pub fn by_itself(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let server = secured.options.start()?;
    let target = server.target();
    let mut old = Connection::open(&target)?;
    old.send(&Request::get("/v2/"))?.expect(200)?;
    let first = shown(&target)?;
    secured.pair.become_like(&secured.authority.sign("second", "IP:127.0.0.1")?)?;
    becomes(&target, &first)?;
    let second = shown(&target)?;
    secured.pair.become_like(&secured.authority.sign("third", "IP:127.0.0.1")?)?;
    hang_up(&server)?;
    becomes(&target, &second)?;
    old.send(&Request::get("/v2/")).context("a connection from before")?.expect(200)?;
    end(server)
}

pub fn bad(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let server = secured.options.start()?;
    let target = server.target();
    let first = shown(&target)?;
    let warns = |text: &str| secured.log().lines().any(|line| line.contains("WARN") && line.contains(text));
    let other = secured.authority.sign("other", "IP:127.0.0.1")?;
    for (content, said) in [
        (std::fs::read(&other.certificate)?, "the key does not belong to the first certificate"),
        (b"nothing".to_vec(), "no certificate in PEM form"),
    ] {
        std::fs::write(&secured.pair.certificate, content)?;
        hang_up(&server)?;
        ensure!(wait_until(PATIENCE, || warns(said)), "nobody is told: {said}");
        ensure!(shown(&target)? == first, "another certificate is shown");
    }
    std::fs::remove_file(&secured.pair.key)?;
    hang_up(&server)?;
    ensure!(wait_until(PATIENCE, || warns("server.key: No such file")), "nobody is told of a file that is gone");
    ensure!(shown(&target)? == first, "another certificate is shown");
    secured.pair.become_like(&other)?;
    becomes(&target, &first)?;
    end(server)
}

/// Clients that pull over new connections and over kept ones, while the certificate changes all the time.
pub fn under_load(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let server = secured.options.start()?;
    let target = server.target();
    let repo = Site::new(target.clone(), "reload").repo("a");
    let content = noise("reload", 1 << 20);
    let path = repo.blob(&repo.push_blob(&content)?);
    let pairs = ["IP:127.0.0.1", "IP:127.0.0.1,DNS:b"]
        .map(|names| secured.authority.sign(&format!("pair{}", names.len()), names));
    let pairs = pairs.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let (over, pulls) = (AtomicBool::new(false), AtomicU64::new(0));
    let client = |keeps: bool| -> anyhow::Result<()> {
        let mut kept = Connection::open(&target)?;
        while !over.load(Ordering::Relaxed) {
            if !keeps {
                kept = Connection::open(&target)?;
            }
            let answer = kept.send(&Request::get(&path)).context("a pull")?;
            ensure!(
                answer.status == 200 && answer.body == content,
                "{} with {} bytes",
                answer.status,
                answer.body.len()
            );
            pulls.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let rounds = bench.scale.pick(10, 25, 200);
    let mut certificates = std::collections::BTreeSet::new();
    std::thread::scope(|scope| {
        let clients = [true, true, false, false].map(|keeps| scope.spawn(move || client(keeps)));
        let changed: anyhow::Result<()> = (0..rounds).try_for_each(|round| {
            let before = shown(&target)?;
            secured.pair.become_like(&pairs[round % 2])?;
            hang_up(&server)?;
            becomes(&target, &before)?;
            certificates.insert(shown(&target)?);
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let pulled =
            clients.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a client died"))?);
        changed.and(pulled)
    })?;
    ensure!(certificates.len() == 2, "{} certificates were shown", certificates.len());
    note(&format!("{rounds} reloads beside {} pulls", pulls.load(Ordering::Relaxed)));
    end(server)
}
