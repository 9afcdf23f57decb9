//! The servers under comparison. Each runs on loopback with its own directory, and stops when it is dropped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use harness::client::{Request, Target};
use harness::program::find;
use harness::server::free_port;

use super::process;

/// Path below which nginx accepts files by PUT.
pub const TAKEN: &str = "/taken/";

/// The kind of a server.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Skyberth, by its binary.
    Skyberth(PathBuf),
    /// Debian's docker-registry 2.8 with its filesystem driver.
    DockerRegistry,
    /// Debian's nginx, serving files: the practical limit for sending bytes.
    Nginx,
    /// nginx as a proxy in front of another server. It keeps what it sends and verifies nothing: the practical limit
    /// for anything between a client and a portal.
    CachingProxy(Target),
}

/// A server of the table, with its name.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: &'static str,
    pub kind: Kind,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Contender {
    pub name: &'static str,
    pub target: Target,
    /// Time from the start of the process to its first 200.
    pub start: Duration,
    pub can_push: bool,
    /// True if it speaks HTTP/2 without TLS.
    pub speaks_http2: bool,
    folder: PathBuf,
    child: Child,
}

impl Entry {
    /// Starts the server with all data below `folder`, which is new.
    pub fn start(&self, folder: &Path) -> anyhow::Result<Contender> {
        fs::create_dir_all(folder)?;
        let target = Target::local(free_port()?);
        let mut command = match &self.kind {
            Kind::Skyberth(binary) => skyberth(binary, &target, folder),
            Kind::DockerRegistry => docker_registry(&target, folder)?,
            Kind::Nginx => nginx(&target, folder, &files())?,
            Kind::CachingProxy(origin) => nginx(&target, folder, &caching(folder, origin))?,
        };
        let log = File::create(folder.join("log"))?;
        // A process group of its own, so that nginx's workers end with it.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        end_with_us(&mut command);
        let ready = match &self.kind {
            Kind::Skyberth(_) => "/readyz",
            _ => "/v2/",
        };
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("start {}", self.name))?;
        let mut contender = Contender {
            name: self.name,
            target,
            start: Duration::ZERO,
            can_push: matches!(self.kind, Kind::Skyberth(_) | Kind::DockerRegistry),
            speaks_http2: matches!(self.kind, Kind::Skyberth(_)),
            folder: folder.to_owned(),
            child,
        };
        contender.wait_ready(ready, started)?;
        Ok(contender)
    }
}

impl Contender {
    fn wait_ready(&mut self, path: &str, started: Instant) -> anyhow::Result<()> {
        while !self.target.send(&Request::get(path)).is_ok_and(|answer| answer.status == 200) {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, log());
            }
            if started.elapsed() > Duration::from_mins(1) {
                bail!("{} is not ready after a minute: {}", self.name, log());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.start = started.elapsed();
        Ok(())
    }

    /// CPU seconds since the server's start.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.child.id())
    }

    pub(super) fn memory(&self) -> anyhow::Result<process::Memory> {
        process::memory(self.child.id())
    }

    /// The file that a file server serves under `path`.
    pub fn served_file(&self, path: &str) -> PathBuf {
        self.folder.join("root").join(path.trim_start_matches('/'))
    }

    #[expect(unsafe_code, reason = "std can send SIGKILL to one process only")]
    fn signal_group(&self, signal: i32) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: the group is our own child's, which was not waited for yet.
            unsafe {
                libc::kill(-pid, signal);
            }
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.signal_group(libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.signal_group(libc::SIGKILL);
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn skyberth(binary: &Path, target: &Target, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", &target.authority(), "--data"]).arg(folder.join("data"));
    command
}

/// A killed bench must not leave servers behind.
#[expect(unsafe_code, reason = "std cannot ask for a signal at the parent's death")]
fn end_with_us(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes only one system call, which allocates no memory.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// Debian's configuration without the access log, since the other servers write no line per request either.
fn docker_registry(target: &Target, folder: &Path) -> anyhow::Result<Command> {
    let configuration = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
         storage:\n  cache:\n    blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: {}\n\
         http:\n  addr: {}\n  headers:\n    X-Content-Type-Options: [nosniff]\n",
        folder.join("data").display(),
        target.authority()
    );
    let file = folder.join("config.yml");
    fs::write(&file, configuration)?;
    let mut command = Command::new(find("docker-registry", Path::new("/usr/bin"))?);
    command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
    Ok(command)
}

/// The purpose of an nginx, as lines of its configuration.
struct Manner {
    /// Lines outside the `server` block.
    http: String,
    /// Lines inside the `server` block.
    server: String,
}

/// Serves files below its root, and accepts uploads.
fn files() -> Manner {
    let server = format!("location {TAKEN} {{ dav_methods PUT; create_full_put_path on; client_max_body_size 0; }}");
    Manner { http: String::new(), server }
}

/// Serves everything from `origin`, and caches it regardless of its headers.
fn caching(folder: &Path, origin: &Target) -> Manner {
    let http = format!("proxy_cache_path {}/kept keys_zone=kept:1m use_temp_path=off;", folder.display());
    let server = format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_cache kept; proxy_cache_valid 200 1h;\n\
         proxy_ignore_headers Cache-Control Expires Set-Cookie Vary; }}",
        origin.authority()
    );
    Manner { http, server }
}

fn nginx(target: &Target, folder: &Path, manner: &Manner) -> anyhow::Result<Command> {
    let root = folder.join("root");
    fs::create_dir_all(root.join("v2"))?;
    let scratch = folder.display();
    let configuration = format!(
        "daemon off;\nworker_processes auto;\npid {scratch}/pid;\nerror_log {scratch}/error.log;\n{}\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000;\n\
         default_type application/octet-stream;\n\
         client_body_temp_path {scratch}/body;\n  proxy_temp_path {scratch}/proxy;\n\
         fastcgi_temp_path {scratch}/fastcgi;\n  uwsgi_temp_path {scratch}/uwsgi;\n  scgi_temp_path {scratch}/scgi;\n\
         {}\n server {{ listen {}; root {}; location = /v2/ {{ return 200; }}\n {} }}\n}}\n",
        // If root starts it, its workers would run as a user without access to the directory.
        if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            "user root;\n"
        } else {
            ""
        },
        manner.http,
        target.authority(),
        root.display(),
        manner.server
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new(find("nginx", Path::new("/usr/sbin"))?);
    command.arg("-p").arg(folder).arg("-c").arg(file);
    Ok(command)
}
