//! Programs that judge TLS itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::gate::GateArgs;
use harness::program::{Program, find};
use harness::report::Report;

use super::{Secured, end};
use crate::case::Bench;

/// What sslscan must find: versions, and ciphers with forward secrecy and authenticated encryption.
const VERSIONS: [(&str, bool); 6] =
    [("SSLv2", false), ("SSLv3", false), ("TLSv1.0", false), ("TLSv1.1", false), ("TLSv1.2", true), ("TLSv1.3", true)];

pub fn sslscan(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let server = secured.options.start()?;
    let program = Program::new(find("sslscan", Path::new("/usr/bin"))?, &bench.folder.join("sslscan.log"));
    let said = program.args(["--no-colour", "--connect-timeout=20"]).arg(server.target().authority()).run()?.said();
    for (version, enabled) in VERSIONS {
        let line =
            said.lines().find(|line| line.starts_with(version)).with_context(|| format!("no {version}: {said}"))?;
        ensure!(line.ends_with("enabled") == enabled, "{line}");
    }
    let ciphers: Vec<&str> = said.lines().filter(|line| line.contains(" bits ")).collect();
    ensure!(ciphers.len() >= 6, "{} ciphers: {said}", ciphers.len());
    for line in ciphers.iter().filter(|line| line.starts_with("Preferred") || line.starts_with("Accepted")) {
        let strong = line.contains("TLS_") || line.contains("ECDHE-");
        ensure!(strong && (line.contains("GCM") || line.contains("CHACHA20")), "{line}");
    }
    for bad in ["vulnerable to heartbleed", "Compression enabled", "Insecure session renegotiation"] {
        let line = said.lines().find(|line| line.contains(bad) && !line.contains("not vulnerable"));
        ensure!(line.is_none(), "{line:?}");
    }
    end(server)
}

/// All checks of testssl.sh on protocols, ciphers and vulnerabilities. It takes minutes.
pub fn testssl(bench: &Bench, gate: &GateArgs, report: &mut Report) {
    gate.case(report, "testssl.sh finds nothing on protocols, ciphers and vulnerabilities", || {
        let secured = Secured::new(bench)?;
        let server = secured.options.start()?;
        let (log, findings) = (bench.folder.join("testssl.log"), bench.folder.join("testssl.json"));
        let program = Program::new(find("testssl", Path::new("/usr/bin"))?, &log).limit(Duration::from_mins(20));
        program
            .args(["--protocols", "--std", "--fs", "--server-preference", "--vulnerable", "--quiet", "--color", "0"])
            .args(["--warnings", "off", "--jsonfile"])
            .arg(&findings)
            .arg(server.target().authority())
            .run_any()?;
        let text = std::fs::read_to_string(&findings).context("testssl wrote no findings")?;
        let all: Vec<serde_json::Value> = serde_json::from_str(&text)?;
        ensure!(all.len() > 40, "{} findings", all.len());
        let severe = |severity: &str| !["OK", "INFO", "DEBUG"].contains(&severity);
        let bad: Vec<String> = all
            .iter()
            .filter(|one| severe(one["severity"].as_str().unwrap_or_default()))
            .map(|one| format!("{}: {} ({})", one["id"], one["finding"], one["severity"]))
            .collect();
        ensure!(bad.is_empty(), "{}", bad.join("; "));
        end(server)
    });
}
