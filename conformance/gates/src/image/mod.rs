//! The container image: built on a base made here, run as platforms run images, transferred by itself.

mod base;
mod cases;
mod compose;
mod container;
mod engine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use harness::client::login::Account;
use harness::report::{Outcome, Report};
use harness::scale::Scale;

use engine::{Engine, Workshop};

/// Options: what to build, and with which tools.
#[derive(clap::Args, Debug)]
pub struct ImageArgs {
    /// The `skyberth` binary for the image.
    #[arg(long)]
    binary: PathBuf,
    /// Directory of the Dockerfile.
    #[arg(long, default_value = ".")]
    context: PathBuf,
    /// Directory of tools. docker comes from the system if it is not there.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
}

/// The first user in what a node printed.
fn first_login(said: &str) -> anyhow::Result<Account> {
    let words = said
        .split_once("docker login --username ")
        .map(|(_, rest)| rest.split_whitespace().take(3).collect::<Vec<_>>());
    match words.unwrap_or_default()[..] {
        [name, "--password", password] => Ok(Account::new(name, password)),
        _ => None.with_context(|| format!("no line to log in with: {said}")),
    }
}

/// The image under test.
const IMAGE: &str = "skyberth:under-test";
/// The base images of a build from scratch, as the Dockerfile names them.
const PUBLIC_BASES: [&str; 2] = ["docker.io/library/rust:1.95-slim-bookworm", "docker.io/library/debian:bookworm-slim"];
const PULL: Duration = Duration::from_mins(5);
const BUILD: Duration = Duration::from_mins(40);

pub fn run(args: &ImageArgs, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let scratch = tempfile::Builder::new().prefix("image").tempdir()?;
    let logs = folder.unwrap_or(scratch.path()).join("image");
    std::fs::create_dir_all(&logs)?;
    let workshop = Workshop {
        tools: std::path::absolute(&args.tools)?,
        scratch: scratch.path().to_owned(),
        log: logs.join("docker.log"),
    };
    let engine = Engine::start(&workshop, "main")?;
    let mut report = Report::new("image");
    report.case("build: the runtime stage on a base made here", || build_runtime(&engine, args));
    if report.failed() == 0 {
        cases::run(&engine, &workshop, &mut report);
        let what = "deploy/compose.yaml: it serves, stops in order, and has what was pushed when it is up again";
        report.case(what, || compose::run(&engine, &args.context));
    }
    if scale == Scale::Full {
        report.case("build: both stages on bases made here, without a network", || build_both(&engine, args));
        build_on_public_bases(&engine, args, &mut report);
    }
    report.finish(folder)
}

/// Builds the image. BuildKit skips the build stage, since `BINARY` names an image in its place.
fn build_runtime(engine: &Engine, args: &ImageArgs) -> anyhow::Result<()> {
    base::import(engine, &args.binary)?;
    engine
        .docker()?
        .env("DOCKER_BUILDKIT", "1")
        .args(["build", "--progress=plain", "--tag", IMAGE])
        .args(["--build-arg", &format!("RUNTIME_IMAGE={}", base::RUNTIME)])
        .args(["--build-arg", &format!("BINARY={}", base::BINARY)])
        .arg(&args.context)
        .run()
        .map(drop)
}

fn build_both(engine: &Engine, args: &ImageArgs) -> anyhow::Result<()> {
    base::import_toolchain(engine, &args.context)?;
    let bases = [format!("BUILD_IMAGE={}", base::BUILD), format!("RUNTIME_IMAGE={}", base::RUNTIME)];
    build_and_ask(engine, args, &["--network=none", "--build-arg", &bases[0], "--build-arg", &bases[1]])
}

fn build_and_ask(engine: &Engine, args: &ImageArgs, options: &[&str]) -> anyhow::Result<()> {
    let build = engine.docker()?.env("DOCKER_BUILDKIT", "1").limit(BUILD);
    let build = build.args(["build", "--progress=plain", "--tag", "skyberth:from-source"]).args(options);
    build.arg(&args.context).run()?;
    let run = engine.docker()?.args(["run", "--rm", "--network=none", "skyberth:from-source", "--version"]);
    let said = run.run()?.text();
    anyhow::ensure!(said.starts_with("skyberth "), "the image says {said}");
    Ok(())
}

/// Builds on the public base images, if they are reachable.
fn build_on_public_bases(engine: &Engine, args: &ImageArgs, report: &mut Report) {
    let what = "build: both stages on the public base images";
    let pull = |base: &str| engine.docker()?.args(["pull", base]).limit(PULL).run().map(drop);
    match PUBLIC_BASES.iter().try_for_each(|base| pull(base)) {
        Ok(()) => report.case(what, || build_and_ask(engine, args, &["--network=host"])),
        Err(error) => {
            let why = format!("no base images here: {error:#}");
            report.add(what, Outcome::NotApplicable(why), Duration::ZERO);
        }
    }
}
