//! The official suite and real clients over https.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::gate::GateArgs;
use harness::program::Program;
use harness::report::Report;
use harness::scale::Scale;
use harness::server::{Server, ServerOptions};

use super::Secured;
use crate::case::Bench;

/// Clients that check certificates, and start at once.
const CLIENTS: &str = "raw,crane";
const ALL_CLIENTS: &str = "raw,crane,docker,podman,skopeo,oras,regctl,containerd,helm";

pub fn rows(bench: &Bench, gate: &GateArgs, judge: &Path, tools: &Path, report: &mut Report) {
    let ask = |words: &[&str], server: &Server| -> anyhow::Result<()> {
        let target = server.target();
        let ca = target.ca.as_ref().context("no authority")?;
        let program = Program::new(judge, &bench.folder.join("judge.log")).limit(Duration::from_mins(8));
        let scale = bench.scale.pick("quick", "quick", "full");
        let ended = program
            .args(["--scale", scale])
            .args(words)
            .args(["--url", &target.url()])
            .arg("--ca")
            .arg(ca)
            .run_any()?;
        ensure!(ended.status.success(), "{}", ended.said());
        Ok(())
    };
    let start = |name: &str, settings: &[(&str, &str)]| -> anyhow::Result<Server> {
        let secured = Secured::new(&bench.beside(name)?)?;
        settings.iter().fold(secured.options, |options: ServerOptions, (key, value)| options.env(key, value)).start()
    };
    gate.case(report, "the official suite over https", || {
        let server = start("official", &[("SKYBERTH_REGISTRY_REFERENCE_CHECKS", "false")])?;
        let suite = tools.join("conformance").display().to_string();
        ask(&["official", "--suite", &suite], &server)
    });
    gate.case(report, "clients push and pull over https", || {
        let server = start("clients", &[])?;
        let tools = tools.display().to_string();
        let clients = if bench.scale == Scale::Full { ALL_CLIENTS } else { CLIENTS };
        ask(&["clients", "--own", "--tools", &tools, "--only", clients], &server)
    });
    if bench.scale == Scale::Full {
        gate.case(report, "rows of the edge table over https", || {
            let server = start("edge", &[])?;
            ask(&["edge", "--own"], &server)
        });
    }
}
