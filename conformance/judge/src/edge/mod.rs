//! The edge table: one row for each odd request that a registry meets, run against any registry from outside.

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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use harness::client::Target;
use harness::gate::named;
use harness::report::{Outcome, Report};
use harness::site::Site;
use harness::surroundings::SurroundingsArgs;
use harness::target::TargetArgs;

use own::Workshop;
use sources::{Level, source};
use table::{How, TABLE, TableRow};

/// Rows run side by side; each has repositories of its own.
const WORKERS: usize = 4;

/// What the edge table runs against.
#[derive(Clone, Debug, clap::Args)]
pub struct EdgeOptions {
    /// Without it, a fresh server of `--binary` is judged.
    #[command(flatten)]
    target: TargetArgs,
    /// A `skyberth` binary, for the rows that need a server with settings of their own.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Only the rows of these numbers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    surroundings: SurroundingsArgs,
}

/// Runs the table and reports each row in its order.
pub fn run(options: &EdgeOptions, folder: Option<&Path>) -> anyhow::Result<()> {
    let rows: Vec<&TableRow> = named(TABLE, "row", |row| row.number, &options.only)?;
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
    for (index, outcome, took) in run_all(&rows, &target, workshop.as_ref())? {
        let (level, _) = source(rows[index].number);
        // Another registry does not fail by ignoring a recommendation.
        let outcome = match outcome {
            Outcome::Fail(why) if level == Level::Should && !target.own => Outcome::Advice(why),
            other => other,
        };
        report.add(format!("{} {} [{level}]", rows[index].number, rows[index].title), outcome, took);
    }
    report.finish(folder)
}

/// Runs the rows on a few threads and hands the results back in the table's order.
fn run_all(
    rows: &[&TableRow],
    target: &Target,
    workshop: Option<&Workshop>,
) -> anyhow::Result<Vec<(usize, Outcome, Duration)>> {
    let next = AtomicUsize::new(0);
    let (results, done) = mpsc::sync_channel(rows.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (results, next) = (results.clone(), &next);
            scope.spawn(move || {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < rows.len()) {
                    let started = Instant::now();
                    let outcome = run_row(rows[index], target, workshop);
                    let _ = results.send((index, outcome, started.elapsed()));
                }
            });
        }
    });
    drop(results);
    let mut all: Vec<_> = done.iter().collect();
    all.sort_by_key(|(index, ..)| *index);
    anyhow::ensure!(all.len() == rows.len(), "a row's thread died");
    Ok(all)
}

fn run_row(row: &TableRow, target: &Target, workshop: Option<&Workshop>) -> Outcome {
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
