//! How much of a check to run.

/// `quick` while working, `ci` on every change, `full` before an issue is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    Quick,
    Ci,
    Full,
}

impl Scale {
    /// The figure for this scale.
    pub fn pick<T>(self, quick: T, ci: T, full: T) -> T {
        match self {
            Scale::Quick => quick,
            Scale::Ci => ci,
            Scale::Full => full,
        }
    }
}

/// Options of all check programs.
#[derive(Clone, Debug, clap::Args)]
pub struct RunOptions {
    /// How much of each check to run.
    #[arg(long, global = true, value_enum, default_value_t = Scale::Ci)]
    pub scale: Scale,
    /// Directory for reports (text, JUnit, JSON); created if it is missing.
    #[arg(long, global = true)]
    pub report: Option<std::path::PathBuf>,
    /// Seed of all random choices. A seed repeats a run, except for timing.
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u32,
}
