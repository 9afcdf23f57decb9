//! Rows that start their own portals.

use std::path::Path;

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::expect::{Faults, status};
use harness::random::Random;

use super::Suite;
use super::entry::Place;
use super::form::Form;
use super::keys;
use super::peers;
use super::process::Portal;
use super::sector;
use super::site::{Profile, Site};
use super::surface::Upload;

/// A row that starts what it needs from the binary.
type OwnRow = fn(&Suite, &Path) -> anyhow::Result<()>;

const ROWS: &[(&str, OwnRow)] = &[
    ("what was answered survives kill -9", answers_survive),
    ("a resumable upload goes on after kill -9", uploads_survive),
    ("kills at random moments lose nothing that was answered", random_kills),
    ("a portal reads the layouts of others", other_layouts),
    ("writes need the key where there is one, and no cookie is one", keys::writes_need_the_key),
    ("a blocked skylink is 451 everywhere, and after kill -9", keys::blocked_skylinks),
    ("uploads over the limit are refused", keys::limits),
    ("what only a slow peer has leaves while it comes", peers::slow_peer),
];

pub fn run(suite: &mut Suite) -> anyhow::Result<()> {
    for (name, check) in ROWS {
        suite.row(&format!("own: {name}"), |suite| check(suite, suite.binary()?));
    }
    Ok(())
}

/// A portal with its own data.
fn start(suite: &Suite, binary: &Path, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Portal> {
    Portal::start(binary, &suite.scratch.join(name), &suite.reports.join(format!("{name}.log")), settings)
}

fn answers_survive(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let portal = start(suite, binary, "survives", &[])?;
    let site = Site::new(portal.target().clone(), Profile::DEFAULT);
    let small = site.text("small");
    let large = site.noise("large", 9 << 20);
    let links = [site.raw("small", &small)?.link, site.raw("large", &large)?.link];
    let form = Form::new().file("files[]", "index.html", None, &small).file("files[]", "b", None, &large);
    let folder = site.form("filename=folder", &form)?.link;
    let place = Place::new(&site, "survives");
    status(&place.entry(links[0].bytes(), u64::MAX).post(&site)?, &[204])?;
    let _portal = portal.crash()?;
    site.same(&links[0].path(""), &small)?;
    site.same(&links[1].path(""), &large)?;
    site.same(&folder.path("/b"), &large)?;
    site.same(&place.link().path(""), &small)?;
    Ok(())
}

fn uploads_survive(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let mut portal = start(suite, binary, "resumes", &[])?;
    let site = Site::new(portal.target().clone(), Profile::DEFAULT);
    let bytes = site.noise("resumes", 10 << 20);
    let raw = Upload::named(&site, bytes.len(), "resumed.bin")?;
    let done = Upload::named(&site, 1000, "done.bin")?;
    done.patch(&site, 0, &bytes[..1000])?;
    let link = done.skylink(&site)?;
    let mut at = 0;
    for end in [1, 100_000, 5 << 20, bytes.len() - 1] {
        raw.patch(&site, at, &bytes[at..end])?;
        portal = portal.crash()?;
        at = raw.offset(&site)?;
        ensure!(at == end, "{end} bytes were acknowledged, {at} are left");
    }
    raw.patch(&site, at, &bytes[at..])?;
    let whole = raw.skylink(&site)?;
    portal = portal.crash()?;
    ensure!(raw.skylink(&site)? == whole, "the skylink of the finished upload is another");
    ensure!(done.skylink(&site)? == link, "the skylink of the upload that was done is another");
    site.same(&whole.path(""), &bytes)?;
    drop(portal);
    Ok(())
}

/// Kills the portal while a chunk arrives, and continues from the portal's offset.
fn random_kills(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let mut portal = start(suite, binary, "killed", &[])?;
    let site = Site::new(portal.target().clone(), Profile::DEFAULT);
    let mut random = Random::new(suite.seed);
    let rounds = suite.scale.pick(3, 10, 100);
    let mut kept = Vec::new();
    for round in 0..rounds {
        let bytes = site.noise(&format!("killed {round}"), (1 << 20) + random.below(8 << 20));
        let upload = Upload::named(&site, bytes.len(), "killed.bin")?;
        let patch = upload.patching(0, &bytes);
        let target = site.target.clone();
        let sending = std::thread::spawn(move || target.send(&patch).is_ok_and(|answer| answer.status == 204));
        let small = site.text(&format!("small {round}"));
        let link = site.raw("small", &small)?.link;
        std::thread::sleep(std::time::Duration::from_micros(random.below(40_000) as u64));
        portal = portal.crash()?;
        let acknowledged = sending.join().unwrap_or(false);
        site.same(&link.path(""), &small).with_context(|| format!("round {round}: a small file"))?;
        let at = upload.offset(&site)?;
        ensure!(at <= bytes.len() && (!acknowledged || at == bytes.len()), "round {round}: the offset is {at}");
        if at < bytes.len() {
            upload.patch(&site, at, &bytes[at..])?;
        }
        let link = upload.skylink(&site).with_context(|| format!("round {round}"))?;
        site.same(&link.path(""), &bytes).with_context(|| format!("round {round}: the upload"))?;
        kept.push((link, bytes));
    }
    for (link, bytes) in kept {
        site.same(&link.path(""), &bytes)?;
    }
    drop(portal);
    Ok(())
}

/// Base sectors and content move from a portal of one profile to one of another, as a client would carry them.
fn other_layouts(suite: &Suite, binary: &Path) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for from in ["4MiB/10+20", "4MiB/1+4", "4KiB/1+4"] {
        faults.check(from, carried(suite, binary, from.parse()?));
    }
    faults.finish()
}

fn carried(suite: &Suite, binary: &Path, profile: Profile) -> anyhow::Result<()> {
    let name = format!("from-{profile}").replace('/', "-");
    let portal = start(suite, binary, &name, &[("PORTAL_PROFILE", &profile.to_string())])?;
    let (from, to) = (Site::new(portal.target().clone(), profile), &suite.site);
    for length in [1000, profile.sector as usize + 1000] {
        let bytes = from.noise(&format!("carried {length}"), length);
        let link = from.raw("carried", &bytes)?.link;
        let base = from.get(format!("/skynet/root?root={}&offset=0&length={}", link.root(), profile.sector))?;
        let base = &base.expect(200)?.body;
        ensure!(sector::root(base)[..] == link.bytes()[2..], "the base sector is not that of the skylink");
        // The header does not show another sector size. A portal accepts only sectors of its own size.
        if profile.sector != to.profile.sector {
            continue;
        }
        let content = if length > 4000 { bytes.as_slice() } else { &[] };
        let body = [sector::backup_header(&link).as_slice(), base, content].concat();
        let request = Request::new("POST", "/skynet/restore").header("Content-Type", "application/octet-stream");
        let answer = to.send(&request.body(body))?;
        let said = answer.expect(200).with_context(|| format!("restore {length} bytes"))?.json()?;
        ensure!(said["skylink"] == link.to_string(), "the answer is {said}");
        to.same(&link.path(""), &bytes)?;
    }
    Ok(())
}
