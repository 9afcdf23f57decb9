//! Rot and loss of content files: the error names the content, wrong bytes are never served, and a push restores it.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use harness::client::Response;
use harness::jobs::Job;
use harness::manifest::IMAGE;
use harness::noise::noise;
use harness::site::{Repo, Style, digest};

use super::damage::{cut, files, flip};
use super::fixture::{Copy, Fixture};

/// A kind of content whose file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Small,
    Large,
    Manifest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Rotten,
    Short,
    Empty,
    Missing,
}

pub fn jobs(fixture: &Fixture) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    jobs.push(Job::plain("`fsck` of a sound node exits 0, stopped and running", || {
        let copy = fixture.copy()?;
        copy.fsck(&[])?.sound().context("stopped")?;
        let _server = copy.start()?;
        copy.fsck(&[])?.sound().context("running").map(drop)
    }));
    for kind in [Kind::Small, Kind::Large, Kind::Manifest] {
        for damage in [Damage::Rotten, Damage::Short, Damage::Empty, Damage::Missing] {
            let name = format!("{kind:?} {damage:?}").to_lowercase();
            jobs.push(Job::plain(format!("{name}: {}", answer_expected(kind, damage)), move || {
                asked(fixture, kind, damage)
            }));
            jobs.push(Job::plain(format!("{name}: a push heals it though nobody had asked"), move || {
                pushed(fixture, kind, damage)
            }));
            jobs.push(Job::plain(format!("{name}: fsck finds it, a push heals it"), move || {
                checked(fixture, kind, damage)
            }));
        }
    }
    jobs
}

fn answer_expected(kind: Kind, damage: Damage) -> &'static str {
    match (kind, damage) {
        (_, Damage::Missing) => "GET says 404, a push heals it",
        (Kind::Large, Damage::Rotten) => "GET tells the length (large content is verified by fsck), a push heals it",
        _ => "GET says 500, it is quarantined, a push heals it",
    }
}

struct Thing {
    bytes: Vec<u8>,
    digest: String,
    kind: Kind,
    repo: Repo,
}

impl Thing {
    fn path(&self) -> String {
        match self.kind {
            Kind::Manifest => self.repo.manifest(&self.digest),
            _ => self.repo.blob(&self.digest),
        }
    }

    fn get(&self) -> anyhow::Result<Response> {
        self.repo.get(&self.path())
    }

    fn push(&self) -> anyhow::Result<()> {
        let answer = match self.kind {
            Kind::Manifest => self.repo.put_as(&self.path(), IMAGE, &self.bytes)?,
            _ => self.repo.push_blob_as(Style::Chunks, &self.digest, &self.bytes)?,
        };
        answer.expect(201).context("push").map(drop)
    }

    fn healed(&self, copy: &Copy<'_>) -> anyhow::Result<()> {
        self.push()?;
        let answer = self.get()?;
        ensure!(answer.expect(200).context("after a push")?.body == self.bytes, "wrong bytes after a push");
        copy.fsck(&[])?.sound().context("fsck after a push").map(drop)
    }
}

/// Content of this kind, pushed to a copy of the node, and its file.
fn thing(
    copy: &Copy<'_>,
    fixture: &Fixture,
    kind: Kind,
    target: harness::client::Target,
) -> anyhow::Result<(Thing, PathBuf)> {
    let repo = Repo { target, name: fixture.repo.clone() };
    let bytes = match kind {
        Kind::Small => noise("small and rotten", 5000),
        Kind::Large => noise("large and rotten", 300_000),
        Kind::Manifest => repo.image("rotten")?.bytes,
    };
    let digest = digest("sha256", &bytes);
    let thing = Thing { bytes, digest, kind, repo };
    thing.push()?;
    let hex = thing.digest.split(':').nth(1).context("a digest")?.to_owned();
    let path = copy.data().join("blobs/sha256").join(&hex[..2]).join(&hex);
    ensure!(path.is_file(), "no file {}", path.display());
    Ok((thing, path))
}

fn hurt(path: &std::path::Path, damage: Damage) -> anyhow::Result<()> {
    let length = std::fs::metadata(path)?.len();
    match damage {
        Damage::Rotten => flip(path, length as usize * 4),
        Damage::Short => cut(path, length / 2),
        Damage::Empty => cut(path, 0),
        Damage::Missing => Ok(std::fs::remove_file(path)?),
    }
}

fn asked(fixture: &Fixture, kind: Kind, damage: Damage) -> anyhow::Result<()> {
    let copy = fixture.copy()?;
    let server = copy.start()?;
    let (thing, path) = thing(&copy, fixture, kind, server.target())?;
    hurt(&path, damage)?;
    match (kind, damage) {
        (_, Damage::Missing) => {
            thing.get()?.expect(404)?;
        }
        (Kind::Large, Damage::Rotten) => {
            let answer = thing.get()?;
            ensure!(answer.status == 500 || answer.body.len() == thing.bytes.len(), "{}", answer.status);
        }
        _ => {
            // A cut connection is no answer, and so not a wrong one.
            if let Ok(answer) = thing.get() {
                answer.expect(500)?;
            }
            ensure!(!files(&copy.data().join("quarantine"))?.is_empty() || damage == Damage::Empty, "not quarantined");
            ensure!(!path.exists(), "the damaged file stands where it was");
            thing.get()?.expect(404).context("after it was put aside")?;
        }
    }
    thing.healed(&copy)
}

fn pushed(fixture: &Fixture, kind: Kind, damage: Damage) -> anyhow::Result<()> {
    let copy = fixture.copy()?;
    let server = copy.start()?;
    let (thing, path) = thing(&copy, fixture, kind, server.target())?;
    hurt(&path, damage)?;
    thing.healed(&copy)
}

/// On a stopped node: `fsck` reports its digest with exit code 1, `--repair` quarantines it, and a push restores it.
fn checked(fixture: &Fixture, kind: Kind, damage: Damage) -> anyhow::Result<()> {
    let copy = fixture.copy()?;
    let server = copy.start()?;
    let (mut thing, path) = thing(&copy, fixture, kind, server.target())?;
    drop(server);
    hurt(&path, damage)?;
    let found = copy.fsck(&[])?;
    ensure!(found.with_code(1)?.said.contains(&thing.digest), "fsck does not name it: {}", found.said);
    let repaired = copy.fsck(&["--repair"])?;
    ensure!(matches!(repaired.code, Some(0 | 1)), "fsck --repair: {:?} {}", repaired.code, repaired.said);
    ensure!(!path.exists(), "the damaged file stands where it was");
    let server = copy.start()?;
    thing.repo.target = server.target();
    thing.get()?.expect(404).context("after the repair")?;
    thing.healed(&copy)
}
