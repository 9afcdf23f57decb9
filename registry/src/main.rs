//! The `skyberth` binary: passes the arguments to `cli` and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    skyberth::cli::main()
}
