//! The access gate: logins from all sources, the first user, and others' checks of a registry with logins.

mod audit;
mod clients;
mod first_user;
mod judged;
mod matrix;
mod model;
mod secrets;
mod sources;
mod tokens;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::login::base64;
use harness::client::{Request, Target};
use harness::gate::{GateArgs, wait_until};
use harness::jobs;
use harness::program::{Ended, Program};
use harness::report::Report;
use harness::scale::Scale;
use harness::server::ServerOptions;

use super::case::{Case, OtherPrograms, Scene};

/// Cases run at once. They mostly wait for programs.
const WORKERS: usize = 3;

/// Options: the registry, its judge, and the clients.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    others: OtherPrograms,
}

/// The longest come first.
const CASES: &[Case] = &[
    ("random callers and tokens are answered as a model says", model::random),
    ("a public node makes one first user, whose password is shown once", first_user::made),
    ("a node whose users cannot be read does not start", first_user::unreadable),
    ("users come from variables, from htpasswd, and from skyberth user", sources::all),
    ("the audit journal has who did what, whatever is denied meanwhile", audit::kept),
    ("a robot's token works until it is revoked, and its last use is shown", tokens::robot),
    ("a changed htpasswd file is read again, and a broken one is not", sources::changed),
    ("no secret is in a log, a metric or an answer", secrets::nowhere),
];

pub fn run(args: &Args, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let scene = Scene::new(&args.gate.binary, scale, seed)?;
    let tools = std::path::absolute(&args.others.tools)?;
    let outside = judged::Outside { judge: args.others.judge()?, tools, scale };
    let mut report = Report::new("access");
    let matrix = matrix::jobs(&scene, &outside.tools, scale);
    let jobs = matrix.into_iter().chain(outside.jobs(&scene)).chain(CASES.iter().map(|case| scene.job(case)));
    jobs::run(&mut report, WORKERS, jobs.filter(|job| args.gate.wants(job.name())).map(Ok))?;
    report.finish(folder)
}

/// The value of `Authorization` for Basic.
fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{name}:{password}").as_bytes()))
}

/// The status of `GET /v2/` with this login.
fn login(target: &Target, name: &str, password: &str) -> anyhow::Result<u16> {
    Ok(target.send(&Request::get("/v2/").header("Authorization", basic(name, password)))?.status)
}

fn expect_login(target: &Target, name: &str, password: &str, status: u16) -> anyhow::Result<()> {
    let found = login(target, name, password)?;
    ensure!(found == status, "a login as {name} got {found}, not {status}");
    Ok(())
}

/// Runs a command of `skyberth` on the node's data directory, with the node's settings.
fn operate(options: &ServerOptions, words: &[&str], input: &str) -> anyhow::Result<Ended> {
    let log = options.data.with_file_name("command.log");
    let program = Program::new(&options.binary, &log).args(words).arg("--data").arg(&options.data);
    program.input(input.as_bytes())?.run_any()
}

/// Runs `skyberth user` on the node's data directory.
fn user(options: &ServerOptions, words: &[&str], input: &str) -> anyhow::Result<Ended> {
    operate(options, &[&["user"], words].concat(), input)
}

/// The token that `skyberth token` makes.
fn new_token(options: &ServerOptions, words: &[&str]) -> anyhow::Result<String> {
    let ended = operate(options, &[&["token"], words].concat(), "")?;
    ensure!(ended.status.success(), "{}", ended.said());
    password_in(&ended.said(), "has the token ")
}

/// Waits until the registry has written this to its log.
fn until_logged(options: &ServerOptions, text: &str) -> anyhow::Result<()> {
    let is_there = || std::fs::read_to_string(&options.log).is_ok_and(|log| log.contains(text));
    ensure!(wait_until(Duration::from_mins(1), is_there), "{text:?} is not in the log");
    Ok(())
}

/// The password in the line that `skyberth` printed.
fn password_in(text: &str, before: &str) -> anyhow::Result<String> {
    let (_, rest) = text.split_once(before).with_context(|| format!("no {before:?} in {text}"))?;
    let end = rest.find([',', ' ', '\n']).unwrap_or(rest.len());
    Ok(rest[..end].to_owned())
}
