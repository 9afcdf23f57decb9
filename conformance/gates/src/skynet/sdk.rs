//! The official SDKs. Each script prints one JSON line per row, and a last line when it is complete.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::program::Program;
use harness::report::Outcome;
use harness::scale::Scale;
use harness::server::ServerOptions;
use serde_json::{Value, json};

use super::Suite;

const MIB: u64 = 1 << 20;

/// The smallest TUS upload that an SDK splits into two parallel ones: larger than one of its chunks.
const PARALLEL: u64 = 45 * MIB;

pub fn nodejs(suite: &mut Suite) -> anyhow::Result<()> {
    script(suite, "nodejs", "nodejs.mjs")
}

pub fn browser(suite: &mut Suite) -> anyhow::Result<()> {
    suite.tools.program("chromium")?;
    script(suite, "browser", "browser.mjs")
}

/// Web pages from other origins, and a registry on the same machine.
pub fn pages(suite: &mut Suite) -> anyhow::Result<()> {
    suite.tools.program("chromium")?;
    let Some(binary) = &suite.binary else { return Ok(()) };
    let registry = ServerOptions::new(binary, &suite.scratch.join("pages"))?.start()?;
    let program = Program::new(suite.tools.program("node")?, &suite.reports.join("pages.log"))
        .arg(suite.tools.scripts.join("node/pages.mjs"))
        .arg(suite.tools.node_modules()?)
        .arg(format!("http://{}", registry.options.target().authority()));
    rows(suite, "pages", program)
}

pub fn python(suite: &mut Suite) -> anyhow::Result<()> {
    let folder = folder(suite, "python")?;
    let program = Program::new(suite.tools.python()?, &suite.reports.join("python.log"))
        .arg(suite.tools.scripts.join("python/rows.py"))
        .arg(suite.site.url())
        .arg(folder)
        .arg(suite.site.unique());
    rows(suite, "python", program)
}

pub fn go(suite: &mut Suite) -> anyhow::Result<()> {
    let folder = folder(suite, "go")?;
    let program = Program::new(suite.tools.program("go-skynet-rows")?, &suite.reports.join("go.log"))
        .arg(suite.site.url())
        .arg(folder)
        .arg(suite.site.unique());
    rows(suite, "go", program)
}

/// Runs one of the scripts for node.
pub fn script(suite: &mut Suite, name: &str, file: &str) -> anyhow::Result<()> {
    let program = Program::new(suite.tools.program("node")?, &suite.reports.join(format!("{name}.log")))
        .arg(suite.tools.scripts.join("node").join(file))
        .arg(suite.tools.node_modules()?)
        .arg(suite.site.url())
        .arg(suite.site.unique())
        .arg(settings(suite).to_string())
        .arg(&suite.reports);
    rows(suite, name, program)
}

/// The scripts' settings: the portal, and the sizes to use.
fn settings(suite: &Suite) -> Value {
    let profile = suite.site.profile;
    let tus = |what: &str, length: u64, options: Value| json!({ "what": what, "length": length, "options": options });
    let forced = |multiplier: u64| json!({ "largeFileSize": 1, "chunkSizeMultiplier": multiplier });
    let mut large = vec![tus("a file of 1 KiB comes back by TUS", 1024, forced(1))];
    // The testing build of skyd cannot store more.
    if profile.sector >= MIB {
        large.push(tus("a file of 5 MiB and a byte comes back by TUS", 5 * MIB + 1, forced(1)));
        large.push(tus("a file of 45 MiB comes back by parallel TUS", PARALLEL, forced(1)));
        if suite.scale != Scale::Quick {
            large.push(tus("a file of 130 MiB comes back with default options", 130 * MIB, json!({})));
        }
    }
    json!({ "sector": profile.sector, "data": profile.data, "parity": profile.parity, "large": large })
}

fn folder(suite: &Suite, name: &str) -> anyhow::Result<PathBuf> {
    let folder = suite.scratch.join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Turns a program's lines into rows. Without the last line it did not finish.
fn rows(suite: &mut Suite, name: &str, program: Program) -> anyhow::Result<()> {
    let limit = Duration::from_secs(suite.scale.pick(300, 600, 1200));
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
            suite.result(&format!("{name}: {row}"), outcome, took);
        }
    }
    let outcome = if done && ended.status.success() {
        Outcome::Pass
    } else {
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        Outcome::Fail(format!("{}: {}", ended.status, said.chars().take(600).collect::<String>()))
    };
    suite.result(&format!("{name}: runs to its end"), outcome, started.elapsed());
    Ok(())
}
