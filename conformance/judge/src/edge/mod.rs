//! The edge table: one row for each odd request, run against any registry from outside.

mod beyond;
mod chunks;
mod closing;
mod deletes;
mod digests;
mod limits;
pub mod list;
mod login;
mod manifests;
mod mounts;
mod names;
mod own;
mod protocol;
mod pulls;
mod put_tags;
mod ranges;
mod references;
mod referrers;
mod restarts;
mod sources;
mod table;
mod tag_names;
mod tags;
mod uploads;

use std::path::{Path, PathBuf};
use std::time::Instant;

use harness::client::Target;
use harness::gate::named;
use harness::jobs::{self, Job};
use harness::report::{Outcome, Report};
use harness::site::Site;
use harness::surroundings::SurroundingsArgs;
use harness::target::TargetArgs;

use own::Workshop;
use sources::{Level, source};
use table::{How, TABLE, TableRow};

/// Rows that run side by side. Each has its own repositories.
const WORKERS: usize = 4;

/// Options of the edge table.
#[derive(Clone, Debug, clap::Args)]
pub struct EdgeOptions {
    /// By default a fresh server of `--binary` is judged.
    #[command(flatten)]
    target: TargetArgs,
    /// A `skyberth` binary, for rows that need a server with special settings.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Run only the rows with these numbers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    surroundings: SurroundingsArgs,
}

/// Runs the table and reports each row in order.
pub fn run(options: &EdgeOptions, folder: Option<&Path>) -> anyhow::Result<()> {
    let rows: Vec<&'static TableRow> = named(TABLE, "row", |row| row.number, &options.only)?;
    let open = |binary| Workshop::new(binary, &options.surroundings);
    let workshop = options.binary.as_deref().map(open).transpose()?;
    let (target, _server) = match (options.target.target()?, &workshop) {
        (Some(target), _) => (target, None),
        (None, Some(workshop)) => {
            let server = workshop.start("main", &[])?;
            (server.target(), Some(server))
        }
        (None, None) => anyhow::bail!("neither --url nor --binary"),
    };
    let mut report = Report::new("edge");
    let job = |row: &'static TableRow| {
        let (target, workshop) = (&target, workshop.as_ref());
        Job::rows(row.number, move |_, report| run_row(row, target, workshop, report))
    };
    jobs::run(&mut report, WORKERS, rows.into_iter().map(|row| Ok(job(row))))?;
    report.finish(folder)
}

fn run_row(row: &TableRow, target: &Target, workshop: Option<&Workshop>, report: &mut Report) {
    let started = Instant::now();
    let (level, _) = source(row.number);
    // For other registries, ignoring a recommendation is no failure.
    let outcome = match outcome(row, target, workshop) {
        Outcome::Fail(why) if level == Level::Should && !target.own => Outcome::Advice(why),
        other => other,
    };
    report.add(format!("{} {} [{level}]", row.number, row.title), outcome, started.elapsed());
}

fn outcome(row: &TableRow, target: &Target, workshop: Option<&Workshop>) -> Outcome {
    if !target.own && source(row.number).0 == Level::Policy {
        return Outcome::NotApplicable("own policy of Skyberth: --own asks for it".into());
    }
    let site = Site::new(target.clone(), row.number);
    if !target.own && referrers::ROWS.contains(&row.number) && referrers::supported(&site).is_ok_and(|has| !has) {
        return Outcome::NotApplicable("this registry has no referrers API".into());
    }
    let result = match (row.how, workshop) {
        (How::Anywhere(check), _) => check(&site),
        (How::Own(check), Some(workshop)) => check(workshop),
        (How::Own(_), None) => {
            return Outcome::NotApplicable("needs a server with settings of its own: --binary".into());
        }
        (How::NotHere(why), _) => return Outcome::NotApplicable(why.into()),
    };
    Outcome::from(result)
}
