//! Runs the official conformance suite. Results come from the files that it writes, never from its exit code.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::Target;
use harness::program::Program;
use harness::report::{Outcome, Report, Row};
use harness::scale::Scale;
use harness::server::ServerOptions;
use harness::surroundings::SurroundingsArgs;
use harness::target::TargetArgs;

/// Options: the registry to judge, and the build of the suite.
#[derive(clap::Args, Debug)]
pub struct OfficialArgs {
    /// The `skyberth` binary. It is started once for each round.
    #[arg(long, conflicts_with = "url")]
    binary: Option<PathBuf>,
    /// The suite's `conformance` binary.
    #[arg(long, default_value = "target/tools/bin/conformance")]
    suite: PathBuf,
    /// A running registry is judged by the sparse round only.
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    surroundings: SurroundingsArgs,
}

/// One way of running the suite, with the number of cases of a full mark (suite version 97274622c111).
#[derive(Debug)]
struct Round {
    name: &'static str,
    /// True if manifests with missing references must be accepted. A strict server excludes this.
    sparse: bool,
    tests: u64,
    /// Lines of results.yaml that are not `Pass` on a full mark.
    not_passing: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const SPARSE: Round = Round {
    name: "dev-sparse",
    sparse: true,
    tests: 1032,
    not_passing: &[],
    env: &[("SKYBERTH_REGISTRY_REFERENCE_CHECKS", "false")],
};
const STRICT: Round =
    Round { name: "dev-strict", sparse: false, tests: 986, not_passing: &["Sparse Manifests: Disabled"], env: &[] };

pub fn run(args: &OfficialArgs, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let files = folder.unwrap_or(scratch.path()).join("official");
    let mut report = Report::new("official");
    if let Some(target) = args.target.target()? {
        judge(&SPARSE, &target, &args.suite, &files, &mut report)?;
        return report.finish(folder);
    }
    let binary = args.binary.as_deref().context("--binary or --url is needed")?;
    let surroundings = args.surroundings.start(binary, scratch.path())?;
    // While working, the default, strict server is enough, since users meet that.
    let rounds: &[Round] = scale.pick(&[STRICT], &[SPARSE, STRICT], &[SPARSE, STRICT]);
    for round in rounds {
        let data = tempfile::tempdir()?;
        let mut options = ServerOptions::new(binary, data.path())?;
        std::fs::create_dir_all(files.join(round.name))?;
        options.log = files.join(round.name).join("server.log");
        for (key, value) in round.env {
            options = options.env(key, value);
        }
        options = options.envs(&surroundings.settings);
        let server = options.start()?;
        judge(round, &server.target(), &args.suite, &files, &mut report)?;
    }
    report.finish(folder)
}

/// Runs one round against a registry: a row for each of the suite's cases, and one for the exact counts.
fn judge(round: &Round, target: &Target, suite: &Path, files: &Path, report: &mut Report) -> anyhow::Result<()> {
    let started = Instant::now();
    let results = files.join(round.name);
    std::fs::create_dir_all(&results)?;
    let junit = results.join("junit.xml");
    let _ = std::fs::remove_file(&junit); // counts of an earlier run must not be taken for this one's
    let account = target.login.as_ref().and_then(|login| login.account.as_ref());
    let program = Program::new(suite, &results.join("suite.log"));
    let program = match account {
        Some(account) => program.env("OCI_USERNAME", account.name()).env("OCI_PASSWORD", account.password()),
        None => program,
    };
    // Go reads trusted authorities from this variable.
    let program = target.ca.iter().fold(program, |program, ca| program.env("SSL_CERT_FILE", ca));
    program
        .env("OCI_VERSION", "dev")
        .env("OCI_DATA_SPARSE", round.sparse.to_string())
        .env("OCI_REGISTRY", target.authority())
        .env("OCI_TLS", if target.tls.is_some() { "enabled" } else { "disabled" })
        .env("OCI_REPO1", "conformance/repo1")
        .env("OCI_REPO2", "conformance/repo2")
        .env("OCI_RESULTS_DIR", &results)
        .limit(Duration::from_mins(5))
        .run_any()?;
    let text = std::fs::read_to_string(&junit).context("the suite wrote no junit.xml")?;
    let counts = Counts::parse(&text)?;
    for case in cases(&text)? {
        let outcome = if case.status == "passed" { Outcome::Pass } else { Outcome::Fail(case.why()) };
        let row = Row { name: format!("{} {}", round.name, case.name), outcome, seconds: case.seconds };
        if let Outcome::Fail(why) = &row.outcome {
            println!("FAIL  {}: {why}", row.name);
        }
        report.rows.push(row);
    }
    let not_passing = lines_not_passing(&std::fs::read_to_string(results.join("results.yaml"))?);
    let outcome = verdict(&counts, round, &not_passing);
    println!("{}: {counts}", round.name);
    report.add(format!("{} full mark of {}", round.name, round.tests), outcome, started.elapsed());
    Ok(())
}

fn verdict(counts: &Counts, round: &Round, not_passing: &[String]) -> Outcome {
    let full = Counts { tests: round.tests, failures: 0, errors: 0, skipped: 0, disabled: 0 };
    if *counts != full {
        return Outcome::Fail(format!("{counts}; a full mark is {full}"));
    }
    if not_passing != round.not_passing {
        return Outcome::Fail(format!("results.yaml: {not_passing:?}; a full mark has {:?}", round.not_passing));
    }
    Outcome::Pass
}

/// The suite's own totals. They count each API used by a case, so they exceed the number of cases.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
    disabled: u64,
}

impl Counts {
    fn parse(junit: &str) -> anyhow::Result<Self> {
        let tag = tags(junit, "testsuite").next().context("no testsuite in junit.xml")?;
        let count = |name| attribute(tag, name).map_or(Ok(0), |value| value.parse::<u64>());
        let counts = Counts {
            tests: attribute(tag, "tests").context("testsuite without a tests attribute")?.parse()?,
            failures: count("failures")?,
            errors: count("errors")?,
            skipped: count("skipped")?,
            disabled: count("disabled")?,
        };
        ensure!(counts.failures + counts.errors + counts.skipped + counts.disabled <= counts.tests, "{counts:?}");
        Ok(counts)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { tests, failures, errors, skipped, disabled } = self;
        let passed = tests - failures - errors - skipped - disabled;
        write!(f, "{tests} tests: {passed} pass, {failures} fail, {errors} error, {skipped} skip, {disabled} disabled")
    }
}

#[derive(Debug)]
struct Case {
    name: String,
    status: String,
    seconds: f64,
    output: String,
}

impl Case {
    fn why(&self) -> String {
        format!("{}: {}", self.status, self.output.chars().take(300).collect::<String>())
    }
}

fn cases(junit: &str) -> anyhow::Result<Vec<Case>> {
    let mut all = Vec::new();
    for part in junit.split("<testcase ").skip(1) {
        let (tag, rest) = part.split_once('>').context("testcase without an end")?;
        let body = rest.split("</testcase>").next().unwrap_or_default();
        let output = body.split_once("<system-out>").and_then(|(_, rest)| rest.split("</system-out>").next());
        let name = attribute(tag, "name").context("testcase without a name")?;
        all.push(Case {
            name: name.trim_start_matches("OCI Conformance Test/").to_owned(),
            status: attribute(tag, "status").context("testcase without a status")?,
            seconds: attribute(tag, "time").and_then(|time| time.parse().ok()).unwrap_or(0.0),
            output: unescape(output.unwrap_or_default()),
        });
    }
    Ok(all)
}

/// The APIs and kinds of data in results.yaml that are not `Pass`.
fn lines_not_passing(yaml: &str) -> Vec<String> {
    let results = yaml.lines().skip_while(|line| !line.starts_with("apis:"));
    results
        .filter(|line| line.starts_with("  ") && !line.ends_with(": Pass"))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// The content of each start tag of that name. Go's encoder escapes `<`, `>` and quotes everywhere else.
fn tags<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let open = format!("<{name} ");
    xml.match_indices(&open)
        .map(|(at, open)| &xml[at + open.len()..])
        .filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag))
        .collect::<Vec<_>>()
        .into_iter()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = format!(" {tag}");
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| unescape(value))
}

fn unescape(text: &str) -> String {
    [("&#xA;", " "), ("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<testsuites time="1.0" tests="7" failures="2" skipped="1">
  <testsuite name="OCI Conformance Test" tests="7" failures="2" errors="1" skipped="1" time="1.0">
    <testcase name="OCI Conformance Test/ping" classname="" time="0.001646" status="passed">
      <system-err>GET /v2/</system-err>
    </testcase>
    <testcase name="OCI Conformance Test/empty/referrers" classname="" time="0.5" status="failure">
      <system-out>expected &#34;a&lt;b&#34;&#xA;status 404</system-out>
      <system-err>GET</system-err>
    </testcase>
  </testsuite>
</testsuites>"#;

    #[test]
    fn counts_come_from_the_suite_and_not_from_the_cases() {
        let counts = Counts::parse(JUNIT).unwrap();
        assert_eq!(counts, Counts { tests: 7, failures: 2, errors: 1, skipped: 1, disabled: 0 });
        assert_eq!(counts.to_string(), "7 tests: 3 pass, 2 fail, 1 error, 1 skip, 0 disabled");
    }

    #[test]
    fn only_the_exact_number_of_passes_is_a_full_mark() {
        let counts = |tests, skipped| Counts { tests, failures: 0, errors: 0, skipped, disabled: 0 };
        let disabled = ["Sparse Manifests: Disabled".to_owned()];
        assert_eq!(verdict(&counts(986, 0), &STRICT, &disabled), Outcome::Pass);
        assert_eq!(verdict(&counts(1032, 0), &SPARSE, &[]), Outcome::Pass);
        for poor in [counts(985, 0), counts(987, 0), counts(986, 1)] {
            assert!(matches!(verdict(&poor, &STRICT, &disabled), Outcome::Fail(_)), "{poor}");
        }
        assert!(matches!(verdict(&counts(1032, 0), &SPARSE, &disabled), Outcome::Fail(_)));
        assert!(matches!(verdict(&counts(986, 0), &STRICT, &["Ping: Skip".to_owned()]), Outcome::Fail(_)));
    }

    #[test]
    fn a_case_brings_its_name_status_and_reason() {
        let cases = cases(JUNIT).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].name.as_str(), cases[0].status.as_str()), ("ping", "passed"));
        assert_eq!(cases[1].why(), "failure: expected \"a<b\" status 404");
    }

    #[test]
    fn a_document_without_results_is_an_error() {
        assert!(Counts::parse("<testsuites></testsuites>").is_err());
        assert!(Counts::parse("<testsuite name=\"x\">").is_err());
    }

    #[test]
    fn lines_other_than_pass_are_named() {
        let yaml = "config:\n  tls: disabled\napis:\n  Ping: Pass\n  Tag delete: Skip\ndata:\n  Image: FAIL\n";
        assert_eq!(lines_not_passing(yaml), ["Tag delete: Skip", "Image: FAIL"]);
    }
}
