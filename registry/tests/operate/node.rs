//! A node as a process, and the operator's commands on it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Longest wait of a test, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The program `skyberth`, without the environment of the tests.
pub(crate) fn skyberth() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skyberth"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// The exit code and output of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(data: &Path, words: &[&str]) -> Ended {
    run_with(skyberth(), data, words)
}

pub(crate) fn run_with(mut command: Command, data: &Path, words: &[&str]) -> Ended {
    let output = command.args(words).arg("--data").arg(data).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ended {
    /// The standard output. Panics unless the command ended with this code.
    pub(crate) fn with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.out
    }

    /// The JSON objects on standard output, one a line. Panics unless the command ended with this code.
    pub(crate) fn objects(self, code: i32) -> Vec<Value> {
        self.with(code).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A running server. The process is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    client: Client,
    pub(crate) url: String,
}

impl Server {
    /// Starts a node on this directory, and waits for its address.
    pub(crate) fn start(data: &Path) -> Self {
        Server::start_with(skyberth().env("SKYBERTH_STORAGE_RESERVE", "0"), "serve", data)
    }

    pub(crate) fn start_with(command: &mut Command, name: &str, data: &Path) -> Self {
        let command = command.arg(name).args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("it says {line:?}")).to_owned();
        let client = Client::builder().tls_backend_preconfigured(tls_roots::client_config()).no_proxy();
        Server { child, client: client.build().unwrap(), url }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }

    pub(crate) fn terminate(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let request =
            self.client.request(method, format!("{}{path}", self.url)).header("content-type", kind).body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap().to_vec())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        self.ask(Method::GET, path, "text/plain", Vec::new()).await
    }

    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let (status, said) = self.ask(Method::POST, &path, "application/octet-stream", bytes.to_vec()).await;
        assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&said));
        json!({ "mediaType": "application/octet-stream", "digest": digest, "size": bytes.len() })
    }

    /// Pushes an image of one layer. Returns the descriptor of its manifest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Value {
        let config = self.push_blob(name, format!("{{\"of\":\"{tag}\"}}").as_bytes()).await;
        let layer = self.push_blob(name, layer).await;
        let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] });
        self.push_manifest(name, tag, IMAGE, &manifest).await
    }

    pub(crate) async fn push_manifest(&self, name: &str, reference: &str, kind: &str, manifest: &Value) -> Value {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let (digest, size) = (digest(&bytes), bytes.len());
        let (status, said) = self.ask(Method::PUT, &format!("/v2/{name}/manifests/{reference}"), kind, bytes).await;
        assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&said));
        json!({ "mediaType": kind, "digest": digest, "size": size })
    }

    /// Pulls all images of a repository. Returns each tag with its digest.
    pub(crate) async fn pull_all(&self, name: &str) -> Vec<(String, String)> {
        let (status, list) = self.get(&format!("/v2/{name}/tags/list")).await;
        assert_eq!(status, StatusCode::OK);
        let list: Value = serde_json::from_slice(&list).unwrap();
        let mut found = Vec::new();
        for tag in list["tags"].as_array().unwrap() {
            let tag = tag.as_str().unwrap();
            let (status, body) = self.get(&format!("/v2/{name}/manifests/{tag}")).await;
            assert_eq!(status, StatusCode::OK, "{name}:{tag}");
            let manifest: Value = serde_json::from_slice(&body).unwrap();
            for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
                let wanted = part["digest"].as_str().unwrap();
                let (status, blob) = self.get(&format!("/v2/{name}/blobs/{wanted}")).await;
                assert_eq!((status, digest(&blob).as_str()), (StatusCode::OK, wanted), "{name}:{tag}");
            }
            found.push((tag.to_owned(), digest(&body)));
        }
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already. A suspended one can still be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Random bytes, different for each number.
pub(crate) fn noise(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) async fn wait(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A temporary folder, and the path of a data directory in it.
pub(crate) fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    (folder, data)
}
