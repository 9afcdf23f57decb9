//! Pushes and pulls streams of noise, so that neither side needs the whole in memory.

use std::io::{Read, Write};

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Response};
use harness::noise::{Comparison, Noise};
use harness::site::{Repo, local_path};

/// Pushes noise in one PUT with its length.
pub fn put(repo: &Repo, label: &str, length: u64) -> anyhow::Result<Response> {
    let session = repo.begin()?;
    let request = session.put(&Noise::new(label, length).digest());
    let mut connection = Connection::open(&repo.target)?;
    connection.write_streamed(&request, length, &mut Noise::new(label, length))?;
    connection.read(false)
}

/// Pushes noise in one PATCH of unknown length, and closes it.
pub fn stream(repo: &Repo, label: &str, length: u64) -> anyhow::Result<Response> {
    let digest = Noise::new(label, length).digest();
    let mut session = repo.begin()?;
    let mut connection = Connection::open(&repo.target)?;
    write_chunked(&connection, &session.location, &repo.target.authority(), &mut Noise::new(label, length))?;
    let answer = connection.read(false)?;
    answer.expect(202).context("the streamed PATCH")?;
    session.location = local_path(&repo.target, answer.need("Location")?)?;
    session.close(&digest)
}

/// Sends a whole PATCH in chunks of 64 KiB.
pub fn write_chunked(connection: &Connection, path: &str, host: &str, body: &mut dyn Read) -> anyhow::Result<()> {
    let mut out = connection.stream();
    let fields = "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked";
    write!(out, "PATCH {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n\r\n")?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = body.read(&mut buffer)?;
        write!(out, "{read:x}\r\n")?;
        out.write_all(&buffer[..read])?;
        out.write_all(b"\r\n")?;
        if read == 0 {
            return Ok(());
        }
    }
}

/// Pulls noise, and compares it while it arrives.
pub fn fetch(repo: &Repo, digest: &str, expected: Noise) -> anyhow::Result<()> {
    let mut connection = Connection::open(&repo.target)?;
    connection.write(&Request::get(repo.blob(digest)))?;
    let (status, headers) = connection.read_head()?;
    let response = connection.response(status, headers);
    response.expect(200)?;
    let mut comparison = Comparison::with(expected);
    connection.copy_body(&response, &mut comparison)?;
    ensure!(comparison.is_complete(), "the pull ended early");
    Ok(())
}
