//! The official SDKs: each script prints one JSON line a row, and a last one that it came to its end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::program::Program;
use harness::report::Outcome;
use harness::scale::Scale;
use serde_json::{Value, json};

use super::Bench;

const MIB: u64 = 1 << 20;

/// The smallest TUS upload that an SDK splits in two parallel ones: over one of its chunks.
const PARALLEL: u64 = 45 * MIB;

pub fn nodejs(bench: &mut Bench) -> anyhow::Result<()> {
    script(bench, "nodejs", "nodejs.mjs")
}

pub fn browser(bench: &mut Bench) -> anyhow::Result<()> {
    bench.tools.program("chromium")?;
    script(bench, "browser", "browser.mjs")
}

pub fn python(bench: &mut Bench) -> anyhow::Result<()> {
    let folder = folder(bench, "python")?;
    let program = Program::new(bench.tools.python()?, &bench.reports.join("python.log"))
        .arg(bench.tools.scripts.join("python/rows.py"))
        .arg(bench.site.url())
        .arg(folder)
        .arg(bench.site.unique());
    rows(bench, "python", program)
}

pub fn go(bench: &mut Bench) -> anyhow::Result<()> {
    let folder = folder(bench, "go")?;
    let program = Program::new(bench.tools.program("go-skynet-rows")?, &bench.reports.join("go.log"))
        .arg(bench.site.url())
        .arg(folder)
        .arg(bench.site.unique());
    rows(bench, "go", program)
}

/// Runs one of the scripts for node.
pub fn script(bench: &mut Bench, name: &str, file: &str) -> anyhow::Result<()> {
    let program = Program::new(bench.tools.program("node")?, &bench.reports.join(format!("{name}.log")))
        .arg(bench.tools.scripts.join("node").join(file))
        .arg(bench.tools.node_modules()?)
        .arg(bench.site.url())
        .arg(bench.site.unique())
        .arg(settings(bench).to_string())
        .arg(&bench.reports);
    rows(bench, name, program)
}

/// What scripts should know of the portal, and how large they should go.
fn settings(bench: &Bench) -> Value {
    let profile = bench.site.profile;
    let tus = |what: &str, length: u64, options: Value| json!({ "what": what, "length": length, "options": options });
    let forced = |multiplier: u64| json!({ "largeFileSize": 1, "chunkSizeMultiplier": multiplier });
    let mut large = vec![tus("a file of 1 KiB comes back by TUS", 1024, forced(1))];
    // The testing build of skyd cannot take more.
    if profile.sector >= MIB {
        large.push(tus("a file of 5 MiB and a byte comes back by TUS", 5 * MIB + 1, forced(1)));
        large.push(tus("a file of 45 MiB comes back by parallel TUS", PARALLEL, forced(1)));
        if bench.scale != Scale::Quick {
            large.push(tus("a file of 130 MiB comes back with default options", 130 * MIB, json!({})));
        }
    }
    json!({ "sector": profile.sector, "data": profile.data, "parity": profile.parity, "large": large })
}

fn folder(bench: &Bench, name: &str) -> anyhow::Result<PathBuf> {
    let folder = bench.scratch.join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Takes a program's lines as rows; one without its last line did not run to its end.
fn rows(bench: &mut Bench, name: &str, program: Program) -> anyhow::Result<()> {
    let limit = Duration::from_secs(bench.scale.pick(300, 600, 1200));
    let started = Instant::now();
    let ended = program.limit(limit).run_any()?;
    let mut done = false;
    for line in String::from_utf8_lossy(&ended.stdout).lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        done |= line["done"] == true;
        if let Some(row) = line["row"].as_str() {
            let why = line["why"].as_str().unwrap_or_default().to_owned();
            let outcome = match line["ok"].as_bool() {
                Some(true) => Outcome::Pass,
                Some(false) => Outcome::Fail(why),
                None => Outcome::NotApplicable(why),
            };
            let took = Duration::from_secs_f64(line["seconds"].as_f64().unwrap_or_default());
            bench.result(&format!("{name}: {row}"), outcome, took);
        }
    }
    let outcome = if done && ended.status.success() {
        Outcome::Pass
    } else {
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        Outcome::Fail(format!("{}: {}", ended.status, said.chars().take(600).collect::<String>()))
    };
    bench.result(&format!("{name}: runs to its end"), outcome, started.elapsed());
    Ok(())
}
