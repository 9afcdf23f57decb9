//! podman with its own storage roots: images pushed and pulled. It compresses what it pushes.

use anyhow::ensure;
use harness::layout::Image;
use harness::program::Program;
use harness::verify;

use super::partial;
use super::round::{ROW, Round, THREE_LAYERS};

pub fn run(round: &Round) -> anyhow::Result<()> {
    round.row("push and pull 20 MiB in 3 layers by tag and digest", ROW, || {
        let image = round.image("image", &THREE_LAYERS)?;
        let reference = format!("{}:v1", round.reference("image"));
        let archive = round.path("load.tar");
        image.docker_archive(&archive, &reference)?;
        podman(round, "push")?.args(["load", "--quiet", "--input"]).arg(&archive).run()?;
        podman(round, "push")?.args(["push", &tls_verify(round), &reference]).run()?;
        let (_, digest) = verify::registry_is_whole(&round.target, &round.repository("image"), "v1")?;
        for (store, source) in [("tag", reference), ("digest", format!("{}@{digest}", round.reference("image")))] {
            pulls(round, store, &source, &digest, &image)?;
        }
        Ok(())
    });
    round.row("pull the right child of a multi-arch index", ROW, || {
        let index = round.index("index")?;
        let reference = format!("{}:v1", round.reference("index"));
        round.program("crane")?.arg("push").arg(&index.layout).arg(&reference).run()?;
        let child = &index.children[0];
        pulls(round, "index", &reference, &index.digest, child)
    });
    if round.target.own {
        partial::run(round);
    }
    Ok(())
}

/// Pulls into an empty store. Compares the recorded digest and the saved image.
fn pulls(round: &Round, store: &str, source: &str, digest: &str, image: &Image) -> anyhow::Result<()> {
    let held = podman(round, store)?.args(["images", "--quiet"]).run()?.text();
    ensure!(held.is_empty(), "the store is not empty: {held}");
    let id = podman(round, store)?.args(["pull", "--quiet", &tls_verify(round), source]).run()?.text();
    ensure!(format!("sha256:{id}") == image.config, "image id {id} instead of {}", image.config);
    let noted = podman(round, store)?.args(["image", "inspect", "--format", "{{.RepoDigests}}", &id]).run()?.text();
    ensure!(noted.contains(digest), "podman noted {noted} instead of {digest}");
    let saved = round.folder("saved")?;
    podman(round, store)?.args(["save", "--quiet", "--format", "docker-dir", "--output"]).arg(&saved).arg(&id).run()?;
    verify::folder_holds_unpacked(&saved, image)
}

fn tls_verify(round: &Round) -> String {
    format!("--tls-verify={}", round.tls_verify())
}

fn podman(round: &Round, store: &str) -> anyhow::Result<Program> {
    let root = round.path(&format!("store-{store}"));
    let podman = round.program("podman")?.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
    Ok(podman.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run")))
}
