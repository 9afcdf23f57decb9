//! Uploads interrupted by `kill -9` of the server, and continued where GET says.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::{Connection, Response};
use harness::noise::noise;
use harness::partial::Partial;
use harness::site::{Repo, Session, Site, sha256};

use super::server;
use crate::case::Bench;

/// The first missing offset, by the Range of a session's status. `0-0` means one byte or none. Then this assumes none,
/// and a server that has one refuses the next chunk.
pub fn offset(answer: &Response) -> anyhow::Result<usize> {
    let range = answer.need("Range")?;
    let last: usize = range.strip_prefix("0-").and_then(|last| last.parse().ok()).with_context(|| range.to_owned())?;
    Ok(if last == 0 { 0 } else { last + 1 })
}

pub fn ranged(bench: &Bench) -> anyhow::Result<()> {
    let server = server(bench, &bench.folder.join("data"))?.start()?;
    let repo = Site::new(server.target(), "ranged").repo("a");
    let bytes = noise("ranged", 6 << 20);
    let acknowledged = 2 << 20;
    let mut session = repo.begin()?;
    session.chunk(0, &bytes[..acknowledged])?;
    // A second chunk of 2 MiB, of which only half arrives.
    let fields = format!("Content-Range: {acknowledged}-{}", 2 * acknowledged - 1);
    let sent = acknowledged + (1 << 20);
    let broken =
        Partial::sized(&repo.target, "PATCH", &session.location, &fields, acknowledged, &bytes[acknowledged..sent])?;
    std::thread::sleep(Duration::from_millis(500));
    let _server = server.kill()?.start()?;
    drop(broken);
    resume(&repo, session, &bytes, acknowledged, sent)
}

pub fn streamed(bench: &Bench) -> anyhow::Result<()> {
    // Longer than the 64 MiB after which a stream is synced.
    let (length, sent) = (bench.scale.pick(72, 80, 200) << 20, bench.scale.pick(70, 72, 180) << 20);
    let server = server(bench, &bench.folder.join("data"))?.start()?;
    let repo = Site::new(server.target(), "streamed").repo("a");
    let bytes = noise("streamed", length);
    let session = repo.begin()?;
    let connection = Connection::open(&repo.target)?;
    let mut out = connection.stream();
    write!(
        out,
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\r\n",
        session.location,
        repo.target.authority()
    )?;
    for chunk in bytes[..sent].chunks(64 << 10) {
        write!(out, "{:x}\r\n", chunk.len())?;
        out.write_all(chunk)?;
        out.write_all(b"\r\n")?;
    }
    std::thread::sleep(Duration::from_secs(1));
    let _server = server.kill()?.start()?;
    drop(connection);
    // Nothing was acknowledged, so the server may have kept any part. The offset of GET counts.
    resume(&repo, session, &bytes, 0, sent)
}

/// Continues from the kept bytes, and pulls the whole blob back.
fn resume(repo: &Repo, mut session: Session, bytes: &[u8], acknowledged: usize, sent: usize) -> anyhow::Result<()> {
    let status = session.status()?;
    status.expect(204).context("status of the session after the restart")?;
    let kept = offset(&status)?;
    harness::gate::note(&format!("acknowledged {acknowledged}, sent {sent}, kept {kept}"));
    ensure!((acknowledged..=sent).contains(&kept), "{kept} bytes are kept");
    if kept > 0 {
        let early = session.send(&session.ranged(kept - 1, &bytes[kept - 1..=kept]))?;
        ensure!(early.status == 416 && offset(&early)? == kept, "a chunk before the end: {}", early.status);
    }
    let middle = kept + (bytes.len() - kept) / 2;
    session.chunk(kept, &bytes[kept..middle])?;
    let digest = sha256(bytes);
    session.close_range(&digest, middle, &bytes[middle..])?.expect(201).context("close")?;
    let pulled = repo.get(&repo.blob(&digest))?;
    ensure!(pulled.status == 200 && pulled.body == bytes, "the resumed blob is another one");
    Ok(())
}
