//! buildah with its own storage roots: an image built from scratch, pushed and pulled.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, ensure};
use harness::noise::noise;
use harness::program::Program;
use harness::verify;
use serde_json::Value;

use super::round::{MIB, ROW, Round};

pub fn run(round: &Round) -> anyhow::Result<()> {
    round.row("build 20 MiB in 3 layers from scratch, push, pull by tag and digest", ROW, || {
        let files = build(round)?;
        let reference = format!("{}:v1", round.reference("image"));
        buildah(round, "push")?.args(["push", &tls_verify(round), "built", &format!("docker://{reference}")]).run()?;
        let (manifest, digest) = verify::registry_is_whole(&round.target, &round.repository("image"), "v1")?;
        let layers = manifest["layers"].as_array().map_or(0, Vec::len);
        ensure!(layers == 3, "{layers} layers in the registry");
        for (store, source) in [("tag", reference), ("digest", format!("{}@{digest}", round.reference("image")))] {
            pulls(round, store, &source, &manifest, &digest)?;
            holds(round, store, &source, &files)?;
        }
        Ok(())
    });
    Ok(())
}

/// Builds three steps with a layer each. Returns the files' names and content.
fn build(round: &Round) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let context = round.folder("context")?;
    let mut dockerfile = "FROM scratch\n".to_owned();
    let mut files = Vec::new();
    for (number, size) in [12 * MIB, 7 * MIB, MIB].into_iter().enumerate() {
        let (name, bytes) = (format!("file-{number}"), noise(&format!("buildah {number}"), size as usize));
        fs::write(context.join(&name), &bytes)?;
        let _ = writeln!(dockerfile, "COPY {name} /{name}");
        files.push((name, bytes));
    }
    fs::write(context.join("Dockerfile"), dockerfile)?;
    let bud = ["build", "--isolation", "chroot", "--layers", "--tag", "built"];
    buildah(round, "push")?.args(bud).arg(&context).run()?;
    Ok(files)
}

/// Pulls into an empty store. The image id must be that of the config in the registry's manifest.
fn pulls(round: &Round, store: &str, source: &str, manifest: &Value, digest: &str) -> anyhow::Result<()> {
    let held = buildah(round, store)?.args(["images", "--quiet"]).run()?.text();
    ensure!(held.is_empty(), "the store is not empty: {held}");
    let id = buildah(round, store)?.args(["pull", "--quiet", &tls_verify(round), source]).run()?.text();
    let config = manifest["config"]["digest"].as_str().context("no config")?;
    ensure!(format!("sha256:{id}") == config, "image id {id} instead of {config}");
    let noted = buildah(round, store)?.args(["inspect", "--type", "image", &id]).run()?.json()?;
    ensure!(noted["FromImageDigest"] == digest, "buildah noted {} instead of {digest}", noted["FromImageDigest"]);
    Ok(())
}

/// Expects the files in a container of the pulled image to be those copied in.
fn holds(round: &Round, store: &str, source: &str, files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let container = buildah(round, store)?.args(["from", "--pull-never", source]).run()?.text();
    let root = buildah(round, store)?.args(["mount", &container]).run()?.text();
    for (name, bytes) in files {
        let got = fs::read(std::path::Path::new(&root).join(name)).with_context(|| name.clone())?;
        ensure!(&got == bytes, "{name} differs after the pull");
    }
    buildah(round, store)?.args(["rm", &container]).run().map(drop)
}

fn tls_verify(round: &Round) -> String {
    format!("--tls-verify={}", round.tls_verify())
}

fn buildah(round: &Round, store: &str) -> anyhow::Result<Program> {
    let root = round.path(&format!("store-{store}"));
    let buildah = round.program("buildah")?.args(["--storage-driver", "vfs"]);
    Ok(buildah.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run")))
}
