//! A server with content that hostile requests must not change.

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Target};
use harness::manifest::Manifest;
use harness::server::{Server, ServerOptions};
use harness::site::{Repo, Session, Site, sha256};

/// A running server, its content, and its earlier state.
#[derive(Debug)]
pub struct Victim {
    server: Server,
    pub repo: Repo,
    pub manifest: Manifest,
    pub blob: String,
    pub session: Session,
    before: Vec<String>,
}

impl Victim {
    pub fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        let server = options.start()?;
        let repo = Site::new(server.target(), "hostile").repo("a");
        let manifest = repo.push_image("latest")?;
        let blob = repo.push_blob(b"a blob of the victim")?;
        let mut session = repo.begin()?;
        session.chunk(0, b"0123456789")?;
        let mut victim = Victim { server, repo, manifest, blob, session, before: Vec::new() };
        victim.before = victim.look()?;
        Ok(victim)
    }

    pub fn target(&self) -> Target {
        self.server.target()
    }

    /// Everything that clients can see, and the number of the last change.
    fn look(&self) -> anyhow::Result<Vec<String>> {
        let digest = self.manifest.digest();
        let paths = [
            self.repo.tags(),
            self.repo.manifest("latest"),
            self.repo.manifest(&digest),
            self.repo.blob(&self.blob),
            self.repo.referrers(&digest),
            self.session.location.clone(),
            "/v2/_catalog".to_owned(),
            "/readyz".to_owned(),
        ];
        let mut connection = Connection::open(&self.target()).context("the server is gone")?;
        let mut seen = Vec::new();
        for path in paths {
            let answer = connection.send(&Request::get(path.clone())).context("the server does not answer")?;
            let (range, kind) = (answer.header("Range").unwrap_or(""), answer.header("Content-Type").unwrap_or(""));
            let body = if path == "/readyz" { answer.text() } else { sha256(&answer.body) };
            seen.push(format!("{path}: {} {range} {kind} {body}", answer.status));
        }
        Ok(seen)
    }

    /// Fails if the state differs from the start.
    pub fn unchanged(&self) -> anyhow::Result<()> {
        let after = self.look()?;
        for (old, new) in self.before.iter().zip(&after) {
            ensure!(old == new, "the state changed: {old:?} became {new:?}");
        }
        Ok(())
    }

    /// Stops the server by SIGTERM. If its state is damaged, it may not stop, or stop with an error.
    pub fn end(self) -> anyhow::Result<()> {
        let log = self.server.options.log.clone();
        self.server.terminate(std::time::Duration::from_secs(40))?;
        let said = std::fs::read_to_string(log)?;
        ensure!(!said.contains("panicked"), "the server's log tells of a panic");
        Ok(())
    }
}
