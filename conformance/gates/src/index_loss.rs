//! The index directory is deleted: every answer must stay the same.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use conformance::model::content::Content;
use conformance::model::wire::path_of;
use harness::client::{Connection, Request, Target};
use harness::manifest::{IMAGE, INDEX};
use harness::report::Report;
use harness::scale::Scale;
use harness::server::{Server, ServerOptions};
use harness::site::digest as digest_of;
use serde_json::json;

use super::answers::Answers;

/// Number of clients that fill and query at once.
const CLIENTS: usize = 8;
/// Number of different configs and layers in one repository.
const BLOBS: u32 = 7;

/// Deletes the index directory of a stopped node, and compares all answers.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
}

/// Runs the gate.
pub fn run(args: &Args, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let mut report = Report::new("index-loss");
    let mut sizes = vec![scale.pick((5, 50), (20, 200), (100, 1_000))];
    if scale == Scale::Full {
        sizes.push((100, 100_000));
    }
    for (repos, manifests) in sizes {
        let name = format!("{repos} repositories, {manifests} manifests");
        report.case(name, || lose(&args.binary, repos, manifests));
    }
    report.finish(folder)
}

fn lose(binary: &Path, repos: usize, manifests: usize) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let server = ServerOptions::new(binary, work.path())?.start()?;
    let target = server.target();
    let names: Vec<String> = (0..repos).map(|i| format!("loss/{:02}/r{i}", i % 10)).collect();
    let started = Instant::now();
    let paths = in_parallel(&names, |name| fill(&target, name, manifests / repos))?.concat();
    let filled = started.elapsed();
    let upload = open_upload(&target, &names[0])?;
    let paths =
        [paths, vec!["GET /v2/_catalog?n=10000".to_owned(), "GET /v2/_catalog?n=3".to_owned(), upload]].concat();
    let before = ask(&target, &paths)?;
    ensure!(before.found_anything(), "nothing was there before");
    let (again, plain) = restart(server, false)?;
    let kept = ask(&target, &paths)?;
    before.same(&kept).context("after a plain restart")?;
    let (_server, rebuilt) = restart(again, true)?;
    let after = ask(&target, &paths)?;
    before.same(&after).context("after the loss of the index")?;
    println!(
        "{} answers are the same; filled in {filled:.1?}, started in {plain:.2?}, without an index in {rebuilt:.2?}",
        before.len()
    );
    Ok(())
}

/// Kills and starts the server. Returns the duration of the start.
fn restart(server: Server, without_index: bool) -> anyhow::Result<(Server, Duration)> {
    let options = server.kill()?;
    if without_index {
        std::fs::remove_dir_all(options.data.join("index")).context("delete the index")?;
    }
    let started = Instant::now();
    let server = options.start()?;
    Ok((server, started.elapsed()))
}

/// Fills one repository. Returns the requests whose answers must stay the same.
fn fill(target: &Target, repo: &str, manifests: usize) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::open(target)?;
    let mut paths = vec![format!("GET /v2/{repo}/tags/list"), format!("GET /v2/{repo}/tags/list?n=2&last=t1")];
    let blobs: Vec<Content> = (0..BLOBS).map(|seed| Content::Seeded(seed, 0, 10 + seed * 37)).collect();
    for (at, blob) in blobs.iter().enumerate() {
        let digest = blob.digest(["sha256", "sha512"][at % 2]);
        let path = format!("/v2/{repo}/blobs/uploads/?digest={digest}");
        connection.send(&Request::new("POST", path).body(blob.bytes()))?.expect(201)?;
        paths.push(format!("GET /v2/{repo}/blobs/{digest}"));
    }
    let gone = blobs[6].digest("sha256");
    connection.send(&Request::new("DELETE", format!("/v2/{repo}/blobs/{gone}")))?.expect(202)?;
    let mut last = None;
    for number in 0..manifests {
        let (body, kind) = manifest(number, &blobs, last.as_ref());
        let digest = digest_of("sha256", body.as_bytes());
        let reference = if number % 3 == 0 { digest.clone() } else { format!("t{number}") };
        let request = Request::new("PUT", format!("/v2/{repo}/manifests/{reference}"));
        connection.send(&request.header("Content-Type", kind).body(body.as_bytes()))?.expect(201)?;
        paths.push(format!("GET /v2/{repo}/manifests/{reference}"));
        paths.push(format!("GET /v2/{repo}/manifests/{digest}"));
        if number % 10 == 9 {
            connection.send(&Request::new("DELETE", format!("/v2/{repo}/manifests/{reference}")))?.expect(202)?;
        } else {
            // Few subjects have many referrers.
            if number % 50 == 0 {
                paths.push(format!("GET /v2/{repo}/referrers/{digest}"));
                last = Some((digest, body.len(), kind));
            }
        }
    }
    Ok(paths)
}

type Subject = (String, usize, &'static str);

/// Mostly an image, sometimes with a subject, sometimes an index.
fn manifest(number: usize, blobs: &[Content], subject: Option<&Subject>) -> (String, &'static str) {
    let layer = |at: usize| {
        let blob = &blobs[at % 6];
        json!({ "mediaType": "x/layer", "digest": blob.digest(["sha256", "sha512"][at % 6 % 2]), "size": blob.len() })
    };
    let annotations = json!({ "number": number.to_string() });
    let mut body = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": layer(number),
        "layers": [layer(number + 1)], "annotations": annotations });
    let Some((digest, size, kind)) = subject else { return (body.to_string(), IMAGE) };
    let subject = json!({ "mediaType": kind, "digest": digest, "size": size });
    if number.is_multiple_of(7) {
        let index =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [subject], "annotations": annotations });
        return (index.to_string(), INDEX);
    }
    if number % 4 == 1 {
        body["subject"] = subject;
    }
    (body.to_string(), IMAGE)
}

/// A session with some bytes, which must also survive.
fn open_upload(target: &Target, repo: &str) -> anyhow::Result<String> {
    let mut connection = Connection::open(target)?;
    let answer = connection.send(&Request::new("POST", format!("/v2/{repo}/blobs/uploads/")))?;
    let path = path_of(answer.expect(202)?.need("Location")?).to_owned();
    let answer = connection.send(&Request::new("PATCH", path).body(vec![7; 1000]))?;
    Ok(format!("GET {}", path_of(answer.expect(202)?.need("Location")?)))
}

/// Sends the requests with a few clients at once.
fn ask(target: &Target, paths: &[String]) -> anyhow::Result<Answers> {
    let parts: Vec<&[String]> = paths.chunks(paths.len().div_ceil(CLIENTS)).collect();
    Ok(Answers::merge(in_parallel(&parts, |part| Answers::ask(target, *part))?))
}

/// Processes all items with a few threads. The results keep their order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> anyhow::Result<R> + Sync) -> anyhow::Result<Vec<R>> {
    let size = items.len().div_ceil(CLIENTS).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<anyhow::Result<Vec<R>>>()))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(all)
    })
}
