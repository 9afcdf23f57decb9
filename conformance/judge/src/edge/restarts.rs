//! Rows about the life of a server: rot, expiry, restarts, collection, shutdown (36, 78, 79, 134, 136).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use harness::client::Request;
use harness::expect::{self, Faults};
use harness::partial::{Partial, eventually};
use harness::site::{Repo, Site, Style, sha256, with_query};
use serde_json::json;

use super::own::{Workshop, site};

/// The files below a directory with exactly these bytes.
fn files_holding(folder: &Path, bytes: &[u8]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            found.extend(files_holding(&path, bytes)?);
        } else if std::fs::metadata(&path)?.len() == bytes.len() as u64 && std::fs::read(&path)? == bytes {
            found.push(path);
        }
    }
    Ok(found)
}

pub fn rot_is_never_served(workshop: &Workshop) -> anyhow::Result<()> {
    let server = workshop.start("rot", &[])?;
    let site = site(&server, "36");
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let (small, large) = (site.noise("small", 1000), site.noise("large", 8 << 20));
    let paths = [repo.blob(&repo.push_blob(&small)?), repo.blob(&repo.push_blob(&large)?)];
    let data = server.options.data.clone();
    let options = server.terminate(Duration::from_secs(30))?;
    damage(&data, &manifest.bytes, |bytes| bytes[10] ^= 1)?;
    damage(&data, &small, |bytes| bytes[500] ^= 1)?;
    damage(&data, &large, |bytes| bytes.truncate(5 << 20))?;
    let _server = options.start().context("start on rotten data")?;
    let mut faults = Faults::default();
    faults.check("manifest", never_wrong(&repo, &repo.manifest("latest"), &manifest.bytes));
    faults.check("small blob", never_wrong(&repo, &paths[0], &small));
    faults.check("large blob, cut short", never_wrong(&repo, &paths[1], &large));
    faults.finish()
}

fn damage(data: &Path, bytes: &[u8], change: impl Fn(&mut Vec<u8>)) -> anyhow::Result<()> {
    let files = files_holding(data, bytes)?;
    ensure!(!files.is_empty(), "no file holds the {} bytes that were pushed", bytes.len());
    for file in files {
        let mut damaged = bytes.to_vec();
        change(&mut damaged);
        // Content files are read-only. A careless restore leaves a new file with that name.
        std::fs::remove_file(&file)?;
        std::fs::write(&file, damaged)?;
    }
    Ok(())
}

/// Expects the right bytes, a 5xx, or a cut connection; never other bytes, and never "does not exist".
fn never_wrong(repo: &Repo, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let Ok(answer) = repo.get(path) else { return Ok(()) };
    match answer.status {
        200 => ensure!(answer.body == bytes, "damaged bytes came as a clean 200"),
        500..=599 => {}
        status => bail!("damaged content is answered {status}"),
    }
    Ok(())
}

pub fn abandoned_sessions_expire(workshop: &Workshop) -> anyhow::Result<()> {
    let settings = [("SKYBERTH_GC_UPLOAD_EXPIRY", "3s"), ("SKYBERTH_GC_INTERVAL", "1s"), ("SKYBERTH_GC_GRACE", "1s")];
    let server = workshop.start("expiry", &settings)?;
    let site = site(&server, "78");
    let repo = site.repo("a");
    let bytes = site.noise("abandoned", 1 << 20);
    let mut abandoned = repo.begin()?;
    abandoned.stream(&bytes)?;
    let mut active = repo.begin()?;
    ensure!(!files_holding(&server.options.data, &bytes)?.is_empty(), "no staging file holds what was uploaded");
    let started = Instant::now();
    let mut held = Vec::new();
    while started.elapsed() < Duration::from_secs(8) {
        active.chunk(held.len(), b"x").context("an active session")?;
        held.push(b'x');
        std::thread::sleep(Duration::from_millis(500));
    }
    active.close(&sha256(&held))?.expect(201).context("an active session expired")?;
    eventually(Duration::from_secs(20), || abandoned.gone()).context("an abandoned session")?;
    eventually(Duration::from_secs(5), || {
        let left = files_holding(&server.options.data, &bytes)?;
        ensure!(left.is_empty(), "staging not freed: {} files", left.len());
        Ok(())
    })
}

pub fn uploads_survive_a_restart(workshop: &Workshop) -> anyhow::Result<()> {
    let server = workshop.start("restart", &[])?;
    let site = site(&server, "79");
    let repo = site.repo("a");
    let bytes = site.noise("blob", 3 << 20);
    let mut session = repo.begin()?;
    session.chunk(0, &bytes[..1 << 20])?;
    let server = server.kill()?.start()?;
    session.holds(1 << 20).context("after kill -9")?;
    session.stream(&bytes[1 << 20..2 << 20])?;
    let _server = server.terminate(Duration::from_secs(30))?.start()?;
    session.holds(2 << 20).context("after SIGTERM")?;
    let answer = session.close_range(&sha256(&bytes), 2 << 20, &bytes[2 << 20..])?;
    expect::pushed(&repo, &answer, &sha256(&bytes), &bytes)
}

pub fn collection_disturbs_nobody(workshop: &Workshop) -> anyhow::Result<()> {
    const LENGTH: Duration = Duration::from_secs(12);
    let settings = [("SKYBERTH_GC_GRACE", "2s"), ("SKYBERTH_GC_INTERVAL", "1s")];
    let server = workshop.start("collection", &settings)?;
    let site = site(&server, "134");
    let standing = site.repo("standing");
    let image = standing.push_image("latest")?;
    // An unreferenced blob that no client asks for. If it stays, no collection ran, and this row shows nothing.
    let garbage = standing.push_blob(&site.noise("garbage", 1000))?;
    let started = Instant::now();
    let mut round = 0;
    while started.elapsed() < LENGTH {
        busy_round(&site, &standing, &image, round).with_context(|| format!("round {round}"))?;
        round += 1;
    }
    expect::absent(&standing, &standing.blob(&garbage)).context("no collection ran")
}

/// Pushes, pulls, mounts and attaches, with a pause in which a collection can run.
fn busy_round(site: &Site, standing: &Repo, image: &harness::manifest::Manifest, round: usize) -> anyhow::Result<()> {
    let repo = site.repo(&format!("round{round}"));
    let manifest = repo.image("one")?;
    std::thread::sleep(Duration::from_millis(200));
    repo.store("one", &manifest)?;
    let layer = image.body()["layers"][0]["digest"].as_str().unwrap_or("").to_owned();
    let path = with_query(&repo.uploads(), &format!("mount={layer}&from={}", standing.name));
    repo.send(&Request::new("POST", path))?.expect(201).context("mount")?;
    repo.attach("application/vnd.example.edge", &manifest.descriptor(), &json!({})).context("attach")?;
    for (repo, manifest) in [(&repo, &manifest), (standing, image)] {
        for part in [&manifest.body()["config"], &manifest.body()["layers"][0]] {
            let digest = part["digest"].as_str().unwrap_or("");
            expect::status(&repo.get(&repo.blob(digest))?, &[200]).context("pull")?;
        }
        expect::pulled(repo, &repo.manifest(&manifest.digest()), &manifest.digest(), &manifest.bytes)?;
    }
    Ok(())
}

pub fn shutdown_keeps_what_is_under_way(workshop: &Workshop) -> anyhow::Result<()> {
    let server = workshop.start("shutdown", &[])?;
    let target = server.target();
    let site = site(&server, "136");
    let repo = site.repo("a");
    let bytes = site.noise("blob", 2000);
    let mut idle = repo.begin()?;
    idle.stream(&bytes[..1000])?;
    let put = repo.begin()?.put(&sha256(&bytes)).path;
    let mut running = Partial::sized(&target, "PUT", &put, "", 2000, &bytes[..1000])?;
    std::thread::sleep(Duration::from_millis(200));
    let stopping = std::thread::spawn(move || server.terminate(Duration::from_mins(1)));
    std::thread::sleep(Duration::from_millis(700));
    let late = target.send(&Request::get("/v2/"));
    let mut faults = Faults::default();
    if let Ok(answer) = late {
        faults.check("a new request", expect::status(&answer, &[503]));
        faults.check("a new request", expect::header(&answer, "Connection", "close"));
    }
    let finished = running.more(&bytes[1000..]).and_then(|()| running.answer());
    let options = stopping.join().map_err(|_| anyhow!("the stopping thread died"))??;
    let _server = options.start()?;
    // It finished before the end, or can be pushed again. After an answered 201 it must be there.
    if let Ok(answer) = finished {
        faults.check("the upload under way", expect::status(&answer, &[201, 503]));
        if answer.status == 201 {
            faults.check(
                "the upload under way",
                expect::pulled(&repo, &repo.blob(&sha256(&bytes)), &sha256(&bytes), &bytes),
            );
        }
    } else {
        let again = repo.push_blob_as(Style::PostPut, &sha256(&bytes), &bytes)?;
        faults.check("pushed again", expect::status(&again, &[201]));
    }
    faults.check("the session that waited", idle.holds(1000));
    faults.finish()
}
