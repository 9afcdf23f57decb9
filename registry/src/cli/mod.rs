//! The command line.

mod attached;
mod backend;
mod config;
mod descriptors;
mod gateway;
mod node;
mod operate;
mod ownership;
mod portal;
mod privileges;
mod process;
mod running;
mod serve;
mod r#try;
mod upkeep;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::admin;
use crate::config::{Config, Flags, Loaded, Program};

/// An OCI container registry that survives the loss of any machine, portal or provider.
#[derive(Parser)]
#[command(name = "skyberth", version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The version, or what the build was told to call itself, such as `0.1.0 (commit 1a2b3c4)`.
const VERSION: &str = match option_env!("SKYBERTH_BUILD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

#[derive(Subcommand)]
enum Command {
    /// Run the registry.
    Serve {
        #[command(flatten)]
        settings: Settings,
        /// Address and port to listen on [default: 127.0.0.1:5000].
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
        /// Run a Skynet portal too, and keep all content there as well.
        #[arg(long)]
        with_portal: bool,
    },
    /// Run a Skynet portal.
    Portal {
        /// Configuration file (TOML).
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Data directory [default: ./skyberth-portal-data].
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Address and port to listen on [default: 127.0.0.1:9980].
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// Say how a node is, running or stopped.
    Status {
        #[command(flatten)]
        settings: Settings,
    },
    /// List repositories, or the tags and digests of one.
    Ls {
        /// NAME, NAME:TAG or NAME@DIGEST.
        name: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove what nobody needs any more.
    Gc {
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Check everything stored, byte by byte.
    Fsck {
        /// Put damaged content aside, and mend a damaged journal as far as that can be done.
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Push, kill, lose the index and verify, all by itself, in a temporary directory.
    Try,
}

#[derive(Subcommand)]
enum ConfigAction {
    /// Say what is wrong with it, or print what is in force and where each value comes from.
    Check {
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args, Clone, Debug)]
struct Settings {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory [default: ./skyberth-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Settings {
    /// Reads the configuration; warnings go to stderr.
    fn load(&self, listen: Option<String>) -> anyhow::Result<Loaded> {
        self.load_with(Flags { listen, ..Flags::default() })
    }

    /// The data directory of the flags is that of these settings.
    fn load_with(&self, flags: Flags) -> anyhow::Result<Loaded> {
        let flags = Flags { data: self.data.clone(), ..flags };
        let loaded = Config::load(self.config.as_deref(), environment(), flags)?;
        for warning in &loaded.warnings {
            warn(warning);
        }
        Ok(loaded)
    }

    /// Reads the configuration for a command on the data directory: as the user that the node is, never as root, whose
    /// files the node could not read.
    fn load_to_operate(&self) -> anyhow::Result<Loaded> {
        let loaded = self.load(None)?;
        privileges::drop_root(loaded.config.server.run_as, &loaded.config.storage.data, false)?;
        Ok(loaded)
    }
}

/// The variables that are text; others are not ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            warn(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Serve { settings, listen, with_portal } => {
            let flags = Flags { listen, with_portal, ..Flags::default() };
            serve::serve(settings.load_with(flags)?).map(|()| true)
        }
        Command::Portal { config, data, listen } => {
            let settings = Settings { config, data };
            let flags = Flags { program: Program::Portal, listen, ..Flags::default() };
            portal::serve(settings.load_with(flags)?).map(|()| true)
        }
        Command::Status { settings } => operate::operate(&settings.load_to_operate()?, admin::Command::Status),
        Command::Ls { name, settings } => operate::operate(&settings.load_to_operate()?, admin::Command::Ls { name }),
        Command::Gc { dry_run, settings } => {
            operate::operate(&settings.load_to_operate()?, admin::Command::Gc { dry_run })
        }
        Command::Fsck { repair, settings } => operate::fsck(&settings.load_to_operate()?, repair),
        Command::Config { action: ConfigAction::Check { settings } } => {
            config::check(&settings.load(None)?);
            Ok(true)
        }
        Command::Try => r#try::run().map(|()| true),
    }
}

/// A line of a command's result. A reader that went away, such as `head`, is no failure of the command.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line about trouble, before the log is set up and for commands that have none.
fn warn(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "skyberth: {line}");
}
