//! Shared by the rows of one client: its directories, its programs, the time limit of the current row.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, ensure};
use harness::client::Target;
use harness::client::login::base64;
use harness::expect::not_here;
use harness::layout::{self, Image, Index};
use harness::program::{self, Program};
use harness::proxy::Proxy;
use harness::report::{Outcome, Report};
use harness::scale::Scale;
use harness::server::{Server, ServerOptions};
use harness::{local, status};
use serde_json::{Value, json};

pub const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;
/// The image that every client pushes: 3 layers, 20 MiB.
pub const THREE_LAYERS: [u64; 3] = [12 * MIB, 7 * MIB, MIB];
/// Rounds at once. Clients and their daemons mostly wait.
const WORKERS: usize = 3;
/// Default time limit of a row.
pub const ROW: Duration = Duration::from_mins(2);

/// The registry under test, and what all clients share.
#[derive(Debug)]
pub struct Setting {
    binary: Option<PathBuf>,
    target: Target,
    tools: PathBuf,
    scratch: PathBuf,
    logs: PathBuf,
    scale: Scale,
    /// First component of every repository name. It is unique, since an already judged registry has names of earlier
    /// runs.
    run: String,
    /// Settings of servers that rows start.
    settings: Vec<(String, String)>,
    report: Mutex<Report>,
}

impl Setting {
    pub fn new(
        check: &str,
        binary: Option<PathBuf>,
        target: Target,
        tools: PathBuf,
        scratch: &Path,
        logs: &Path,
        scale: Scale,
    ) -> Self {
        let report = Mutex::new(Report::new(check));
        let run = format!("run-{}", SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        let (scratch, logs) = (scratch.to_owned(), logs.to_owned());
        Setting { binary, target, tools, scratch, logs, scale, run, settings: Vec::new(), report }
    }

    /// Sets the settings of servers that rows start.
    pub fn with_settings(self, settings: Vec<(String, String)>) -> Self {
        Setting { settings, ..self }
    }

    /// A row that belongs to no client.
    pub fn row(&self, what: &str, run: impl FnOnce() -> anyhow::Result<()>) {
        let started = Instant::now();
        let outcome = run().into();
        self.report().add(what, outcome, started.elapsed());
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the rounds of several clients, a few at a time.
    pub fn rounds<'a>(&self, clients: impl Iterator<Item = (&'static str, Rows)> + Send + 'a) -> anyhow::Result<()> {
        let left = Mutex::new(clients);
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || std::iter::from_fn(next).try_for_each(|(name, rows)| self.round(name, rows));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("the thread of a client died"))?)
        })
    }

    /// A repository of this run.
    pub fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.run)
    }

    /// A client's image in its round.
    pub fn image_of(&self, client: &str, name: &str, sizes: &[u64]) -> anyhow::Result<Image> {
        let folder = tempfile::tempdir_in(&self.scratch)?;
        layout::image(folder.path(), &format!("{client} {name}"), sizes)
    }

    /// Runs all rows of one client. Its files are removed afterwards, its log stays.
    pub fn round(&self, name: &'static str, rows: impl FnOnce(&Round) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let scratch = self.scratch.join(name);
        fs::create_dir_all(scratch.join(".docker"))?;
        let log = self.logs.join(format!("{name}.log"));
        let deadline = Cell::new(Instant::now() + ROW);
        let round = Round { setting: self, name, target: self.target.clone(), scratch: scratch.clone(), log, deadline };
        round.log_in(&[&self.target.authority()])?;
        let started = Instant::now();
        if let Err(error) = rows(&round) {
            let outcome = Outcome::Fail(format!("{error:#}"));
            self.report().add(format!("{name}: ran to its end"), outcome, started.elapsed());
        }
        Ok(fs::remove_dir_all(scratch)?)
    }

    pub fn into_report(self) -> Report {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the rows of one client.
pub type Rows = fn(&Round) -> anyhow::Result<()>;

/// One client's rows.
#[derive(Debug)]
pub struct Round<'a> {
    setting: &'a Setting,
    name: &'static str,
    pub target: Target,
    scratch: PathBuf,
    pub log: PathBuf,
    deadline: Cell<Instant>,
}

impl Round<'_> {
    /// Writes the login file of all clients, with this account for these registries. Without an account it is empty,
    /// since podman requires the file in `DOCKER_CONFIG` to exist.
    fn log_in(&self, authorities: &[&str]) -> anyhow::Result<()> {
        let account = self.target.account().map(|account| format!("{}:{}", account.name(), account.password()));
        let login = account.map(|account| json!({"auth": base64(account.as_bytes())}));
        let logins: serde_json::Map<String, Value> =
            authorities.iter().filter_map(|authority| Some(((*authority).to_owned(), login.clone()?))).collect();
        let config = if logins.is_empty() { json!({}) } else { json!({"auths": logins}) };
        Ok(fs::write(self.logins(), config.to_string())?)
    }

    fn logins(&self) -> PathBuf {
        self.scratch.join(".docker/config.json")
    }

    /// A proxy before the registry. Clients can log in through it.
    pub fn proxy(&self) -> anyhow::Result<Proxy> {
        let proxy = Proxy::before(&self.target)?;
        self.log_in(&[&self.target.authority(), &proxy.authority()])?;
        Ok(proxy)
    }

    /// Environment variables with the registry's certificates and the login. Go programs read certificates from this
    /// file in addition to the system's folder.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut all = vec![("HOME", self.scratch.clone()), ("DOCKER_CONFIG", self.scratch.join(".docker"))];
        all.extend(self.target.ca.as_ref().map(|ca| ("SSL_CERT_FILE", ca.clone())));
        if self.target.account().is_some() {
            all.extend(["REGISTRY_AUTH_FILE", "HELM_REGISTRY_CONFIG"].map(|name| (name, self.logins())));
        }
        all
    }

    /// The option, if the registry speaks http.
    pub fn plain(&self, option: &'static str) -> Option<&'static str> {
        self.target.tls.is_none().then_some(option)
    }

    /// The value of `--tls-verify` for skopeo, podman and buildah.
    pub fn tls_verify(&self) -> bool {
        self.target.tls.is_some()
    }

    /// A row of Skyberth's own policy, not applicable to other registries.
    pub fn own_row(&self, what: &str, limit: Duration, run: impl FnOnce() -> anyhow::Result<()>) {
        if self.target.own {
            self.row(what, limit, run);
        }
    }

    /// Runs one row. All its programs together may take `limit`.
    pub fn row(&self, what: &str, limit: Duration, run: impl FnOnce() -> anyhow::Result<()>) {
        self.deadline.set(Instant::now() + limit);
        self.setting.row(&format!("{}: {what}", self.name), run);
        self.deadline.set(Instant::now() + ROW);
    }

    /// Runs a row with its own server, which it may kill and start again. If that server stores to portals, a second
    /// row deletes its local content and pulls it with `again`.
    pub fn row_with_own_server(
        &self,
        what: &str,
        limit: Duration,
        run: impl FnOnce(Server) -> anyhow::Result<Server>,
        again: impl FnOnce(&Target) -> anyhow::Result<()>,
    ) {
        let Some(binary) = &self.setting.binary else {
            let why = "the server is not ours to restart".to_owned();
            let name = format!("{}: {what}", self.name);
            self.setting.report().add(name, Outcome::NotApplicable(why), Duration::ZERO);
            return;
        };
        let mut left = None;
        self.row(what, limit, || {
            let mut options = ServerOptions::new(binary, &tempfile::tempdir_in(&self.scratch)?.keep())?;
            options.log = self.setting.logs.join(format!("{}-server.log", self.name));
            left = Some(run(options.envs(&self.setting.settings).start()?)?);
            Ok(())
        });
        if !self.setting.settings.is_empty() {
            self.row(&format!("{what}: it is pulled cold"), limit, || {
                cold(left.context("the server did not get so far")?, limit / 2, again)
            });
        }
    }

    /// The client, or another program, with a home directory of this round and the rest of the row's time.
    pub fn program(&self, name: &str) -> anyhow::Result<Program> {
        let path = program::find(name, &self.setting.tools)?;
        Ok(Program::new(path, &self.log)
            .folder(&self.scratch)
            .env("XDG_RUNTIME_DIR", &self.scratch)
            .envs(self.environment())
            .limit(self.deadline.get().saturating_duration_since(Instant::now())))
    }

    /// The `skyberth` binary, if the judge starts the servers.
    pub fn binary(&self) -> anyhow::Result<&Path> {
        self.setting.binary.as_deref().context("no binary is given")
    }

    /// The path of a program that becomes a daemon.
    pub fn find(&self, name: &str) -> anyhow::Result<PathBuf> {
        program::find(name, &self.setting.tools)
    }

    /// The log of a daemon, beside the client's.
    pub fn log_of(&self, daemon: &str) -> PathBuf {
        self.setting.logs.join(format!("{daemon}.log"))
    }

    /// The figure for the current scale. `quick` uses that of `ci`.
    pub fn pick<T>(&self, ci: T, full: T) -> T {
        if self.setting.scale == Scale::Full { full } else { ci }
    }

    /// A path in the round's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// A new, empty directory.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A repository of this client.
    pub fn repository(&self, name: &str) -> String {
        self.setting.repository(&format!("{}/{name}", self.name))
    }

    /// `HOST:PORT/REPOSITORY` of this client's repository.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{}", self.target.authority(), self.repository(name))
    }

    pub fn image(&self, name: &str, sizes: &[u64]) -> anyhow::Result<Image> {
        layout::image(&self.path(&format!("fixture-{name}")), &format!("{} {name}", self.name), sizes)
    }

    pub fn index(&self, name: &str) -> anyhow::Result<Index> {
        layout::index(&self.path(&format!("fixture-{name}")), &format!("{} {name}", self.name))
    }
}

/// Checks that at least this many blobs were mounted through the proxy. A registry may refuse all mounts.
pub fn mounted(round: &Round, proxy: &Proxy, least: usize) -> anyhow::Result<()> {
    let exchanges = proxy.exchanges();
    let mounts = exchanges.iter().filter(|one| one.method == "POST" && one.path.contains("mount="));
    let answers: Vec<u16> = mounts.filter_map(|one| one.status).collect();
    let done = answers.iter().filter(|status| **status == 201).count();
    ensure!(round.target.own || done > 0 || answers.is_empty(), not_here("this registry does not mount blobs"));
    ensure!(done >= least, "answers to mounts: {answers:?}");
    Ok(())
}

/// Waits until everything is placed, deletes the local content like an eviction of all, and pulls again.
fn cold(server: Server, limit: Duration, again: impl FnOnce(&Target) -> anyhow::Result<()>) -> anyhow::Result<()> {
    status::wait_placed(&server.target(), limit)?;
    let options = server.kill()?;
    let largest = local::content(&options.data)?.into_iter().map(|(_, size)| size).max().unwrap_or_default();
    local::delete_all(&options.data)?;
    let server = options.start().context("without local content")?;
    again(&server.target())?;
    let came = status::metric(&server.target(), "skyberth_cold_bytes_total")?;
    let is_cold = largest > 0 && came >= largest as f64;
    ensure!(is_cold, "{came} bytes came from the portals, and one content alone has {largest}: it was not cold");
    Ok(())
}
