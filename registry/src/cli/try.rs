//! `skyberth try`: shows in seconds, without docker, that pushed content survives.
//!
//! It starts a server with an attached portal in a temporary directory, pushes a tiny image, and fetches a layer by its
//! skylink. Then it kills the server and deletes its index, and kills it again and deletes all content. After each
//! start it compares every byte.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use skynet_formats::skylink::Skylink;
use tokio::process::{Child, Command};

use super::print;
use crate::config::variable_name;
use crate::oci::{Algorithm, Digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const REPOSITORY: &str = "try/image";
/// Longest time for a server to be ready, and to place an image.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the image's only layer: more than one sector of a portal.
const LAYER_BYTES: usize = 5 * 1024 * 1024;

/// A tiny image, in memory.
struct Image {
    /// The config and the layer.
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
    let node = Node::new(folder.path().join("data"))?;
    let image = Image::make()?;

    let mut server = step("start a server with a portal of its own", node.start()).await?;
    step("push an image: a config, a 5 MiB layer, a manifest", node.push(&image)).await?;
    step("pull it and compare every byte", node.pull(&image)).await?;
    step("wait until it is at the portal too: safe to close", node.wait_until_safe()).await?;
    let skylink = step("find the layer's skylink with `skyberth ls`", node.skylink_of_layer(&image)).await?;
    print(&format!("            {skylink}"));
    step("fetch that from the portal and compare the digest", node.fetch_layer(&image, &skylink)).await?;
    step("kill the server with SIGKILL", kill(&mut server)).await?;
    step("delete its index", node.delete("index")).await?;
    let mut server = step("start it again, which rebuilds the index", node.start()).await?;
    step("pull the image and compare every byte", node.pull(&image)).await?;
    step("kill the server with SIGKILL", kill(&mut server)).await?;
    step("delete all its content", node.delete("blobs")).await?;
    let mut server = step("start it again, with nothing but the portal's copy", node.start()).await?;
    step("pull the image and compare every byte", node.pull(&image)).await?;
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
        // Random, so that content of an earlier run cannot take its place.
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

    fn layer(&self) -> &(Digest, Vec<u8>) {
        &self.blobs[1]
    }
}

/// A node that is started several times, and the client for it.
struct Node {
    data: PathBuf,
    url: String,
    portal: String,
    client: Client,
}

impl Node {
    fn new(data: PathBuf) -> anyhow::Result<Self> {
        // Both are open at the same time, so that they differ.
        let free = [TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?];
        let [registry, portal] = free.map(|listener| listener.local_addr());
        let client = Client::builder().tls_backend_preconfigured(tls_roots::client_config()).no_proxy().build()?;
        Ok(Node { data, url: format!("http://{}", registry?), portal: format!("http://{}", portal?), client })
    }

    /// A command without the caller's settings, which are for another node. These may also name a user without access
    /// to the temporary directory.
    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        for (key, _) in std::env::vars_os() {
            let is_setting = |prefix: &str| key.as_encoded_bytes().starts_with(prefix.as_bytes());
            if is_setting("SKYBERTH_") || is_setting("REGISTRY_") {
                command.env_remove(&key);
            }
        }
        command.arg(name).arg("--data").arg(&self.data).stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    async fn start(&self) -> anyhow::Result<Child> {
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        let child = self
            .command("serve")?
            .args(["--with-portal", "--listen", &address(&self.url)])
            .env(variable_name("portal.listen"), address(&self.portal))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.wait("it was not ready", |answer| answer["state"] == "ready").await?;
        Ok(child)
    }

    async fn wait_until_safe(&self) -> anyhow::Result<()> {
        self.wait("it was not safe to close", |answer| answer["durability"]["backlog"] == 0).await
    }

    /// Waits until `/readyz` reports it.
    async fn wait(&self, trouble: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !matches!(self.readiness().await, Ok(answer) if is_so(&answer)) {
            ensure!(Instant::now() < deadline, "{trouble} after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn readiness(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.get(&format!("{}/readyz", self.url)).await?)?)
    }

    async fn delete(&self, part: &str) -> anyhow::Result<()> {
        Ok(tokio::fs::remove_dir_all(self.data.join(part)).await?)
    }

    async fn push(&self, image: &Image) -> anyhow::Result<()> {
        let (client, url) = (&self.client, &self.url);
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

    async fn pull(&self, image: &Image) -> anyhow::Result<()> {
        let url = &self.url;
        for reference in ["latest", image.digest.as_str()] {
            let body = self.get(&format!("{url}/v2/{REPOSITORY}/manifests/{reference}")).await?;
            ensure!(body == image.manifest, "the manifest by {reference} differs from what was pushed");
        }
        for (digest, bytes) in &image.blobs {
            let body = self.get(&format!("{url}/v2/{REPOSITORY}/blobs/{digest}")).await?;
            ensure!(body == *bytes, "{digest} differs from what was pushed");
        }
        Ok(())
    }

    /// Finds the skylink as a person would: in the lines that `skyberth ls` prints below the layer.
    async fn skylink_of_layer(&self, image: &Image) -> anyhow::Result<String> {
        let said = self.command("ls")?.arg(format!("{REPOSITORY}@{}", image.digest)).output().await?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let lines = said.lines().skip_while(|line| !line.starts_with(image.layer().0.as_str())).skip(1);
        let places = lines.take_while(|line| line.starts_with(' '));
        let mut words = places.flat_map(str::split_whitespace);
        let skylink = words.find(|word| word.parse::<Skylink>().is_ok());
        Ok(skylink.with_context(|| format!("no skylink of the layer in: {said}"))?.to_owned())
    }

    async fn fetch_layer(&self, image: &Image, skylink: &str) -> anyhow::Result<()> {
        let body = self.get(&format!("{}/{skylink}", self.portal)).await?;
        let digest = Digest::of(Algorithm::Sha256, &body);
        ensure!(digest == image.layer().0, "its digest is {digest}");
        Ok(())
    }

    async fn get(&self, target: &str) -> anyhow::Result<Vec<u8>> {
        let answer = self.client.get(target).send().await?;
        ensure!(answer.status() == StatusCode::OK, "{target}: {}", answer.status());
        Ok(answer.bytes().await?.into())
    }
}

async fn kill(server: &mut Child) -> anyhow::Result<()> {
    Ok(server.kill().await?)
}
