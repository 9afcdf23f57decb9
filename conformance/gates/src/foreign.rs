//! The judge with another registry: https with a certificate of a private authority, accounts, tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use harness::authority::Authority;
use harness::daemon::Daemon;
use harness::issuer::Issuer;
use harness::program::{Ended, Program, find};
use harness::report::Report;
use harness::server::free_port;

/// An account of the registry, and the output of `htpasswd -B` for it and for another account with the same password.
const NAME: &str = "judge";
const PASSWORD: &str = "an open secret";
const HTPASSWD: &str = "judge:$2b$05$abcdefghijklmnopqrstuuwqFllrwe2AMtA5/0jSydclgLK6H/vHq\n\
    other:$2b$05$abcdefghijklmnopqrstuuwqFllrwe2AMtA5/0jSydclgLK6H/vHq\n";
/// Rows of pushing, mounting, reading and logging in that docker-registry passes.
const ROWS: &str = "1,12,14,22,45,51,67,75";
/// With accounts, a forged login is refused too. The registry with tokens accepts any token.
const LOGIN_ROWS: &str = "1,3,12,14,22,45,51,67,75";

/// Options: the judge's binary.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `conformance` binary; by default the one beside this program.
    #[arg(long)]
    judge: Option<PathBuf>,
    /// Directory of the Go clients. Those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
}

pub fn run(args: &Args, folder: Option<&Path>) -> anyhow::Result<()> {
    let judge = match &args.judge {
        Some(judge) => judge.clone(),
        None => std::env::current_exe()?.with_file_name("conformance"),
    };
    let work = tempfile::tempdir()?;
    let foreign = Foreign { judge, folder: work.path() };
    let mut report = Report::new("foreign");
    let registry = foreign.with_accounts()?;
    report.case("https and Basic: rows pass", || foreign.judge(&registry, &["--username", NAME], PASSWORD)?.passed());
    report.case("https and Basic: another password lets nobody in", || {
        foreign.judge(&registry, &["--username", NAME], "another")?.refused("got 401")
    });
    report.case("https and Basic: an account that may read what another one pushed is seen", || {
        let ask = |more: &[&str]| -> anyhow::Result<String> {
            let edge = ["edge", "--url", &registry.url, "--only", "1,5,47", "--username", NAME];
            let ca = registry.ca.as_ref().map(|ca| ca.display().to_string()).unwrap_or_default();
            Ok(foreign.run(&[&edge[..], &["--ca", &ca], more].concat(), PASSWORD)?.said())
        };
        let (without, with) = (ask(&[])?, ask(&["--alt-username", "other"])?);
        for row in ["5 ", "47 "] {
            ensure!(without.contains(&format!("n/a   {row}")), "without another account: {without}");
            ensure!(with.contains(&format!("should {row}")), "docker-registry has no rights per account: {with}");
        }
        Ok(())
    });
    report.case("Basic: an account without rights passes", || {
        let registry = foreign.with_rights()?;
        let edge = ["edge", "--url", &registry.url, "--only", "1,5,47", "--username", NAME, "--alt-username", "other"];
        let ended = foreign.run(&edge, PASSWORD)?;
        ensure!(ended.said().contains("edge: 3 passed"), "{}", ended.said());
        ended.passed()
    });
    report.case("https and Basic: clients push and pull", || {
        let clients =
            ["clients", "--url", &registry.url, "--username", NAME, "--only", "raw,crane,oras,regctl,skopeo,podman"];
        let ca = registry.ca.as_ref().map(|ca| ca.display().to_string()).unwrap_or_default();
        let ended = foreign
            .run(&[&clients[..], &["--ca", &ca, "--tools", &args.tools.display().to_string()]].concat(), PASSWORD)?;
        ended.passed()
    });
    report.case("https: without the authority it is not trusted", || {
        let said = foreign.run(&["edge", "--url", &registry.url, "--only", ROWS], "")?;
        said.refused("UnknownIssuer")
    });
    report.case("a row that does not exist is an error", || {
        let said = foreign.run(&["edge", "--url", &registry.url, "--only", "12,999"], "")?;
        ensure!(!said.status.success() && said.said().contains("no row 999"), "{}", said.said());
        Ok(())
    });
    let issuer = Issuer::start(NAME, PASSWORD, Duration::from_mins(5))?;
    let registry = foreign.with_tokens(&issuer)?;
    report.case("Bearer: rows pass with tokens for each repository", || {
        foreign.judge(&registry, &["--username", NAME], PASSWORD)?.passed()?;
        let scopes = issuer.scopes();
        ensure!(scopes.iter().any(|scope| scope.ends_with(":pull,push")), "no token to push: {scopes:?}");
        ensure!(scopes.iter().any(|scope| scope.contains("/source:pull")), "no token to mount: {scopes:?}");
        Ok(())
    });
    report.case("Bearer: the issuer gives nothing for another password", || {
        let message = format!("a token of {}: expected 200, got 401", issuer.realm());
        foreign.judge(&registry, &["--username", NAME], "another")?.refused(&message)
    });
    report.case("Bearer: a token may expire under a chunk", || {
        let issuer = Issuer::start(NAME, PASSWORD, Duration::from_secs(3))?;
        let registry = foreign.with_tokens(&issuer)?;
        let words = ["edge", "--url", &registry.url, "--only", "1,6", "--own", "--username", NAME];
        let said = foreign.run(&words, PASSWORD)?;
        ensure!(said.said().contains("pass  6 "), "{}", said.said());
        Ok(())
    });
    report.finish(folder)
}

/// The judge's binary, and a folder for the data of its registries.
struct Foreign<'a> {
    judge: PathBuf,
    folder: &'a Path,
}

/// A running docker-registry.
struct Registry {
    url: String,
    ca: Option<PathBuf>,
    _daemons: Vec<Daemon>,
}

trait Judged {
    fn passed(&self) -> anyhow::Result<()>;
    /// Fails unless all rows but row 3 fail with this message. Row 3 expects a refusal.
    fn refused(&self, message: &str) -> anyhow::Result<()>;
}

impl Judged for Ended {
    fn passed(&self) -> anyhow::Result<()> {
        ensure!(self.status.success(), "{}", self.said());
        Ok(())
    }

    fn refused(&self, message: &str) -> anyhow::Result<()> {
        let said = self.said();
        ensure!(self.status.code() == Some(1), "it ended with {}: {said}", self.status);
        let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
        ensure!(
            !failed.is_empty() && failed.iter().all(|line| line.contains(message)),
            "not all rows failed with {message:?}: {said}"
        );
        let passed = said.lines().find(|line| line.starts_with("pass") && !line.starts_with("pass  3 "));
        ensure!(passed.is_none(), "not refused: {passed:?}");
        Ok(())
    }
}

impl Foreign<'_> {
    fn judge(&self, registry: &Registry, words: &[&str], password: &str) -> anyhow::Result<Ended> {
        let ca = registry.ca.as_ref().map(|ca| ca.display().to_string());
        let ca: Vec<&str> = ca.iter().flat_map(|ca| ["--ca", ca.as_str()]).collect();
        let rows = if registry.ca.is_some() { LOGIN_ROWS } else { ROWS };
        let edge = ["edge", "--url", &registry.url, "--only", rows];
        self.run(&[&edge[..], &ca, words].concat(), password)
    }

    fn run(&self, words: &[&str], password: &str) -> anyhow::Result<Ended> {
        let judge = Program::new(&self.judge, &self.folder.join("judge.log"));
        judge
            .args(words)
            .env("CONFORMANCE_PASSWORD", password)
            .env("CONFORMANCE_ALT_PASSWORD", password)
            .limit(Duration::from_mins(4))
            .run_any()
    }

    fn with_accounts(&self) -> anyhow::Result<Registry> {
        let folder = self.folder.join("accounts");
        std::fs::create_dir_all(&folder)?;
        let authority = Authority::new(&folder)?;
        let pair = authority.sign("server", "IP:127.0.0.1")?;
        std::fs::write(folder.join("htpasswd"), HTPASSWD)?;
        let tls = format!("  tls: {{certificate: {}, key: {}}}\n", pair.certificate.display(), pair.key.display());
        let auth = format!("auth: {{htpasswd: {{realm: judged, path: {}}}}}\n", folder.join("htpasswd").display());
        let port = free_port()?;
        let daemon = start(&folder, port, &tls, &auth)?;
        Ok(Registry {
            url: format!("https://127.0.0.1:{port}"),
            ca: Some(authority.certificate()),
            _daemons: vec![daemon],
        })
    }

    /// The account `other` has no rights on this registry.
    fn with_rights(&self) -> anyhow::Result<Registry> {
        let folder = self.folder.join("rights");
        std::fs::create_dir_all(&folder)?;
        let (port, behind) = (free_port()?, free_port()?);
        let daemons = vec![start(&folder, behind, "", "")?, with_rights(&folder, port, behind)?];
        Ok(Registry { url: format!("http://127.0.0.1:{port}"), ca: None, _daemons: daemons })
    }

    fn with_tokens(&self, issuer: &Issuer) -> anyhow::Result<Registry> {
        let folder = self.folder.join(format!("tokens-{}", issuer.authority()));
        std::fs::create_dir_all(&folder)?;
        let port = free_port()?;
        // In this mode the registry challenges requests without a token, and accepts any token. The issuer records the
        // scopes that the judge requested.
        let auth = format!("auth: {{silly: {{realm: \"{}\", service: judged}}}}\n", issuer.realm());
        let daemon = start(&folder, port, "", &auth)?;
        Ok(Registry { url: format!("http://127.0.0.1:{port}"), ca: None, _daemons: vec![daemon] })
    }
}

/// An nginx that checks logins, and refuses everything to the account `other`.
fn with_rights(folder: &Path, port: u16, registry: u16) -> anyhow::Result<Daemon> {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("  {name}_temp_path {}/{name};\n", folder.display())).concat();
    let place = folder.display();
    // Workers that run as another user could not enter the folder.
    let config = format!(
        "daemon off;\nuser root;\npid {place}/pid;\nerror_log {place}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n\
         {temporary}  server {{\n    listen 127.0.0.1:{port};\n    client_max_body_size 0;\n    auth_basic judged;\n    \
         auth_basic_user_file {place}/htpasswd;\n    location / {{\n      if ($remote_user = other) {{ return 403; }}\n      \
         proxy_pass http://127.0.0.1:{registry};\n      proxy_set_header Host $http_host;\n    }}\n  }}\n}}\n"
    );
    std::fs::write(folder.join("nginx.conf"), config)?;
    std::fs::write(folder.join("htpasswd"), HTPASSWD)?;
    let mut command = std::process::Command::new(find("nginx", Path::new("/usr/sbin"))?);
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    Daemon::start(command, &folder.join("nginx.log"), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
}

fn start(folder: &Path, port: u16, tls: &str, auth: &str) -> anyhow::Result<Daemon> {
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: judged\n{tls}{auth}",
        folder.join("data").display()
    );
    let path = folder.join("config.yml");
    std::fs::write(&path, config)?;
    let mut command = std::process::Command::new(find("docker-registry", Path::new("/usr/bin"))?);
    command.arg("serve").arg(&path);
    Daemon::start(command, &folder.join("log"), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
}
