//! The `skyberth` binary: hands the arguments to `cli` and its answer to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    skyberth::cli::main()
}
