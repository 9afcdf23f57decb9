//! podman's partial pulls: of a `zstd:chunked` layer it requests only the files that it lacks, with many ranges in one
//! request.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use harness::client::{Request, Target};
use harness::daemon::Daemon;
use harness::noise::noise;
use harness::program::Program;
use harness::proxy::Proxy;
use harness::server::free_port;
use harness::{tar, verify};

use super::round::Round;

/// Two images of one layer each, with most files in common.
struct Pair {
    name: &'static str,
    files: usize,
    size: usize,
    /// True for files that differ in the second image, by number.
    is_new: fn(usize) -> bool,
    /// Most of the layer that the second pull may transfer, in percent.
    share: u64,
}

const PAIRS: [Pair; 2] = [
    // Neighbours, whose ranges touch or almost touch.
    Pair { name: "neighbours", files: 300, size: 20_000, is_new: |number| number / 10 == 7, share: 10 },
    // More files than the 1,024 that podman puts into one request.
    Pair { name: "many", files: 3_600, size: 1_000, is_new: |number| number.is_multiple_of(3), share: 60 },
];

pub fn run(round: &Round) {
    for pair in &PAIRS {
        let what = format!("pull of {} files of which another image has most: {}", pair.files, pair.name);
        round.row(&what, Duration::from_mins(4), || both_registries(round, pair));
    }
}

/// Expects no more bytes than from docker-registry, and far fewer than the layer has.
fn both_registries(round: &Round, pair: &Pair) -> anyhow::Result<()> {
    push(round, pair)?;
    let rival = Rival::start(round)?;
    let mut came = Vec::new();
    for target in [&round.target, &rival.target] {
        for tag in ["old", "new"] {
            copy(round, pair, tag, target)?;
        }
        came.push(pull(round, pair, target)?);
    }
    let (manifest, _) = verify::registry_is_whole(&round.target, &repository(round, pair), "new")?;
    let layer = manifest["layers"][0]["size"].as_u64().context("no layer")?;
    let (ours, theirs) = (came[0], came[1]);
    ensure!(ours <= theirs, "{ours} bytes came, {theirs} from docker-registry");
    ensure!(ours * 100 <= layer * pair.share, "{ours} bytes came of a layer of {layer}");
    Ok(())
}

fn repository(round: &Round, pair: &Pair) -> String {
    round.repository(&format!("partial-{}", pair.name))
}

fn push(round: &Round, pair: &Pair) -> anyhow::Result<()> {
    for tag in ["old", "new"] {
        let layer = round.path("layer.tar");
        write_layer(&layer, pair, tag)?;
        let reference = format!("{}/{}:{tag}", round.target.authority(), repository(round, pair));
        podman(round, "push")?.args(["import", "--quiet"]).arg(&layer).arg(&reference).run()?;
        let push = ["push", "--tls-verify=false", "--compression-format", "zstd:chunked", &reference];
        podman(round, "push")?.args(push).run()?;
    }
    Ok(())
}

fn write_layer(path: &Path, pair: &Pair, tag: &str) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for number in 0..pair.files {
        tar::append(&mut out, &file(number), pair.size as u64, &mut content(pair, tag, number).as_slice())?;
    }
    tar::finish(&mut out)?;
    Ok(out.flush()?)
}

fn file(number: usize) -> String {
    format!("file-{number:04}")
}

fn content(pair: &Pair, tag: &str, number: usize) -> Vec<u8> {
    let version = if (pair.is_new)(number) { tag } else { "both" };
    noise(&format!("{} {version} {number}", pair.name), pair.size)
}

/// Copies the image to the registry, unless it is there already.
fn copy(round: &Round, pair: &Pair, tag: &str, target: &Target) -> anyhow::Result<()> {
    if target.port == round.target.port {
        return Ok(());
    }
    let name = |target: &Target| format!("docker://{}/{}:{tag}", target.authority(), repository(round, pair));
    let options = ["copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
    let skopeo = round.program("skopeo")?.arg("--insecure-policy").args(options);
    skopeo.args([name(&round.target), name(target)]).run().map(drop)
}

/// Pulls the old image, then the new one. Returns the bytes transferred for the new one.
fn pull(round: &Round, pair: &Pair, target: &Target) -> anyhow::Result<u64> {
    let store = format!("pull-{}-{}", pair.name, target.port);
    let proxy = Proxy::before(target)?;
    let reference = |tag| format!("{}/{}:{tag}", proxy.authority(), repository(round, pair));
    let mut before = 0;
    for tag in ["old", "new"] {
        before = proxy.sent();
        podman(round, &store)?.args(["pull", "--quiet", "--tls-verify=false", &reference(tag)]).run()?;
        let root = podman(round, &store)?.args(["image", "mount", &reference(tag)]).run()?.text();
        let same = holds(Path::new(&root), pair, tag);
        podman(round, &store)?.args(["image", "umount", &reference(tag)]).run()?;
        same?;
    }
    Ok(proxy.sent() - before)
}

fn holds(root: &Path, pair: &Pair, tag: &str) -> anyhow::Result<()> {
    for number in 0..pair.files {
        let name = file(number);
        let got = fs::read(root.join(&name)).with_context(|| name.clone())?;
        ensure!(got == content(pair, tag, number), "{name} of the {tag} image differs after the pull");
    }
    Ok(())
}

/// Only podman's overlay driver can pull parts of a layer.
fn podman(round: &Round, store: &str) -> anyhow::Result<Program> {
    let root = round.path(&format!("partial-{store}"));
    fs::create_dir_all(&root)?;
    let settings = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/root\"\nrunroot = \"{0}/run\"\n[storage.options]\n\
         pull_options = {{ enable_partial_images = \"true\", use_hard_links = \"false\", ostree_repos = \"\" }}\n",
        root.display()
    );
    let file = root.join("storage.conf");
    fs::write(&file, settings)?;
    let podman = round.program("podman")?.args(["--cgroup-manager", "cgroupfs"]);
    Ok(podman.env("CONTAINERS_STORAGE_CONF", &file).env("STORAGE_DRIVER", "overlay"))
}

/// Debian's docker-registry.
struct Rival {
    target: Target,
    _daemon: Daemon,
}

impl Rival {
    fn start(round: &Round) -> anyhow::Result<Self> {
        let target = Target::local(free_port()?);
        let settings = round.path("docker-registry.yml");
        let root = round.folder("docker-registry")?;
        let lines = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{}\" }}\n",
            root.display(),
            target.authority()
        );
        fs::write(&settings, lines)?;
        let mut command = Command::new(round.find("docker-registry")?);
        command.arg("serve").arg(&settings).env("OTEL_TRACES_EXPORTER", "none");
        let ready = || target.send(&Request::get("/v2/")).is_ok_and(|answer| answer.status == 200);
        let daemon = Daemon::start(command, &round.log_of("docker-registry"), ready)?;
        Ok(Rival { target: target.clone(), _daemon: daemon })
    }
}
