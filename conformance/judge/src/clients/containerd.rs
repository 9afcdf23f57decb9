//! containerd, by ctr: images pushed and pulled, a big layer, and pulls through the registry as a mirror of another
//! one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use harness::daemon::Daemon;
use harness::layout::{Image, blob_path, layout_archive};
use harness::program::Program;
use harness::verify;

use super::round::{MIB, ROW, Round, THREE_LAYERS};

pub fn run(round: &Round) -> anyhow::Result<()> {
    let pusher = Containerd::start(round, "push")?;
    round.row("push and pull 20 MiB in 3 layers by tag and digest", ROW, || {
        both_ways(round, &pusher, "image", &THREE_LAYERS)
    });
    let big = round.pick(64 * MIB, 1024 * MIB);
    let what = format!("push and pull a layer of {} MiB", big / MIB);
    round.row(&what, round.pick(ROW, Duration::from_mins(10)), || both_ways(round, &pusher, "big", &[big]));
    round.row("multi-arch index both ways, all platforms", ROW, || index_both_ways(round, &pusher));
    round.row("pull through us as a mirror, asking with ?ns=", ROW, || mirror(round));
    Ok(())
}

fn both_ways(round: &Round, pusher: &Containerd, name: &str, sizes: &[u64]) -> anyhow::Result<()> {
    let image = round.image(name, sizes)?;
    let reference = round.reference(name);
    pusher.import(&image.layout, &reference)?;
    pusher.ctr()?.args(["images", "push"]).args(access(round)).arg(format!("{reference}:image")).run()?;
    verify::registry_holds(&round.target, &round.repository(name), "image", &image)?;
    for source in [format!("{reference}:image"), format!("{reference}@{}", image.digest)] {
        let puller = Containerd::start(round, "pull")?;
        puller.ctr()?.args(["images", "pull"]).args(access(round)).arg(&source).run()?;
        puller.holds(&image)?;
    }
    Ok(())
}

/// Pulls this round's image by tag into an empty store.
pub fn pull(round: &Round, image: &Image) -> anyhow::Result<()> {
    let puller = Containerd::start(round, "pull")?;
    let source = format!("{}:image", round.reference("image"));
    puller.ctr()?.args(["images", "pull"]).args(access(round)).arg(&source).run()?;
    puller.holds(image)
}

fn index_both_ways(round: &Round, pusher: &Containerd) -> anyhow::Result<()> {
    let index = round.index("index")?;
    let reference = round.reference("index");
    pusher.import(&index.layout, &reference)?;
    let name = format!("{reference}:image");
    pusher.ctr()?.args(["images", "push"]).args(access(round)).arg(&name).run()?;
    verify::registry_holds_index(&round.target, &round.repository("index"), "image", &index)?;
    let puller = Containerd::start(round, "pull")?;
    puller.ctr()?.args(["images", "pull", "--all-platforms"]).args(access(round)).arg(&name).run()?;
    puller.has(&index.digest)?;
    index.children.iter().try_for_each(|child| puller.holds(child))
}

/// Pulls through the registry as a mirror. The image's own registry does not exist, so only ours can supply the bytes.
fn mirror(round: &Round) -> anyhow::Result<()> {
    let image = round.image("mirrored", &[300_000])?;
    let pushed = format!("{}:v1", round.reference("mirrored"));
    round.program("crane")?.arg("push").arg(&image.layout).arg(pushed).run()?;
    let proxy = round.proxy()?;
    let hosts = round.folder("hosts")?;
    fs::create_dir(hosts.join("registry.invalid"))?;
    let toml = format!(
        "server = \"http://registry.invalid\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        proxy.authority()
    );
    fs::write(hosts.join("registry.invalid/hosts.toml"), toml)?;
    let puller = Containerd::start(round, "pull")?;
    let source = format!("registry.invalid/{}:v1", round.repository("mirrored"));
    puller.ctr()?.args(["images", "pull", "--hosts-dir"]).arg(&hosts).args(user(round)).arg(&source).run()?;
    puller.holds(&image)?;
    let exchanges = proxy.exchanges();
    let with_ns = exchanges.iter().filter(|one| one.path.contains("ns=registry.invalid")).count();
    ensure!(with_ns >= 4, "{with_ns} of {} requests had ?ns=", exchanges.len());
    Ok(())
}

/// Options that tell ctr how to reach the registry. It reads no login file. The certificates are at the daemon, which
/// transfers the content.
fn access(round: &Round) -> Vec<String> {
    round.plain("--plain-http").map(str::to_owned).into_iter().chain(user(round)).collect()
}

fn user(round: &Round) -> Vec<String> {
    let account = round.target.account().map(|account| format!("{}:{}", account.name(), account.password()));
    account.into_iter().flat_map(|account| ["--user".to_owned(), account]).collect()
}

/// A containerd with its own store, empty at the start.
struct Containerd<'a> {
    round: &'a Round<'a>,
    root: PathBuf,
    socket: PathBuf,
    _daemon: Daemon,
}

impl<'a> Containerd<'a> {
    fn start(round: &'a Round<'a>, name: &str) -> anyhow::Result<Self> {
        let folder = round.folder(&format!("containerd-{name}"))?;
        let socket = folder.join("sock");
        let config = folder.join("config.toml");
        let path = |name: &str| folder.join(name).display().to_string();
        let text = format!(
            "version = 3\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.cri.v1.images\", \
             \"io.containerd.cri.v1.runtime\", \"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n\
             [ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("sock"),
            path("sock.ttrpc")
        );
        fs::write(&config, text)?;
        let mut command = Command::new(round.find("containerd")?);
        command.arg("--config").arg(&config).envs(round.environment()).env("TMPDIR", &folder);
        let probe = || {
            let ctr = ctr(round, &socket).and_then(|ctr| ctr.arg("version").run_any());
            ctr.is_ok_and(|ended| ended.status.success())
        };
        let daemon = Daemon::start(command, &round.log_of("containerd-daemon"), probe)?;
        Ok(Containerd { round, root: folder.join("root"), socket: socket.clone(), _daemon: daemon })
    }

    fn ctr(&self) -> anyhow::Result<Program> {
        ctr(self.round, &self.socket)
    }

    /// Imports a layout as `REFERENCE:image`.
    fn import(&self, layout: &std::path::Path, reference: &str) -> anyhow::Result<()> {
        let archive = self.round.path("import.tar");
        layout_archive(layout, &archive)?;
        let import = ["images", "import", "--no-unpack", "--all-platforms", "--base-name", reference];
        self.ctr()?.args(import).arg(&archive).run()?;
        Ok(fs::remove_file(archive)?)
    }

    /// Expects the content store to have the image's manifest, config and layers, byte for byte.
    fn holds(&self, image: &Image) -> anyhow::Result<()> {
        image.digests().iter().try_for_each(|digest| self.has(digest))
    }

    /// Read from the store's files, so that a layer of 1 GiB need not fit into memory.
    fn has(&self, digest: &str) -> anyhow::Result<()> {
        verify::file_has(&blob_path(&self.root.join("io.containerd.content.v1.content"), digest), digest)
    }
}

fn ctr(round: &Round, socket: &std::path::Path) -> anyhow::Result<Program> {
    Ok(round.program("ctr")?.arg("--address").arg(socket))
}
