//! A registry or portal process under test: starts it, waits until it is ready, kills it, starts it again.

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustls::ClientConfig;

use crate::authority::{Authority, Pair};
use crate::client::{Request, Target};
use crate::random::mix;

/// How to run the server. `start` may be called again after each kill.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The `skyberth` binary.
    pub binary: PathBuf,
    /// The command: `serve` or `portal`.
    pub command: &'static str,
    pub data: PathBuf,
    pub port: u16,
    /// Configuration by environment, such as `SKYBERTH_GC_GRACE`.
    pub env: Vec<(String, String)>,
    /// The trust of clients, and the file that they get it from; `None` for plain HTTP.
    pub trust: Option<(Arc<ClientConfig>, PathBuf)>,
    /// Log of stdout and stderr. Restarts append to it.
    pub log: PathBuf,
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    pub options: ServerOptions,
    child: Child,
}

impl ServerOptions {
    /// Options with data and log below `folder`, on a free loopback port.
    pub fn new(binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(ServerOptions {
            binary: binary.to_owned(),
            command: "serve",
            data: folder.join("data"),
            port: free_port()?,
            env: Vec::new(),
            trust: None,
            log: folder.join("server.log"),
        })
    }

    /// Runs a portal instead of a registry.
    pub fn portal(mut self) -> Self {
        self.command = "portal";
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds settings. Later ones win.
    pub fn envs(mut self, settings: &[(String, String)]) -> Self {
        self.env.extend_from_slice(settings);
        self
    }

    /// Serves over TLS with a certificate of this authority.
    pub fn tls(mut self, authority: &Authority, pair: &Pair) -> anyhow::Result<Self> {
        self.trust = Some((authority.trust()?, authority.certificate()));
        let file = |path: &Path| path.display().to_string();
        Ok(self
            .env("SKYBERTH_SERVER_TLS_CERTIFICATE", &file(&pair.certificate))
            .env("SKYBERTH_SERVER_TLS_KEY", &file(&pair.key)))
    }

    pub fn target(&self) -> Target {
        let (tls, ca) = self.trust.clone().unzip();
        Target { tls, ca, ..Target::local(self.port) }
    }

    /// Starts the server and waits until `/readyz` answers 200.
    pub fn start(&self) -> anyhow::Result<Server> {
        let mut server = self.spawn()?;
        server.wait_ready(Duration::from_mins(2))?;
        Ok(server)
    }

    /// Starts the process without waiting.
    pub fn spawn(&self) -> anyhow::Result<Server> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .arg(self.command)
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.port))
            .arg("--data")
            .arg(&self.data)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        Ok(Server { options: self.clone(), child })
    }
}

impl Server {
    pub fn target(&self) -> Target {
        self.options.target()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `/readyz`. An early exit is an error that names the log.
    pub fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("server ended with {status}; see {}", self.options.log.display());
            }
            if self.target().send(&Request::get("/readyz")).is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("server not ready after {limit:?}; see {}", self.options.log.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self, limit: Duration) -> anyhow::Result<std::process::ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("server still runs after {limit:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9`.
    pub fn kill(mut self) -> anyhow::Result<ServerOptions> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.options.clone())
    }

    /// Asks the process to stop.
    #[allow(unsafe_code, reason = "std cannot send SIGTERM")]
    pub fn sigterm(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id())?;
        // SAFETY: the pid is that of our own child, which was not waited for yet.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        Ok(())
    }

    /// Sends SIGTERM, then waits for an orderly end.
    pub fn terminate(mut self, limit: Duration) -> anyhow::Result<ServerOptions> {
        self.sigterm()?;
        let status = self.wait_exit(limit)?;
        anyhow::ensure!(status.success(), "SIGTERM ended the server with {status}");
        Ok(self.options.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports of servers. Linux gives outgoing connections higher ports, so that none of them takes the port of a stopped
/// server.
const PORTS: Range<u16> = 10_240..32_768;

/// A free loopback port that no judge on this machine has given to another server.
pub fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    // Judges that run side by side begin at different ports.
    let first = mix(u64::from(std::process::id())) as usize;
    for _ in PORTS {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len();
        let port = PORTS.start + number as u16;
        if let Ok(reserved) = reserve(port)
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reserved);
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}

/// Reserves the port against other judges until this process ends, even while its server is down.
fn reserve(port: u16) -> std::io::Result<UnixListener> {
    // Abstract names belong to a network namespace, like ports.
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("registry-judge-port-{port}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_connection_and_no_other_server_gets_the_port_of_one_that_is_down() {
        let outgoing = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let lowest: u16 = outgoing.split_whitespace().next().unwrap().parse().unwrap();
        let ports: Vec<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert!(ports.iter().all(|port| *port < lowest), "{ports:?} are given to connections from {lowest} on");
        let distinct: std::collections::BTreeSet<&u16> = ports.iter().collect();
        assert_eq!(distinct.len(), ports.len(), "given twice: {ports:?}");
    }
    #[test]
    fn a_port_is_reserved_for_one_judge_while_no_server_listens() {
        let port = free_port().unwrap();
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "nothing listens yet");
        assert!(reserve(port).is_err(), "another judge could draw {port}");
    }
}
