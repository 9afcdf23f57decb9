//! A stopped node with content of every kind, to be damaged in copies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use harness::manifest::{LAYER, descriptor, image, index};
use harness::noise::noise;
use harness::operate::{Ended, operate};
use harness::server::{Server, ServerOptions};
use harness::site::{ALGORITHMS, Repo, STYLES, digest};
use serde_json::json;

use crate::answers::Answers;

const REPOS: usize = 3;
const IMAGES: usize = 8;
const STOP: Duration = Duration::from_secs(30);
const START: Duration = Duration::from_mins(1);

/// The tag that one batch of the journal sets alone, in the middle of all.
pub const VICTIM: &str = "victim-of-rot";
/// The tag that the last batch sets alone.
pub const LAST: &str = "last-of-all";

/// The node and its answers.
#[derive(Debug)]
pub struct Fixture {
    pub binary: PathBuf,
    folder: tempfile::TempDir,
    paths: BTreeSet<String>,
    /// All answers before the last batch was written.
    pub before_last: Answers,
    pub answers: Answers,
    /// Used bytes of the journal's only segment before and after the last batch.
    pub used: [usize; 2],
    pub repo: String,
}

/// A copy of the node, for one kind of damage.
#[derive(Debug)]
pub struct Copy<'a> {
    fixture: &'a Fixture,
    folder: tempfile::TempDir,
    options: ServerOptions,
}

impl Fixture {
    pub fn make(binary: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = ServerOptions::new(binary, folder.path())?;
        let server = options.start()?;
        let mut paths = BTreeSet::from(["GET /v2/_catalog".to_owned()]);
        let repos: Vec<Repo> =
            (0..REPOS).map(|number| Repo { target: server.target(), name: format!("{name}/{number}") }).collect();
        for repo in &repos {
            fill(repo, &mut paths)?;
        }
        let repo = &repos[0];
        paths.extend([VICTIM, LAST].map(|tag| format!("GET {}", repo.manifest(tag))));
        let before_last = Answers::ask(&server.target(), &paths)?;
        let before = used(&options.data)?;
        let image = repo.get(&repo.manifest("t0"))?.expect(200)?.body.clone();
        repo.put_as(&repo.manifest(LAST), harness::manifest::IMAGE, &image)?.expect(201)?;
        let answers = Answers::ask(&server.target(), &paths)?;
        let after = used(&options.data)?;
        ensure!(before < after, "the last push is not at the end of the journal");
        let repo = repo.name.clone();
        server.terminate(STOP)?;
        // Once more, so that the index was reopened and has sled's snapshots.
        options.start()?.terminate(STOP)?;
        Ok(Fixture { binary: binary.to_owned(), folder, paths, before_last, answers, used: [before, after], repo })
    }

    pub fn copy(&self) -> anyhow::Result<Copy<'_>> {
        let folder = tempfile::tempdir()?;
        copy_tree(&self.data(), &folder.path().join("data"))?;
        let options = ServerOptions::new(&self.binary, folder.path())?;
        Ok(Copy { fixture: self, folder, options })
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Copy<'_> {
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    pub fn start(&self) -> anyhow::Result<Server> {
        let mut server = self.options.spawn()?;
        if let Err(error) = server.wait_ready(START) {
            bail!("{error:#}: {}", self.last_word());
        }
        Ok(server)
    }

    fn last_word(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
        log.lines().last().unwrap_or("its log is empty").to_owned()
    }

    pub fn ask(&self) -> anyhow::Result<Answers> {
        Answers::ask(&self.start()?.target(), &self.fixture.paths)
    }

    /// Expects it to start, and to answer as before.
    pub fn is_right(&self) -> anyhow::Result<()> {
        self.fixture.answers.same(&self.ask()?)
    }

    /// Expects it not to start. Returns the reason.
    pub fn refuses(&self) -> anyhow::Result<String> {
        let mut server = self.options.spawn()?;
        ensure!(server.wait_ready(START).is_err(), "it starts");
        let status = server.wait_exit(Duration::from_secs(1)).context("it neither starts nor ends")?;
        ensure!(status.code().is_some_and(|code| code != 0), "it ended with {status}");
        Ok(self.last_word())
    }

    /// Expects it not to start, and to name the command to run.
    pub fn refuses_and_names_fsck(&self) -> anyhow::Result<String> {
        let reason = self.refuses()?;
        ensure!(reason.contains("skyberth fsck"), "the refusal does not name `skyberth fsck`: {reason}");
        Ok(reason)
    }

    pub fn fsck(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        operate(&self.fixture.binary, "fsck", self.data(), arguments)
    }

    /// The only segment of the journal.
    pub fn segment(&self) -> anyhow::Result<PathBuf> {
        segment(self.data())
    }
}

/// The empty file that becomes the next segment.
const NEXT_SEGMENT: &str = "segment-next.tmp";

pub fn segment(data: &Path) -> anyhow::Result<PathBuf> {
    let mut found = None;
    for entry in std::fs::read_dir(data.join("journal"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == NEXT_SEGMENT {
            continue;
        }
        ensure!(name.starts_with("segment-"), "more than a segment: {entry:?}");
        ensure!(found.replace(entry.path()).is_none(), "more than one segment");
    }
    found.context("no segment")
}

/// The offset at which the zeros begin.
fn used(data: &Path) -> anyhow::Result<usize> {
    let bytes = std::fs::read(segment(data)?)?;
    Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1))
}

pub fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status()?;
    ensure!(status.success(), "cp ended with {status}");
    Ok(())
}

fn fill(repo: &Repo, paths: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let mut children: Vec<serde_json::Value> = Vec::new();
    for number in 0..IMAGES {
        let mut layers = Vec::new();
        for part in 0..3 {
            // Large blobs are not verified at every read.
            let length = if part == 2 && number % 4 == 0 { 150_000 } else { 100 + 700 * number };
            let bytes = noise(&format!("{} {number} {part}", repo.name), length);
            let digest = digest(ALGORITHMS[(number + part) % 3], &bytes);
            repo.push_blob_as(STYLES[(number * 3 + part) % STYLES.len()], &digest, &bytes)?.expect(201)?;
            for method in ["GET", "HEAD"] {
                paths.insert(format!("{method} {}", repo.blob(&digest)));
            }
            layers.push(descriptor(LAYER, &digest, length));
        }
        let mut manifest = image(&layers[0], &layers[1..]);
        if number % 3 == 2 {
            manifest =
                manifest.with("subject", children[0].clone()).with("annotations", json!({"n": number.to_string()}));
        }
        children.push(manifest.descriptor());
        let tag = format!("t{number}");
        repo.store(&tag, &manifest)?;
        if number == IMAGES / 2 {
            repo.store(VICTIM, &manifest)?;
        }
        let digest = manifest.digest();
        paths
            .extend([repo.manifest(&tag), repo.manifest(&digest), repo.referrers(&digest)].map(|p| format!("GET {p}")));
    }
    let list = index(&children[..2]);
    repo.store("list", &list)?;
    repo.delete(&repo.manifest("t1"))?.expect(202)?;
    let last = image(&descriptor(LAYER, &digest("sha256", b""), 0), &[]);
    repo.push_blob(b"")?;
    repo.store("gone", &last)?;
    repo.delete(&repo.manifest(&last.digest()))?.expect(202)?;
    paths.extend([repo.manifest("list"), repo.manifest("gone"), repo.tags()].map(|path| format!("GET {path}")));
    paths.insert(format!("GET {}?n=3", repo.tags()));
    let mut session = repo.begin()?;
    session.stream(&noise("open", 1000))?;
    paths.insert(format!("GET {}", session.location));
    Ok(())
}
