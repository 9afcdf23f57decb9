//! Skynet portals, judged by external programs: the official SDKs, a browser, libskynet, and skyd itself.
#![expect(clippy::unnecessary_wraps, reason = "the groups of rows have one signature")]

pub mod entry;
mod form;
mod keys;
pub mod link;
mod network;
mod oracle;
mod own;
mod peers;
mod process;
mod recompute;
mod registry;
mod sdk;
mod sector;
pub mod site;
mod surface;
mod tools;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use harness::client::Target;
use harness::gate::named;
use harness::report::{Outcome, Report};
use harness::scale::Scale;

use network::Network;
use process::Portal;
use site::{Profile, Site};
use tools::Tools;

/// Options: the portal to judge, and the programs that judge it.
#[derive(clap::Args, Debug)]
pub struct SkynetArgs {
    /// The `skyberth` binary.
    #[arg(long, required_unless_present_any = ["url", "network"])]
    binary: Option<PathBuf>,
    /// Address of a running portal instead, over http. Rows that need a portal of their own do not apply then.
    #[arg(long, conflicts_with = "binary")]
    url: Option<String>,
    /// The profile of that portal's uploads.
    #[arg(long, default_value = "4MiB/1+4", requires = "url")]
    profile: Profile,
    /// Judge real skyd behind a front instead, with a network of its own. Rows about Skyberth's additional promises do
    /// not apply then. If interfaces besides loopback are up, run this under `unshare --net`.
    #[arg(long, conflicts_with_all = ["binary", "url"])]
    network: bool,
    /// The `skyberth` binary whose registry stores to that network.
    #[arg(long, requires = "network")]
    registry: Option<PathBuf>,
    /// Directory of the judges' programs.
    #[arg(long, default_value = "target/tools")]
    tools: PathBuf,
    /// Directory of the scripts that run the SDKs.
    #[arg(long, default_value = "conformance/skynet")]
    scripts: PathBuf,
    /// Groups of rows to run, by name; by default all.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Run only rows whose names contain this text.
    #[arg(long)]
    row: Option<String>,
}

/// The environment of a group of rows.
#[derive(Debug)]
pub struct Suite {
    pub site: Site,
    pub binary: Option<PathBuf>,
    /// The binary whose registry stores to the real network.
    pub registry: Option<PathBuf>,
    pub tools: Tools,
    pub scale: Scale,
    pub seed: u64,
    /// Directory for logs and screenshots.
    pub reports: PathBuf,
    /// Directory for the data of portals, removed at the end.
    pub scratch: PathBuf,
    row: Option<String>,
    judged: Judged,
    report: Report,
}

/// A host name of the portal without subdomains for skylinks.
const NAMES: &[(&str, &str)] = &[("SERVER_HOSTS", "portal.example")];

type Group = fn(&mut Suite) -> anyhow::Result<()>;

const GROUPS: &[(&str, Group)] = &[
    ("registry", registry::run),
    ("surface", surface::run),
    ("own", own::run),
    ("oracle", oracle::run),
    ("libskynet", recompute::run),
    ("nodejs", sdk::nodejs),
    ("browser", sdk::browser),
    ("pages", sdk::pages),
    ("python", sdk::python),
    ("go", sdk::go),
];

pub fn run(args: &SkynetArgs, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let groups = named(GROUPS, "group", |(name, _)| name, &args.only)?;
    let scratch = tempfile::Builder::new().prefix("skynet").tempdir()?;
    let reports = std::path::absolute(folder.unwrap_or(scratch.path()))?.join("skynet");
    std::fs::create_dir_all(&reports)?;
    let tools = Tools::new(&args.tools, &args.scripts)?;
    let judged = Judged::start(args, &tools, scratch.path(), &reports)?;
    let mut suite = Suite {
        site: judged.site(args)?,
        binary: args.binary.clone(),
        registry: args.registry.clone(),
        tools,
        scale,
        seed,
        reports,
        scratch: scratch.path().to_owned(),
        row: args.row.clone(),
        judged,
        report: Report::new("skynet"),
    };
    for (name, group) in groups {
        let started = Instant::now();
        if let Err(error) = group(&mut suite) {
            suite.report.add(format!("{name}: runs"), Outcome::Fail(format!("{error:#}")), started.elapsed());
        }
    }
    let Suite { judged, report, .. } = suite;
    drop(judged);
    report.finish(folder)
}

/// The portal under judgement. Everything started for it ends with it.
#[derive(Debug)]
enum Judged {
    Own(Portal),
    Real(Network),
    Running,
}

impl Judged {
    fn start(args: &SkynetArgs, tools: &Tools, scratch: &Path, reports: &Path) -> anyhow::Result<Self> {
        if args.network {
            return Ok(Judged::Real(Network::start(tools, &scratch.join("network"), &reports.join("network.log"))?));
        }
        let Some(binary) = &args.binary else { return Ok(Judged::Running) };
        Ok(Judged::Own(Portal::start(binary, &scratch.join("main"), &reports.join("portal.log"), NAMES)?))
    }

    fn site(&self, args: &SkynetArgs) -> anyhow::Result<Site> {
        match (self, &args.url) {
            (Judged::Own(portal), _) => Ok(Site::new(portal.target().clone(), Profile::DEFAULT)),
            (Judged::Real(network), _) => Ok(Site::new(network.target().clone(), Profile::TESTING)),
            (Judged::Running, Some(url)) => Ok(Site::new(Target::parse(url)?, args.profile)),
            (Judged::Running, None) => bail!("--binary, --url or --network is needed"),
        }
    }
}

impl Suite {
    /// The real network, if it is judged.
    pub fn network(&self) -> Option<&Network> {
        match &self.judged {
            Judged::Real(network) => Some(network),
            _ => None,
        }
    }

    /// Runs a row if it is selected. With [`harness::expect::NotHere`] it does not apply.
    pub fn row(&mut self, name: &str, run: impl FnOnce(&Suite) -> anyhow::Result<()>) {
        if !self.wants(name) {
            return;
        }
        let started = Instant::now();
        let outcome = Outcome::from(run(self));
        self.report.add(name, outcome, started.elapsed());
    }

    /// Adds a row that another program ran.
    pub fn result(&mut self, name: &str, outcome: Outcome, took: std::time::Duration) {
        if self.wants(name) {
            self.report.add(name, outcome, took);
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.row.as_ref().is_none_or(|text| name.contains(text.as_str()))
    }

    /// The binary under judgement. Without one, the row does not apply.
    pub fn binary(&self) -> anyhow::Result<&Path> {
        self.binary.as_deref().ok_or_else(|| harness::expect::not_here("needs a portal of its own: --binary"))
    }
}
