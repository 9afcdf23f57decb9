//! docker with its own daemon: images pushed and pulled, big and many layers, mounts, and a server restart in mid-push.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use harness::daemon::Daemon;
use harness::layout::Image;
use harness::program::Program;
use harness::proxy::{Fault, Proxy};
use harness::server::Server;
use harness::verify;

use super::round::{KIB, MIB, ROW, Round, THREE_LAYERS, mounted};

const LONG: Duration = Duration::from_mins(10);
/// Repository on a server that is killed in mid-push.
const RESTARTED: &str = "docker/restarted";

pub fn run(round: &Round) -> anyhow::Result<()> {
    let pusher = Docker::start(round, "push")?;
    round.row("push and pull 20 MiB in 3 layers by tag and digest", ROW, || {
        both_ways(round, &pusher, "image", &THREE_LAYERS, true)
    });
    let big = round.pick(64 * MIB, 1024 * MIB);
    let what = format!("push and pull a layer of {} MiB", big / MIB);
    round.row(&what, round.pick(ROW, LONG), || both_ways(round, &pusher, "big", &[big], false));
    round.row("push and pull 100 layers of 1 KiB", LONG, || both_ways(round, &pusher, "many", &[KIB; 100], false));
    round.row("pull the right child of a multi-arch index", ROW, || pull_from_index(round));
    round.row("push of the same layers to another repository mounts them", ROW, || mount(round, &pusher));
    let what = "push goes on after kill -9 and restart of the server";
    round.row_with_own_server(
        what,
        LONG,
        |server| push_over_restart(round, &pusher, server),
        |target| {
            let digest = verify::digest_of(target, RESTARTED, "v1")?;
            let source = format!("{}/{RESTARTED}:v1", target.authority());
            Docker::start(round, "pull")?.pulls(&source, &digest, &restarted(round)?)
        },
    );
    Ok(())
}

/// Pushes from one daemon, checks the registry, and pulls into another, empty one: by tag, and by digest if wanted.
fn both_ways(round: &Round, pusher: &Docker, name: &str, sizes: &[u64], by_digest: bool) -> anyhow::Result<()> {
    let image = round.image(name, sizes)?;
    let reference = format!("{}:v1", round.reference(name));
    pusher.load(&image, &reference)?;
    let said = pusher.docker()?.args(["push", &reference]).run()?.text();
    let (_, digest) = verify::registry_is_whole(&round.target, &round.repository(name), "v1")?;
    ensure!(said.contains(&digest), "docker did not print the digest {digest} of what it pushed");
    let puller = Docker::start(round, "pull")?;
    let pinned = by_digest.then(|| format!("{}@{digest}", round.reference(name)));
    for source in [reference].into_iter().chain(pinned) {
        puller.pulls(&source, &digest, &image)?;
    }
    Ok(())
}

/// Pulls this round's image by tag into an empty store.
pub fn pull(round: &Round, image: &Image) -> anyhow::Result<()> {
    let digest = verify::digest_of(&round.target, &round.repository("image"), "v1")?;
    Docker::start(round, "pull")?.pulls(&format!("{}:v1", round.reference("image")), &digest, image)
}

fn pull_from_index(round: &Round) -> anyhow::Result<()> {
    let index = round.index("index")?;
    let reference = format!("{}:v1", round.reference("index"));
    round.program("crane")?.arg("push").arg(&index.layout).arg(&reference).run()?;
    Docker::start(round, "pull")?.pulls(&reference, &index.digest, &index.children[0])
}

fn mount(round: &Round, pusher: &Docker) -> anyhow::Result<()> {
    let proxy = round.proxy()?;
    let image = round.image("mounted", &[300 * KIB, 20 * KIB])?;
    let reference = |name: &str| format!("{}/{}:v1", proxy.authority(), round.repository(name));
    pusher.load(&image, &reference("mount-from"))?;
    pusher.docker()?.args(["push", &reference("mount-from")]).run()?;
    pusher.docker()?.args(["tag", &reference("mount-from"), &reference("mount-to")]).run()?;
    pusher.docker()?.args(["push", &reference("mount-to")]).run()?;
    mounted(round, &proxy, 2)?;
    verify::registry_is_whole(&round.target, &round.repository("mount-to"), "v1").map(drop)
}

/// Slows the upload, kills the server in the middle and starts it again. docker must retry by itself.
fn push_over_restart(round: &Round, pusher: &Docker, server: Server) -> anyhow::Result<Server> {
    let proxy = Proxy::before(&server.target())?;
    let image = restarted(round)?;
    let reference = format!("{}/{RESTARTED}:v1", proxy.authority());
    pusher.load(&image, &reference)?;
    proxy.set(Fault::Trickle(8 * MIB));
    let mut push = pusher.docker()?.args(["push", &reference]).start()?;
    let options = server.options.clone();
    proxy.wait_received(8 * MIB, || push.runs())?;
    server.kill()?;
    proxy.set(Fault::None);
    let server = options.start()?;
    let ended = push.wait()?;
    ensure!(ended.status.success(), "docker gave up: {}", ended.said());
    verify::registry_is_whole(&server.target(), RESTARTED, "v1")?;
    Ok(server)
}

fn restarted(round: &Round) -> anyhow::Result<Image> {
    round.image("restarted", &[24 * MIB])
}

/// A docker daemon with its own store, empty at the start.
pub struct Docker<'a> {
    round: &'a Round<'a>,
    socket: PathBuf,
    _daemon: Daemon,
}

impl<'a> Docker<'a> {
    pub fn start(round: &'a Round<'a>, name: &str) -> anyhow::Result<Self> {
        let root = round.folder(&format!("dockerd-{name}"))?;
        let socket = root.join("sock");
        let mut command = Command::new(round.find("dockerd")?);
        command
            .envs(round.environment())
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .arg(format!("--data-root={}", root.join("data").display()))
            .arg(format!("--exec-root={}", root.join("exec").display()))
            .arg(format!("--pidfile={}", root.join("pid").display()))
            .arg(format!("--host=unix://{}", socket.display()));
        let probe = || {
            let docker = docker(round, &socket).and_then(|docker| docker.arg("version").run_any());
            docker.is_ok_and(|ended| ended.status.success())
        };
        let daemon = Daemon::start(command, &round.log_of("dockerd"), probe)?;
        Ok(Docker { round, socket: socket.clone(), _daemon: daemon })
    }

    /// The client's `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn docker(&self) -> anyhow::Result<Program> {
        docker(self.round, &self.socket)
    }

    pub fn load(&self, image: &Image, name: &str) -> anyhow::Result<()> {
        let archive = self.round.path("load.tar");
        image.docker_archive(&archive, name)?;
        self.docker()?.arg("load").arg("--input").arg(&archive).run()?;
        Ok(std::fs::remove_file(archive)?)
    }

    /// Pulls, compares config and layers with the image, and removes them again.
    pub fn pulls(&self, source: &str, digest: &str, image: &Image) -> anyhow::Result<()> {
        let held = self.docker()?.args(["images", "--all", "--quiet"]).run()?.text();
        ensure!(held.is_empty(), "the store is not empty: {held}");
        let said = self.docker()?.args(["pull", source]).run()?.text();
        ensure!(said.contains(&format!("Digest: {digest}")), "pull did not print {digest}: {said}");
        let id = self.docker()?.args(["images", "--quiet", "--no-trunc"]).run()?.text();
        ensure!(id == image.config, "image id {id} instead of {}", image.config);
        let (archive, folder) = (self.round.path("save.tar"), self.round.folder("saved")?);
        self.docker()?.args(["save", &id, "--output"]).arg(&archive).run()?;
        self.round.program("tar")?.arg("-xf").arg(&archive).arg("-C").arg(&folder).run()?;
        verify::folder_holds_unpacked(&folder, image)?;
        self.docker()?.args(["image", "rm", "--force", &id]).run().map(drop)
    }
}

fn docker(round: &Round, socket: &std::path::Path) -> anyhow::Result<Program> {
    Ok(round.program("docker")?.arg("--host").arg(format!("unix://{}", socket.display())))
}
