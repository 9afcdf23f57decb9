//! The command line.

mod access;
mod allocator;
mod attached;
mod audit;
mod backend;
mod backup;
mod config;
mod descriptors;
mod gateway;
mod node;
mod operate;
mod ownership;
mod policy;
mod portal;
mod privileges;
mod process;
mod render;
mod repo;
mod running;
mod serve;
mod tls;
mod token;
mod r#try;
mod upkeep;
mod user;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::backup::Place;
#[cfg(any(test, fuzzing))]
pub(crate) use self::backup::fuzzing as backup_fuzzing;
use self::policy::PolicyAction;
use self::render::Form;
use self::repo::RepoAction;
use self::token::TokenAction;
use self::user::UserAction;
use crate::admin;
use crate::admin::client::NotAnswering;
use crate::config::{Config, Flags, Loaded, Program};

/// An OCI container registry, which can keep copies of its content on Skynet portals, and a Skynet portal.
#[derive(Parser)]
#[command(name = "skyberth", version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The version, or the one given at build time, such as `0.1.0 (commit 1a2b3c4)`.
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
        /// Also run a Skynet portal in this process, and keep a copy of all content there.
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
    /// Show the state of a node, running or stopped. Exit code 0: ready; 3: not ready; 4: stopped.
    Status {
        /// Also check that all content is on portals of other machines. Exit code 5: it is not; 6: they do not answer.
        #[arg(long)]
        safe: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// List repositories, or the tags and digests of one, or the content of an image.
    Ls {
        /// NAME, NAME:TAG or NAME@DIGEST.
        name: Option<String>,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove a tag, a manifest with its tags, or a whole repository.
    Rm {
        /// NAME:TAG, NAME@DIGEST, or NAME with --yes.
        name: String,
        /// Confirm that all tags and manifests of NAME are removed.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove unreferenced content.
    Gc {
        /// Only report what would be removed.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Read and check everything stored.
    Fsck {
        /// Quarantine damaged content, and repair a damaged journal as far as possible.
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Write a running or stopped node to one tar archive. Exit code 1: content is missing that is nowhere else.
    Backup {
        /// The archive; - is standard output.
        file: PathBuf,
        /// The content to include, besides names, tags, links and records of copies.
        #[arg(long, value_enum, default_value_t)]
        content: backup::Content,
        #[command(flatten)]
        settings: Settings,
    },
    /// Create a node from an archive, in an empty data directory. Exit code 1: the archive was not complete.
    Restore {
        /// The archive; - is standard input.
        file: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make a repository public or private.
    Repo {
        #[command(subcommand)]
        action: RepoAction,
    },
    /// Add, list and remove users, and set their passwords.
    User {
        #[command(subcommand)]
        action: UserAction,
    },
    /// Make, list and revoke tokens that take the place of a password.
    Token {
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Show who changed what, who logged in, and what was denied.
    Audit {
        #[command(flatten)]
        wanted: audit::Wanted,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Explain what the policy allows.
    Policy {
        #[command(subcommand)]
        action: PolicyAction,
    },
    /// Check and print the configuration.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Demonstrate a push, a kill, a lost index and lost content, on a server in a temporary directory.
    Try,
}

#[derive(Subcommand)]
enum ConfigAction {
    /// Report what is invalid, or print all values in force with their sources.
    Check {
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args, Clone, Copy, Debug)]
struct Json {
    /// Print JSON, one object per line, with sizes in bytes.
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
    /// Reads the configuration and prints its warnings on stderr.
    fn load(&self, listen: Option<String>) -> anyhow::Result<Loaded> {
        self.load_with(Flags { listen, ..Flags::default() })
    }

    /// Reads the configuration, with the data directory of these settings.
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

    /// Reads the configuration for a command that writes to the data directory. The command runs as the directory's
    /// owner, never as root, since the node could not read root's files.
    fn load_to_operate(&self) -> anyhow::Result<Loaded> {
        let mut loaded = self.load(None)?;
        let (run_as, data) = (loaded.config.server.run_as, &mut loaded.config.storage.data);
        if !privileges::become_owner(data)? {
            privileges::drop_root(run_as, data, false)?;
        }
        Ok(loaded)
    }
}

/// The environment variables that are UTF-8. No setting needs others.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// Runs the command given by the arguments.
pub fn main() -> ExitCode {
    privileges::close_files_to_others();
    allocator::keep_memory_of_frames();
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

/// Runs a command and returns its exit code.
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
            let (command, loaded) = (operate::removal(&name, yes)?, settings.load_to_operate()?);
            let done = operate::change(&loaded, command, json.form())?;
            audit::keep(&loaded.config.storage.data, "remove", None, Some(name));
            found_faults(Ok(done))
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
            // Before anything is copied, and as the user that will rename it.
            let output = backup::Partial::of(&target)?;
            found_faults(backup::make(&config, &target, output, content))
        }
        Command::Restore { file, settings } => {
            let input = Place::from(file).open()?;
            let mut config = settings.load(None)?.config;
            if !privileges::become_owner(&mut config.storage.data)? {
                privileges::drop_root(config.server.run_as, &config.storage.data, true)?;
            }
            found_faults(backup::restore(&config.storage.data, input))
        }
        Command::Repo { action } => found_faults(repo::run(action)),
        Command::User { action } => user::run(action).map(|()| 0),
        Command::Token { action } => token::run(action).map(|()| 0),
        Command::Audit { wanted, json, settings } => audit::run(&wanted, json, &settings).map(|()| 0),
        Command::Policy { action } => found_faults(policy::run(action)),
        Command::Config { action: ConfigAction::Check { json, settings } } => {
            config::check(&settings.load(None)?, json.form()).map(|()| 0)
        }
        Command::Try => r#try::run().map(|()| 0),
    }
}

/// Exit code 1 if a command found faults, else 0.
fn found_faults(sound: anyhow::Result<bool>) -> anyhow::Result<u8> {
    sound.map(|sound| u8::from(!sound))
}

/// Prints a line of a command's result. A reader that has left, such as `head`, does not fail the command.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a warning or error, for commands without a log and before the log is set up.
fn warn(text: &str) {
    // Errors may name files and answers of others. A list of faults has several lines.
    let shown = |line| render::escaped(line, |character| character.escape_unicode().to_string());
    let text = text.split('\n').map(shown).collect::<Vec<_>>().join("\n");
    let _ = writeln!(std::io::stderr().lock(), "skyberth: {text}");
}
