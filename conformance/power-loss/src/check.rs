//! Starts a server on the remains of a power cut, and checks every promise made before the cut.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use harness::client::{Connection, Request, Response, Target};
use harness::noise::noise;
use harness::operate::operate;
use harness::server::ServerOptions;
use harness::site::{Repo, Style, digest, sha256};

use super::promise::{Cut, Key, Promises, SessionFate, SessionPromise, Value};
use super::uploading::{close, offset, send_range};

/// Longest time for a start, including a rebuild of the index.
const START: Duration = Duration::from_mins(1);

/// What a check found, for the report.
#[derive(Debug, Default)]
pub struct Kept {
    pub acknowledged: usize,
    pub things: usize,
    pub sessions: usize,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Kept { acknowledged, things, sessions } = self;
        write!(out, "{acknowledged} acknowledged changes, {things} asked, {sessions} uploads")
    }
}

/// Starts the server on the data directory in `folder`, and checks every promise.
pub fn check(binary: &Path, folder: &Path, promises: &Promises, cut: &Cut<'_>) -> anyhow::Result<Kept> {
    let options = ServerOptions::new(binary, folder)?;
    let mut server = options.spawn()?;
    if let Err(error) = server.wait_ready(START) {
        let log = std::fs::read_to_string(&options.log).unwrap_or_default();
        bail!("it does not start: {error:#}: {}", log.lines().last().unwrap_or("its log is empty"));
    }
    let target = server.target();
    let mut asker = Asker { target: target.clone(), connection: Connection::open(&target)? };
    let mut kept = Kept { acknowledged: promises.acknowledged(cut), ..Kept::default() };
    for key in promises.keys() {
        asker.holds(key, &promises.allowed(key, cut)).with_context(|| format!("{key:?}"))?;
        kept.things += 1;
    }
    for session in &promises.sessions {
        let fate = session.fate(cut);
        resumes(&target, session, fate).with_context(|| format!("{} owed {fate:?}", session.path))?;
        kept.sessions += usize::from(matches!(fate, SessionFate::Open(_)));
    }
    works(&target).context("a push after the cut")?;
    operate(binary, "fsck", &options.data, &[])?.sound().context("fsck")?;
    Ok(kept)
}

struct Asker {
    target: Target,
    connection: Connection,
}

impl Asker {
    fn get(&mut self, path: &str) -> anyhow::Result<Response> {
        let request = Request::get(path);
        if let Ok(answer) = self.connection.send(&request) {
            return Ok(answer);
        }
        self.connection = Connection::open(&self.target)?;
        self.connection.send(&request)
    }

    fn holds(&mut self, key: &Key, allowed: &BTreeSet<Value>) -> anyhow::Result<()> {
        let (path, wanted) = match key {
            Key::Blob { repo, digest } => (format!("/v2/{repo}/blobs/{digest}"), Some(digest)),
            Key::Manifest { repo, digest } => (format!("/v2/{repo}/manifests/{digest}"), Some(digest)),
            Key::Tag { repo, tag } => (format!("/v2/{repo}/manifests/{tag}"), None),
        };
        let answer = self.get(&path)?;
        let unsure = allowed.contains(&Value::Unsure);
        match (answer.status, wanted) {
            (404, _) => ensure!(unsure || allowed.contains(&Value::Gone), "lost; allowed: {allowed:?}"),
            (200, Some(wanted)) => {
                let algorithm = wanted.split(':').next().unwrap_or_default();
                let found = digest(algorithm, &answer.body);
                ensure!(found == *wanted, "wrong bytes: {found}");
                ensure!(unsure || allowed.contains(&Value::There), "back again; allowed: {allowed:?}");
            }
            (200, None) => {
                let names = Value::Names(sha256(&answer.body));
                ensure!(allowed.contains(&names), "names {names:?}; allowed: {allowed:?}");
            }
            (status, _) => bail!("{status} {}", answer.text()),
        }
        Ok(())
    }
}

/// Expects a session to resume at the offset that GET reports, and to yield the right bytes.
fn resumes(target: &Target, session: &SessionPromise, fate: SessionFate) -> anyhow::Result<()> {
    let repo = Repo { target: target.clone(), name: session.repo.clone() };
    let at = match (offset(&repo, &session.path)?, fate) {
        (None, SessionFate::Ended | SessionFate::Either) => return Ok(()),
        (None, SessionFate::Open(_)) => bail!("lost"),
        (Some(at), SessionFate::Ended) => bail!("back again, at {at}"),
        (Some(at), SessionFate::Open(least)) if at < least => bail!("moved back to {at}"),
        (Some(at), _) => at,
    };
    ensure!(at <= session.bytes.len(), "at {at} of {} bytes", session.bytes.len());
    if at < session.bytes.len() {
        let went_on = send_range(&repo, &session.path, at, &session.bytes[at..]);
        // `0-0` means no byte, or one.
        if at == 0 && session.bytes.len() > 1 && went_on.is_err() {
            send_range(&repo, &session.path, 1, &session.bytes[1..])?;
        } else {
            went_on?;
        }
    }
    let digest = sha256(&session.bytes);
    close(&repo, &session.path, &digest)?.expect(201).context("close")?;
    let answer = repo.get(&repo.blob(&digest))?;
    ensure!(answer.expect(200)?.body == session.bytes, "wrong bytes");
    Ok(())
}

fn works(target: &Target) -> anyhow::Result<()> {
    let repo = Repo { target: target.clone(), name: "after/cut".to_owned() };
    let bytes = noise("after the cut", 5000);
    let digest = sha256(&bytes);
    repo.push_blob_as(Style::Chunks, &digest, &bytes)?.expect(201)?;
    ensure!(repo.get(&repo.blob(&digest))?.expect(200)?.body == bytes, "wrong bytes");
    Ok(())
}
