//! Accepts commands on a local socket in the data directory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Command, Output, PROTOCOL, Reply, Request, run};
use crate::service::Registry;

/// Longest command line accepted.
const MAX_COMMAND: u64 = 64 * 1024;

/// A socket that only this user can connect to. It replaces the socket of an earlier process.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(short(path)?.as_path())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A path for a socket. Such paths are limited to 108 bytes, so a longer one is made relative to an open directory.
pub(super) fn short(path: &Path) -> io::Result<ShortPath> {
    const LONGEST: usize = 100;
    if path.as_os_str().len() <= LONGEST {
        return Ok(ShortPath { path: path.to_owned(), _directory: None });
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = fs::File::open(parent)?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let path = Path::new("/proc/self/fd").join(descriptor.to_string()).join(name);
    Ok(ShortPath { path, _directory: Some(directory) })
}

/// A path that is valid while this value lives.
pub(super) struct ShortPath {
    path: std::path::PathBuf,
    _directory: Option<fs::File>,
}

impl ShortPath {
    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}

/// Serves commands until `stop`.
pub async fn serve(listener: UnixListener, registry: Arc<Registry>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                let (registry, stop) = (Arc::clone(&registry), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        result = answer(stream, &registry) => {
                            if let Err(error) = result {
                                tracing::debug!(%error, "the connection of a local command broke off");
                            }
                        }
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the local socket");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn answer(stream: UnixStream, registry: &Arc<Registry>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read);
    let mut line = String::new();
    (&mut reader).take(MAX_COMMAND).read_line(&mut line).await?;
    let command = match understand(&line) {
        Ok(command) => command,
        Err(why) => {
            send(&mut write, &Reply::node()).await?;
            return send(&mut write, &Reply::Failed(why)).await;
        }
    };
    let (out, mut replies) = Output::new();
    let running = async {
        run(registry, command, &out).await;
        drop(out);
    };
    // Owns the replies. Once the caller has left, the command's items are dropped instead of waiting.
    let sending = async move {
        // The caller sends nothing more. The end of its bytes means that it has left.
        let mut nothing = [0; 1];
        loop {
            let reply = tokio::select! {
                reply = replies.recv() => reply,
                _ = reader.read(&mut nothing) => None,
            };
            let Some(reply) = reply else { return Ok(()) };
            send(&mut write, &reply).await?;
        }
    };
    let ((), sent) = tokio::join!(running, sending);
    sent
}

fn understand(line: &str) -> Result<Command, String> {
    match serde_json::from_str(line) {
        Ok(Request { version: PROTOCOL, command }) => Ok(command),
        Ok(Request { version, .. }) => {
            Err(format!("this node accepts commands of version {PROTOCOL}, not {version}: use the node's own program"))
        }
        Err(error) => Err(format!("invalid command: {error}")),
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    write.write_all(&line).await
}
