//! The benchmark: the registry beside docker-registry and nginx in one run, in interleaved rounds with fresh data.

pub mod contender;
mod content;
mod distance;
mod figures;
mod load;
pub(crate) mod process;
mod push;
mod round;
mod table;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::report::{Outcome, Report};
use harness::scale::Scale;

use contender::{Entry, Kind};
use figures::{Figure, Figures};
use round::Round;
use table::Table;

const OURS: &str = "skyberth";
const RIVAL: &str = "docker-registry";
const BEFORE: &str = "before";
const LIMIT: &str = "nginx";
/// The bench itself, writing and syncing the bytes of a push.
const REFERENCE: &str = "synced write";

/// How many times the CPU of docker-registry a push or pull may take at full scale, and how many times worse than
/// before any figure may be. Machines are noisy, so a median of ratios this close to 1 proves nothing.
const TOLERANCE: f64 = 1.05;

/// Options: what to measure, and against which servers.
#[derive(clap::Args, Debug)]
pub struct BenchArgs {
    /// The `skyberth` binary, a release build.
    #[arg(long)]
    binary: PathBuf,
    /// Another build, measured in the same rounds.
    #[arg(long)]
    before: Option<PathBuf>,
    /// Groups of figures; by default all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// Number of rounds. By default the scale decides.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: Option<u8>,
}

/// A group of figures measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Group {
    Push,
    Pull,
    Requests,
    Images,
}

/// The sizes of a run.
#[derive(Debug)]
struct Plan {
    only: Vec<Group>,
    rounds: usize,
    /// Size of a large blob in blocks of 16 MiB.
    blocks: usize,
    /// Large blobs pulled per value, over all streams.
    pulls: usize,
    /// Requests per value.
    requests: usize,
    /// Small images pushed per value.
    images: usize,
}

impl Plan {
    fn new(args: &BenchArgs, scale: Scale) -> Self {
        Plan {
            only: args.only.clone(),
            rounds: args.rounds.map_or_else(|| scale.pick(2, 2, 5), usize::from),
            blocks: scale.pick(4, 16, 64),
            pulls: scale.pick(8, 4, 4),
            requests: scale.pick(2_000, 3_000, 20_000),
            images: scale.pick(40, 40, 400),
        }
    }

    fn has(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }
}

pub fn run(args: &BenchArgs, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let plan = Plan::new(args, scale);
    let mut entries = vec![Entry { name: OURS, kind: Kind::Skyberth(args.binary.clone()) }];
    entries.extend(args.before.clone().map(|binary| Entry { name: BEFORE, kind: Kind::Skyberth(binary) }));
    entries.push(Entry { name: RIVAL, kind: Kind::DockerRegistry });
    entries.push(Entry { name: LIMIT, kind: Kind::Nginx });
    let mut figures = Figures::default();
    let mut report = Report::new("bench");
    println!("{}", circumstances());
    for number in 0..plan.rounds {
        let scratch = tempfile::Builder::new().prefix("bench").tempdir()?;
        report.case(format!("round {}", number + 1), || {
            Round { plan: &plan, figures: &mut figures, number, folder: scratch.path() }.run(&entries)
        });
    }
    compare(&mut report, &figures, scale);
    let table = tabulate(&figures, &entries);
    println!("\n{}", table.text());
    if let Some(folder) = folder {
        write(&folder.join("bench"), &figures, &table, &plan)?;
    }
    report.finish(folder)
}

/// The assertions, made only if the sizes are large enough.
fn compare(report: &mut Report, figures: &Figures, scale: Scale) {
    compare_with_before(report, figures, scale);
    let moves_bytes = |name: &str| name.starts_with("push of a blob") || name.starts_with("pull of a blob");
    for figure in figures.select(|meaning| moves_bytes(&meaning.name) && meaning.name.ends_with("CPU")) {
        let started = Instant::now();
        let name = format!("{} is not behind {RIVAL}", figure.meaning.name);
        let outcome = match (verdict(figure), scale) {
            (result, Scale::Full) => result.map_or_else(|error| Outcome::Fail(format!("{error:#}")), |_| Outcome::Pass),
            (result, _) => Outcome::NotApplicable(match result {
                Ok(ratio) => format!("recorded below full scale: {ratio:.2}"),
                Err(error) => format!("recorded below full scale: {error:#}"),
            }),
        };
        report.add(name, outcome, started.elapsed());
    }
}

/// A figure is worse than before only if the whole confidence interval of its ratio says so.
fn compare_with_before(report: &mut Report, figures: &Figures, scale: Scale) {
    for figure in &figures.0 {
        let Some(worse) = figure.surely_worse(OURS, BEFORE) else { continue };
        let outcome = match (worse > TOLERANCE, scale) {
            (true, Scale::Full) => Outcome::Fail(format!("{worse:.2} times as bad, {TOLERANCE} are tolerated")),
            (false, Scale::Full) => Outcome::Pass,
            (_, _) => Outcome::NotApplicable(format!("recorded below full scale: {worse:.2}")),
        };
        report.add(format!("{} is no worse than before", figure.meaning.name), outcome, Duration::ZERO);
    }
}

fn verdict(figure: &Figure) -> anyhow::Result<f64> {
    let ratio = figure.ratio(OURS, RIVAL).ok_or_else(|| anyhow::anyhow!("was not measured on both"))?;
    ensure!(ratio <= TOLERANCE, "{ratio:.2} times its CPU seconds, {TOLERANCE} are tolerated");
    Ok(ratio)
}

fn tabulate(figures: &Figures, entries: &[Entry]) -> Table {
    let mut servers: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    let rivals: Vec<&str> = servers.iter().copied().filter(|name| [RIVAL, BEFORE].contains(name)).collect();
    servers.push(REFERENCE);
    Table::new(figures, &servers, OURS, &rivals)
}

/// Facts needed to read the figures.
fn circumstances() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{cores} cores, {}; load average at the start {}",
        model.trim_start_matches([' ', '\t', ':']),
        load.split(' ').next().unwrap_or("unknown")
    )
}

fn write(folder: &Path, figures: &Figures, table: &Table, plan: &Plan) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let about = format!(
        "{}; medians of {} rounds; blobs of {} MiB; {} requests and {} images a value",
        circumstances(),
        plan.rounds,
        plan.blocks * content::BLOCK / (1024 * 1024),
        plan.requests,
        plan.images
    );
    let json = serde_json::json!({ "about": about, "figures": figures });
    std::fs::write(folder.join("figures.json"), serde_json::to_string_pretty(&json)?)?;
    std::fs::write(folder.join("table.txt"), format!("{about}\n\n{}", table.text()))?;
    std::fs::write(folder.join("table.md"), format!("{about}\n\n{}", table.markdown()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::figures::Meaning;
    use super::*;

    fn outcome(ours: f64, scale: Scale) -> Outcome {
        let mut figures = Figures::default();
        figures.record(Meaning::less("pull of a blob, 1 stream, CPU", "s/GiB"), OURS, ours);
        figures.record(Meaning::less("pull of a blob, 1 stream, CPU", "s/GiB"), RIVAL, 1.0);
        figures.record(Meaning::less("pull of a blob, 1 stream, wall", "s/GiB"), OURS, 9.0);
        let mut report = Report::new("bench");
        compare(&mut report, &figures, scale);
        assert_eq!(report.rows.len(), 1);
        report.rows.remove(0).outcome
    }

    #[test]
    fn being_behind_fails_at_full_scale_only() {
        assert_eq!(outcome(1.04, Scale::Full), Outcome::Pass);
        assert!(matches!(outcome(1.06, Scale::Full), Outcome::Fail(_)));
        assert!(matches!(outcome(1.06, Scale::Ci), Outcome::NotApplicable(_)));
    }
}
