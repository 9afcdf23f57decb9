//! The upload sessions of a recording's client: begun, continued, left open, cancelled, closed.

use anyhow::{Context, ensure};
use harness::client::{Request, Response};
use harness::site::{Repo, Style, local_path, octets, sha256, with_query};

use super::lives::Lives;
use super::promise::{Key, SessionPromise, Value};
use super::worker::Worker;

/// Most sessions open at once.
const SESSIONS: usize = 4;

/// The offset of a session as it reports it; `None` if it does not exist.
pub fn offset(repo: &Repo, path: &str) -> anyhow::Result<Option<usize>> {
    let answer = repo.send(&Request::get(path))?;
    if answer.status == 404 {
        return Ok(None);
    }
    let range = answer.expect(204).context("status of an upload")?.need("Range")?.to_owned();
    let end: usize =
        range.strip_prefix("0-").and_then(|end| end.parse().ok()).with_context(|| format!("Range {range}"))?;
    // Zero bytes and one byte look the same. The next request distinguishes them.
    Ok(Some(if end == 0 { 0 } else { end + 1 }))
}

/// Sends the bytes from `from` on.
pub fn send_range(repo: &Repo, path: &str, from: usize, bytes: &[u8]) -> anyhow::Result<Response> {
    let request =
        octets(Request::new("PATCH", path)).header("Content-Range", format!("{from}-{}", from + bytes.len() - 1));
    Ok(repo.send(&request.body(bytes))?.expect(202).context("PATCH of an upload")?.clone())
}

pub fn close(repo: &Repo, path: &str, digest: &str) -> anyhow::Result<Response> {
    repo.send(&octets(Request::new("PUT", with_query(path, &format!("digest={digest}")))))
}

impl Worker {
    /// Begins a session, or performs the next step of an open one.
    pub fn upload_step(&mut self, lives: &Lives, repo: usize) -> anyhow::Result<()> {
        if self.open.len() < SESSIONS && self.random.chance(40) || self.open.is_empty() {
            return self.begin_session(lives, repo);
        }
        let place = self.random.below(self.open.len());
        let session = self.open[place];
        match self.random.below(10) {
            0 => {
                self.open.remove(place);
                self.cancel(lives, session)
            }
            1 => {
                // Left open forever.
                self.open.remove(place);
                Ok(())
            }
            2 | 3 => {
                self.open.remove(place);
                self.close_session(lives, session)
            }
            _ => self.continue_session(lives, session),
        }
    }

    fn repo_of(&self, session: usize) -> Repo {
        let name = &self.promises.sessions[session].repo;
        self.repos.iter().find(|repo| repo.name == *name).unwrap_or(&self.repos[0]).clone()
    }

    fn begin_session(&mut self, lives: &Lives, repo: usize) -> anyhow::Result<()> {
        let site = self.repos[repo].clone();
        let bytes = [self.content(), self.content(), self.content()].concat();
        let answer = lives.insist(|| Ok(site.send(&Request::new("POST", site.uploads()))?.expect(202)?.clone()))?;
        self.note(&[], &answer)?;
        let path = local_path(&site.target, answer.need("Location")?)?;
        let offsets = vec![(0, self.last_answer.clone())];
        let repo = site.name.clone();
        self.promises.sessions.push(SessionPromise { repo, path, bytes, offsets, sent: 0, ending: None, ended: None });
        self.open.push(self.promises.sessions.len() - 1);
        Ok(())
    }

    fn continue_session(&mut self, lives: &Lives, session: usize) -> anyhow::Result<()> {
        let site = self.repo_of(session);
        let left = self.promises.sessions[session].bytes.len() - self.promises.sessions[session].sent;
        if left < 2 {
            return Ok(());
        }
        let goal = self.promises.sessions[session].sent + 2 + self.random.below(left - 1);
        let promise = &mut self.promises.sessions[session];
        let goal = goal.min(promise.bytes.len());
        let mut at = promise.sent;
        promise.sent = goal;
        let promise = promise.clone();
        let mut attempts = 0;
        let answer = lives.insist(|| {
            attempts += 1;
            if attempts > 1 {
                at = offset(&site, &promise.path)?.context("a session is gone after a restart")?;
            }
            // An offset from GET is no promise: bytes that were not acknowledged may be lost again.
            if at >= goal { Ok(None) } else { send_range(&site, &promise.path, at, &promise.bytes[at..goal]).map(Some) }
        })?;
        if let Some(answer) = answer {
            self.note(&[], &answer)?;
            self.promises.sessions[session].offsets.push((goal, self.last_answer.clone()));
        }
        Ok(())
    }

    fn cancel(&mut self, lives: &Lives, session: usize) -> anyhow::Result<()> {
        let site = self.repo_of(session);
        self.promises.sessions[session].ending = Some(self.last_answer.clone());
        let path = self.promises.sessions[session].path.clone();
        let answer = lives.insist(|| {
            let answer = site.delete(&path)?;
            ensure!(matches!(answer.status, 204 | 404), "cancel: {}", answer.status);
            Ok(answer)
        })?;
        self.note(&[], &answer)?;
        self.promises.sessions[session].ended = Some(self.last_answer.clone());
        Ok(())
    }

    fn close_session(&mut self, lives: &Lives, session: usize) -> anyhow::Result<()> {
        let site = self.repo_of(session);
        self.promises.sessions[session].ending = Some(self.last_answer.clone());
        let promise = self.promises.sessions[session].clone();
        let digest = sha256(&promise.bytes);
        let key = Key::Blob { repo: site.name.clone(), digest: digest.clone() };
        self.promises.begin(key.clone(), Value::There);
        let answer = lives.insist(|| {
            let Some(at) = offset(&site, &promise.path)? else {
                // A kill between its publication and its commit removed it, so the whole push is repeated.
                return Ok(site.push_blob_as(Style::Post, &digest, &promise.bytes)?.expect(201)?.clone());
            };
            if at < promise.bytes.len() {
                send_range(&site, &promise.path, at, &promise.bytes[at..])?;
            }
            Ok(close(&site, &promise.path, &digest)?.expect(201)?.clone())
        })?;
        self.remember(digest, promise.bytes.len());
        self.note(&[key], &answer)?;
        self.promises.sessions[session].ended = Some(self.last_answer.clone());
        Ok(())
    }
}
