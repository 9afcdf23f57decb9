//! `skyberth try`: shows in a minute, without docker, that what was pushed survives. Makes a tiny image, pushes it to a
//! server of its own in a temporary directory, kills that with SIGKILL, deletes its index, starts it again, and compares.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::{Client, StatusCode};
use serde_json::json;
use storage_backends::tls;
use tokio::process::{Child, Command};

use super::print;
use crate::config::variable_name;
use crate::oci::{Algorithm, Digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const REPOSITORY: &str = "try/image";
/// How long a server may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of the image's one layer.
const LAYER_BYTES: usize = 3 * 1024 * 1024;

/// An image small enough to hold in memory.
struct Image {
    blobs: Vec<(Digest, Vec<u8>)>,
    manifest: Vec<u8>,
    digest: Digest,
}

pub(super) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(walk_through())
}

async fn walk_through() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let client = Client::builder().tls_backend_preconfigured(tls::client_config()).no_proxy().build()?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    let image = Image::make()?;

    let mut server = step("start a server", start(&data, port, &client, &url)).await?;
    step("push an image: a config, a 3 MiB layer, a manifest", push(&client, &url, &image)).await?;
    step("pull it and compare every byte", pull(&client, &url, &image)).await?;
    step("kill the server with SIGKILL", kill(&mut server)).await?;
    step("delete its index", delete_index(&data)).await?;
    let mut server = step("start it again, which rebuilds the index", start(&data, port, &client, &url)).await?;
    step("pull the image and compare every byte", pull(&client, &url, &image)).await?;
    kill(&mut server).await?;
    print("nothing was lost");
    Ok(())
}

/// Runs a step, and prints it with its time.
async fn step<T>(what: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let started = Instant::now();
    let result = work.await.with_context(|| format!("could not {what}"))?;
    print(&format!("{:>7.1} ms  {what}", started.elapsed().as_secs_f64() * 1000.0));
    Ok(result)
}

impl Image {
    fn make() -> anyhow::Result<Self> {
        // Random, so that no earlier run's content can stand in for it.
        let seed: [u8; 32] = crate::ids::random();
        let mut layer = vec![0; LAYER_BYTES];
        blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut layer);
        let config = serde_json::to_vec(&json!({ "architecture": "amd64", "os": "linux", "rootfs": {} }))?;
        let blobs: Vec<_> = [config, layer].map(|bytes| (Digest::of(Algorithm::Sha256, &bytes), bytes)).into();
        let descriptor = |index: usize, kind: &str| {
            let (digest, bytes): &(Digest, Vec<u8>) = &blobs[index];
            json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
        };
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(0, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(1, "application/vnd.oci.image.layer.v1.tar")],
        }))?;
        Ok(Image { digest: Digest::of(Algorithm::Sha256, &manifest), blobs, manifest })
    }
}

async fn start(data: &Path, port: u16, client: &Client, url: &str) -> anyhow::Result<Child> {
    let child = Command::new(std::env::current_exe()?)
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(data)
        // Who runs this also owns the temporary directory; another user may not be let into it.
        .env_remove(variable_name("server.run_as"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let answer = client.get(format!("{url}/readyz")).send().await;
        if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            return Ok(child);
        }
        ensure!(Instant::now() < deadline, "it was not ready after {READY_LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn kill(server: &mut Child) -> anyhow::Result<()> {
    Ok(server.kill().await?)
}

async fn delete_index(data: &Path) -> anyhow::Result<()> {
    Ok(tokio::fs::remove_dir_all(data.join("index")).await?)
}

async fn push(client: &Client, url: &str, image: &Image) -> anyhow::Result<()> {
    for (digest, bytes) in &image.blobs {
        let target = format!("{url}/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
        let answer = client.post(target).body(bytes.clone()).send().await?;
        ensure!(answer.status() == StatusCode::CREATED, "blob {digest}: {}", answer.status());
    }
    let target = format!("{url}/v2/{REPOSITORY}/manifests/latest");
    let answer = client.put(target).header("content-type", MANIFEST).body(image.manifest.clone()).send().await?;
    ensure!(answer.status() == StatusCode::CREATED, "manifest: {}", answer.status());
    Ok(())
}

async fn pull(client: &Client, url: &str, image: &Image) -> anyhow::Result<()> {
    for reference in ["latest", image.digest.as_str()] {
        let body = get(client, &format!("{url}/v2/{REPOSITORY}/manifests/{reference}")).await?;
        ensure!(body == image.manifest, "the manifest by {reference} is not what was pushed");
    }
    for (digest, bytes) in &image.blobs {
        let body = get(client, &format!("{url}/v2/{REPOSITORY}/blobs/{digest}")).await?;
        ensure!(body == *bytes, "{digest} is not what was pushed");
    }
    Ok(())
}

async fn get(client: &Client, target: &str) -> anyhow::Result<Vec<u8>> {
    let answer = client.get(target).send().await?;
    ensure!(answer.status() == StatusCode::OK, "{target}: {}", answer.status());
    Ok(answer.bytes().await?.into())
}
