//! The command line.

mod attached;
mod backend;
mod backup;
mod config;
mod descriptors;
mod gateway;
mod node;
mod operate;
mod ownership;
mod portal;
mod privileges;
mod process;
mod render;
mod running;
mod serve;
mod r#try;
mod upkeep;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::backup::Place;
use self::render::Form;
use crate::admin;
use crate::admin::client::NotAnswering;
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
    /// Say how a node is, running or stopped. Exit code 0: ready; 3: not ready; 4: stopped.
    Status {
        /// Also ask whether all content is at portals of other machines. Exit code 5: it is not; 6: they do not answer.
        #[arg(long)]
        safe: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// List repositories, or the tags and digests of one, or what an image needs.
    Ls {
        /// NAME, NAME:TAG or NAME@DIGEST.
        name: Option<String>,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove a tag, a manifest with its tags, or all of a repository.
    Rm {
        /// NAME:TAG, NAME@DIGEST, or NAME with --yes.
        name: String,
        /// All tags and manifests of NAME are meant.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove what nobody needs any more.
    Gc {
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Check everything stored, byte by byte.
    Fsck {
        /// Put damaged content aside, and mend a damaged journal as far as that can be done.
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Write a node, running or stopped, to one tar archive. Exit code 1: content is missing that is nowhere else.
    Backup {
        /// The archive; - is standard output.
        file: PathBuf,
        /// Which content is in it, besides names, tags, links and where copies are.
        #[arg(long, value_enum, default_value_t)]
        content: backup::Content,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make a node of an archive, in an empty data directory. Exit code 1: the archive was not complete.
    Restore {
        /// The archive; - is standard input.
        file: PathBuf,
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
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args, Clone, Copy, Debug)]
struct Json {
    /// Print JSON for programs, one object a line; sizes are bytes.
    #[arg(long = "json")]
    wanted: bool,
}

impl Json {
    fn form(self) -> Form {
        Form::of(self.wanted)
    }
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

    /// Reads the configuration for a command that only reads the data directory.
    fn load_to_read(&self) -> anyhow::Result<Loaded> {
        let loaded = self.load(None)?;
        privileges::drop_root_to_read(loaded.config.server.run_as, &loaded.config.storage.data)?;
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
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            warn(&format!("{error:#}"));
            let not_ready = error.is::<operate::NotReady>() || error.is::<NotAnswering>();
            ExitCode::from(if not_ready { 3 } else { 2 })
        }
    }
}

/// The exit code.
fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Serve { settings, listen, with_portal } => {
            let flags = Flags { listen, with_portal, ..Flags::default() };
            serve::serve(settings.load_with(flags)?).map(|()| 0)
        }
        Command::Portal { config, data, listen } => {
            let settings = Settings { config, data };
            let flags = Flags { program: Program::Portal, listen, ..Flags::default() };
            portal::serve(settings.load_with(flags)?).map(|()| 0)
        }
        Command::Status { safe, json, settings } => operate::status(&settings.load_to_read()?, safe, json.form()),
        Command::Ls { name, json, settings } => {
            let target = name.map(|name| name.parse()).transpose()?;
            found_faults(operate::read(&settings.load_to_read()?, admin::Command::Ls { target }, json.form()))
        }
        Command::Rm { name, yes, json, settings } => {
            let command = operate::removal(&name, yes)?;
            found_faults(operate::change(&settings.load_to_operate()?, command, json.form()))
        }
        Command::Gc { dry_run, json, settings } => {
            found_faults(operate::change(&settings.load_to_operate()?, admin::Command::Gc { dry_run }, json.form()))
        }
        Command::Fsck { repair, json, settings } => {
            let loaded = if repair { settings.load_to_operate()? } else { settings.load_to_read()? };
            found_faults(operate::fsck(&loaded, repair, json.form()))
        }
        Command::Backup { file, content, settings } => {
            let (config, target) = (settings.load_to_read()?.config, Place::from(file));
            // Before anything is copied, and as the user who gives it its name at the end.
            let output = backup::Partial::of(&target)?;
            found_faults(backup::make(&config, &target, output, content))
        }
        Command::Restore { file, settings } => {
            let input = Place::from(file).open()?;
            let config = settings.load(None)?.config;
            privileges::drop_root(config.server.run_as, &config.storage.data, true)?;
            found_faults(backup::restore(&config.storage.data, input))
        }
        Command::Config { action: ConfigAction::Check { json, settings } } => {
            config::check(&settings.load(None)?, json.form()).map(|()| 0)
        }
        Command::Try => r#try::run().map(|()| 0),
    }
}

/// 1 if a command found faults.
fn found_faults(sound: anyhow::Result<bool>) -> anyhow::Result<u8> {
    sound.map(|sound| u8::from(!sound))
}

/// A line of a command's result. A reader that went away, such as `head`, is no failure of the command.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line about trouble, before the log is set up and for commands that have none.
fn warn(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "skyberth: {line}");
}
