//! The release build of real skyd as an oracle. Its dry runs yield the skylinks that a portal of its profile must give.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::client::{Request, Target};
use harness::expect::not_here;
use harness::server::free_port;

use super::Suite;
use super::form::Form;
use super::process::Portal;
use super::site::{Profile, Site, accepted, escape, raw_request, upload_path};

/// Bytes that fit into the base sector beside the 99 bytes of its layout.
const ROOM: usize = (4 << 20) - 99;

/// Files whose base sectors the oracle can compute without a network.
const SIZES: [(&str, usize); 5] =
    [("0 bytes", 0), ("1 byte", 1), ("1 KiB", 1 << 10), ("32 KiB", 32 << 10), ("100 KiB", 100 << 10)];

pub fn run(suite: &mut Suite) -> anyhow::Result<()> {
    if suite.site.profile.sector != Profile::RELEASE.sector {
        suite.row("oracle: the same skylinks as skyd", |_| Err(not_here("the oracle has sectors of 4 MiB")));
        return Ok(());
    }
    let oracle = Oracle::start(suite)?;
    // With a running portal's own profile, the oracle can judge only small files.
    let (_portal, site) = if let Some(binary) = &suite.binary {
        let log = suite.reports.join("portal-release.log");
        let folder = suite.scratch.join("release");
        let portal = Portal::start(binary, &folder, &log, &[("PORTAL_PROFILE", &Profile::RELEASE.to_string())])?;
        let site = Site::new(portal.target().clone(), Profile::RELEASE);
        (Some(portal), site)
    } else {
        (None, suite.site.clone())
    };
    for (what, length) in SIZES {
        compare(suite, &oracle, &site, what, length);
    }
    suite.row("oracle: raw, up to the last byte of the base sector", |_| {
        for over in [0, 1, 63, 64, 65] {
            // {"filename":"raw.bin","length":4194166}
            let length = ROOM - 39 - over;
            raw(&oracle, &site, &site.noise("full", length)).with_context(|| format!("{length} bytes"))?;
        }
        Ok(())
    });
    suite.row("oracle: form, up to the last byte of the base sector", |_| {
        let metadata = r#"{"filename":"f.bin","length":4194000,"subfiles":{"f.bin":{"filename":"f.bin","len":4194000}},"tryfiles":["index.html"]}"#;
        let form = Form::new().file("file", "f.bin", None, &site.noise("full", ROOM - metadata.len()));
        same_form(&oracle, &site, "", &form)
    });
    suite.row("oracle: names, modes and types", |_| names(&oracle, &site));
    suite.row("oracle: directories with pages", |_| directories(&oracle, &site));
    Ok(())
}

fn compare(suite: &mut Suite, oracle: &Oracle, site: &Site, what: &str, length: usize) {
    let bytes = site.noise("oracle", length);
    suite.row(&format!("oracle: raw, {what}"), |_| raw(oracle, site, &bytes));
    suite.row(&format!("oracle: form, {what}"), |_| {
        same_form(oracle, site, "", &Form::new().file("file", "f.bin", Some("application/x-judged"), &bytes))?;
        same_form(oracle, site, "", &Form::new().file("file", "untyped", None, &bytes))
    });
}

/// Both skylinks for the same request.
fn raw(oracle: &Oracle, site: &Site, bytes: &[u8]) -> anyhow::Result<()> {
    same(oracle, site, &raw_request("filename=raw.bin", bytes))
}

fn same_form(oracle: &Oracle, site: &Site, query: &str, form: &Form) -> anyhow::Result<()> {
    same(oracle, site, &form.request(&upload_path(query)))
}

fn same(oracle: &Oracle, site: &Site, request: &Request) -> anyhow::Result<()> {
    let want = oracle.skylink(request)?;
    let got = accepted(site.send(request)?)?.link.to_string();
    ensure!(got == want, "the portal gives {got}, skyd {want}");
    Ok(())
}

fn names(oracle: &Oracle, site: &Site) -> anyhow::Result<()> {
    for name in
        ["ein Täst 漢字 🚀.txt", "a<b>&\"c\".txt", "back\\slash", "dir/name", "line\u{2028}end", "tab\u{1}x", " "]
    {
        let request = raw_request(&format!("filename={}", escape(name)), b"named");
        same(oracle, site, &request).with_context(|| format!("raw {name:?}"))?;
        if !name.contains(['\\', '"', '\u{1}']) {
            let form = Form::new().file("file", name, Some("text/plain; a=\"<&>\""), b"named");
            same_form(oracle, site, "", &form).with_context(|| format!("form {name:?}"))?;
        }
    }
    for mode in ["644", "755", "1777", "7"] {
        same(oracle, site, &raw_request(&format!("filename=m&mode={mode}"), b"moded"))?;
    }
    Ok(())
}

fn directories(oracle: &Oracle, site: &Site) -> anyhow::Result<()> {
    let form = || {
        Form::new()
            .file("files[]", "z.html", Some("text/html"), b"<p>")
            .file("files[]", "a/b c.txt", Some("text/plain"), &site.noise("b", 999))
            .file("files[]", "a/empty", None, b"")
            .file("files[]", "Grüße.bin", None, b"\x00\x01")
    };
    for query in [
        "",
        "&tryfiles=%5B%5D",
        "&tryfiles=%5B%22z.html%22,%22/z.html%22%5D",
        "&defaultpath=z.html",
        "&defaultpath=/z.html",
        "&disabledefaultpath=true",
        "&tryfiles=%5B%5D&errorpages=%7B%22404%22:%22/z.html%22,%22500%22:%22/z.html%22%7D",
    ] {
        same_form(oracle, site, &format!("filename=folder{query}"), &form()).with_context(|| format!("{query:?}"))?;
    }
    Ok(())
}

/// Skyd without a network. Dropping it kills the process.
#[derive(Debug)]
struct Oracle {
    target: Target,
    child: Child,
}

impl Oracle {
    fn start(suite: &Suite) -> anyhow::Result<Self> {
        let folder = suite.scratch.join("oracle");
        std::fs::create_dir_all(&folder)?;
        let target = Target::local(free_port()?);
        let log = suite.reports.join("oracle.log");
        let child =
            command(&suite.tools.program("skyd-oracle")?, &folder, &target, &log)?.spawn().context("start skyd")?;
        let mut oracle = Oracle { target, child };
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            // Without a network it is never "ready", but its modules load one after another.
            if oracle.skylink(&raw_request("filename=ready", b"")).is_ok() {
                return Ok(oracle);
            }
            if oracle.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("skyd did not get ready; see {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The skylink of a dry run of this upload.
    fn skylink(&self, request: &Request) -> anyhow::Result<String> {
        let mut request = request.clone();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        request.path = format!("{path}/judged?dryrun=true{}{query}", if query.is_empty() { "" } else { "&" });
        let request = request.header("User-Agent", "Sia-Agent").header("Authorization", "Basic OnBhc3N3b3Jk");
        let answer = self.target.send(&request)?;
        answer.expect(200).context("the oracle")?;
        Ok(answer.json()?["skylink"].as_str().context("the oracle returned no skylink")?.to_owned())
    }
}

fn command(program: &Path, folder: &Path, target: &Target, log: &Path) -> anyhow::Result<Command> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(program);
    // Gateway, consensus, wallet, transactions and renter, as uploads need them. Nothing of it reaches a network.
    command.args(["--no-bootstrap", "-M", "gctwr", "--rpc-addr", "127.0.0.1:0", "--siamux-addr", "127.0.0.1:0"]);
    command.args(["--siamux-addr-ws", "127.0.0.1:0", "--api-addr", &target.authority(), "-d"]).arg(folder);
    command.env("SIA_API_PASSWORD", "password");
    for name in ["SKYD_DATA_DIR", "SIA_DATA_DIR", "HOME"] {
        command.env(name, folder);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(folder);
    Ok(command)
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
