//! The rates of placement and cold pulls, beside curl with as many bytes and the same portal, in the same run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::gate::{GateArgs, note, wait_until};
use harness::noise::Noise;
use harness::program::Program;
use harness::report::{Outcome, Report};
use harness::site::Site;
use harness::status::Backlog;
use harness::surroundings::{COPIES, DOMAINS, PORTALS};

use super::stack::{Portal, Stack};
use super::{MIB, patience};
use crate::bench::contender::{Entry, Kind, TAKEN};
use crate::case::Bench;
use crate::streamed;

/// Bytes of each transfer. Fewer say little.
const LENGTH: u64 = 1024 * MIB as u64;
const ROUNDS: usize = 5;
/// Least rate of placement and cold pulls, relative to curl's.
const LEAST: f64 = 0.7;
const NAMES: [&str; 3] = [
    "rate of placement beside curl",
    "rate of a cold pull beside curl",
    "rate of a cold pull beside nginx as a caching proxy before the portal",
];
/// Recorded without a judgement. A cold pull keeps what it sends, like curl into a file. A portal hashes all that it
/// receives, unlike nginx.
const RECORDED: [(&str, &str); 3] = [
    ("rate of a cold pull beside curl into a file", "curl's"),
    ("rate of uploads to a portal beside nginx", "nginx's"),
    ("rate of downloads from a portal beside nginx", "nginx's"),
];
/// A cold pull occupies three programs at once, curl's own download two. With fewer processors, the ratio shows only
/// how these are shared. The proxy, which occupies as many, then takes the place of curl.
const PROCESSORS: usize = 4;

/// A ratio of seconds, what its numerator is, and the processors needed to judge it.
type Judged = (fn(&Round) -> f64, &'static str, usize);

/// Seconds of each transfer in one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    placed: f64,
    uploaded: f64,
    pulled: f64,
    /// Downloaded through a proxy that keeps what it sends.
    proxied: f64,
    downloaded: f64,
    /// Downloaded by curl into a file.
    saved: f64,
    /// Uploaded to nginx, and synced.
    kept: f64,
    served: f64,
    written: f64,
}

pub fn run(gate: &GateArgs, report: &mut Report, bench: &Bench) {
    let names = || NAMES.into_iter().chain(RECORDED.map(|(name, _)| name));
    if !names().any(|name| gate.wants(name)) {
        return;
    }
    let started = Instant::now();
    let rounds: anyhow::Result<Vec<Round>> = (0..ROUNDS).map(|number| alone(bench, number)).collect();
    let rounds = match rounds {
        Ok(rounds) => rounds,
        Err(error) => return report.add("rates", Outcome::Fail(format!("{error:#}")), started.elapsed()),
    };
    let rate = |of: fn(&Round) -> f64| LENGTH as f64 / MIB as f64 / median(rounds.iter().map(of).collect());
    note(&format!(
        "MiB/s: placement {:.0}, curl up {:.0}, to nginx {:.0}, synced write {:.0}; cold pull {:.0}, curl down {:.0}, \
         through nginx {:.0}, into a file {:.0}, from nginx {:.0}",
        rate(|round| round.placed),
        rate(|round| round.uploaded),
        rate(|round| round.kept),
        rate(|round| round.written),
        rate(|round| round.pulled),
        rate(|round| round.downloaded),
        rate(|round| round.proxied),
        rate(|round| round.saved),
        rate(|round| round.served),
    ));
    let median_of = |ratio: fn(&Round) -> f64| median(rounds.iter().map(ratio).collect());
    let judged: [Judged; 3] = [
        (|round| round.uploaded / round.placed, "curl's", 1),
        (|round| round.downloaded / round.pulled, "curl's", PROCESSORS),
        (|round| round.proxied / round.pulled, "nginx's", 1),
    ];
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, (ratio, whose, needed)) in NAMES.into_iter().zip(judged) {
        let outcome = verdict(median_of(ratio), whose, processors >= needed);
        report.add(name, outcome, started.elapsed());
    }
    let recorded: [fn(&Round) -> f64; 3] = [
        |round| round.saved / round.pulled,
        |round| round.kept / round.uploaded,
        |round| round.served / round.downloaded,
    ];
    for ((name, whose), ratio) in RECORDED.into_iter().zip(recorded) {
        let outcome = Outcome::NotApplicable(format!("recorded only: {:.2} times {whose} rate", median_of(ratio)));
        report.add(name, outcome, started.elapsed());
    }
}

fn verdict(ratio: f64, whose: &str, suits: bool) -> Outcome {
    let found = format!("{ratio:.2} times {whose} rate, {LEAST} are asked for");
    match suits {
        _ if ratio >= LEAST => Outcome::Pass,
        true => Outcome::Fail(found),
        false => Outcome::NotApplicable(format!("{found}, which takes {PROCESSORS} processors")),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A round in a folder of its own, whose some 10 GiB are gone before the next.
fn alone(bench: &Bench, number: usize) -> anyhow::Result<Round> {
    let folder = bench.folder.join(format!("rates-{number}"));
    let found =
        round(&Bench::new(bench.binary, folder.clone(), bench.scale)).with_context(|| format!("round {number}"))?;
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(found)
}

/// Pushes new content to a registry with one portal, without a proxy, for one copy.
fn round(bench: &Bench) -> anyhow::Result<Round> {
    let stack = Stack::new(bench, 1)?;
    let portal = stack.portals[0].url();
    let stack = stack.with(&[(PORTALS, &portal), (DOMAINS, "machine 1"), (COPIES, "1")]);
    let server = stack.start()?;
    let repo = Site::new(server.target(), "rates").repo("a");
    let label = bench.folder.display().to_string();
    streamed::put(&repo, &label, LENGTH)?.expect(201)?;
    let started = Instant::now();
    let done = wait_until_often(patience(bench), || Backlog::of(&repo.target).is_ok_and(|found| found.count == 0));
    ensure!(done, "not placed after {:?}", started.elapsed());
    let placed = started.elapsed().as_secs_f64();
    // Wait for its read-back, which must not slow the others down.
    read_back(&repo.target, LENGTH, patience(bench))?;

    let (file, written) = write(&bench.folder, LENGTH)?;
    let uploading = Instant::now();
    let upload = format!("{portal}/skynet/skyfile?filename=rates");
    let said = curl(&bench.folder)
        .args(["--request", "POST", "--header", "Content-Type: application/octet-stream", "--upload-file"])
        .arg(&file)
        .arg(upload)
        .run()?;
    let uploaded = uploading.elapsed().as_secs_f64();
    let skylink = said.json()?["skylink"].as_str().context("the portal's answer names no skylink")?.to_owned();
    let downloaded = download(&bench.folder, &format!("{portal}/{skylink}"))?;

    let digest = Noise::new(&label, LENGTH).digest();
    // The state after an eviction. If the list of unit roots were also missing, something else would be measured.
    let _server = stack.make_evicted(server, &digest)?;
    let pulled = download(&bench.folder, &format!("http://{}{}", repo.target.authority(), repo.blob(&digest)))?;
    let proxied = through_nginx(&bench.folder, &stack.portals[0], &skylink)?;
    let saved = download_to(&bench.folder, &format!("{portal}/{skylink}"), &bench.folder.join("saved"))?;
    let (kept, served) = beside_nginx(&bench.folder, &file)?;
    Ok(Round { placed, uploaded, pulled, proxied, downloaded, saved, kept, served, written })
}

fn read_back(target: &harness::client::Target, length: u64, limit: Duration) -> anyhow::Result<()> {
    let done = wait_until(limit, || {
        harness::status::Metrics::of(target).is_ok_and(|metrics| metrics.sum(&["read_back_bytes"]) >= length as f64)
    });
    ensure!(done, "not read back after {limit:?}");
    Ok(())
}

/// Like `wait_until`, in steps that are short compared with what is measured.
fn wait_until_often(limit: Duration, mut ask: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if ask() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn curl(folder: &Path) -> Program {
    let quiet = ["--silent", "--show-error", "--fail"];
    Program::new("curl", &folder.join("curl.log")).args(quiet).limit(Duration::from_mins(5))
}

fn download(folder: &Path, url: &str) -> anyhow::Result<f64> {
    download_to(folder, url, Path::new("/dev/null"))
}

fn download_to(folder: &Path, url: &str, file: &Path) -> anyhow::Result<f64> {
    let started = Instant::now();
    curl(folder).arg("--output").arg(file).arg(url).run()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Writes and syncs a file of other bytes, and returns the seconds that this takes.
fn write(folder: &Path, length: u64) -> anyhow::Result<(PathBuf, f64)> {
    let path = folder.join("bytes");
    let label = format!("curl {}", folder.display());
    let started = Instant::now();
    let mut file = File::create(&path)?;
    std::io::copy(&mut Noise::new(&label, length), &mut file)?;
    file.sync_all()?;
    Ok((path, started.elapsed().as_secs_f64()))
}

/// Sends the file to nginx and back: the practical limit for moving bytes. nginx does not sync, so this does.
fn beside_nginx(folder: &Path, file: &Path) -> anyhow::Result<(f64, f64)> {
    let nginx = Entry { name: "nginx", kind: Kind::Nginx }.start(&folder.join("nginx"))?;
    let url = format!("http://{}{TAKEN}bytes", nginx.target.authority());
    let started = Instant::now();
    curl(folder).arg("--upload-file").arg(file).arg(&url).run()?;
    File::open(nginx.served_file(&format!("{TAKEN}bytes")))?.sync_all()?;
    let kept = started.elapsed().as_secs_f64();
    Ok((kept, download(folder, &url)?))
}

/// Downloads through a proxy that has not sent the content before.
fn through_nginx(folder: &Path, portal: &Portal, skylink: &str) -> anyhow::Result<f64> {
    let kind = Kind::CachingProxy(portal.target());
    let proxy = Entry { name: "nginx as a proxy", kind }.start(&folder.join("proxy"))?;
    download(folder, &format!("http://{}/{skylink}", proxy.target.authority()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_slow_fails_where_there_are_processors_enough() {
        assert_eq!(verdict(0.71, "curl's", true), Outcome::Pass);
        assert_eq!(verdict(0.71, "curl's", false), Outcome::Pass);
        assert!(matches!(verdict(0.69, "curl's", true), Outcome::Fail(_)));
        assert!(matches!(verdict(0.69, "curl's", false), Outcome::NotApplicable(_)));
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
