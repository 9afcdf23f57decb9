//! How much of a check to run.

/// `quick` while working, `ci` on every change, `full` before an issue is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    Quick,
    Ci,
    Full,
}

impl Scale {
    /// Picks the figure of this scale.
    pub fn pick<T>(self, quick: T, ci: T, full: T) -> T {
        match self {
            Scale::Quick => quick,
            Scale::Ci => ci,
            Scale::Full => full,
        }
    }
}

/// What the checks of all programs are told.
#[derive(Clone, Debug, clap::Args)]
pub struct RunOptions {
    /// How much of each check to run.
    #[arg(long, global = true, value_enum, default_value_t = Scale::Ci)]
    pub scale: Scale,
    /// Folder for reports (text, JUnit, JSON); made if absent.
    #[arg(long, global = true)]
    pub report: Option<std::path::PathBuf>,
    /// Decides what is drawn at random; the same seed repeats a run as far as timing does.
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u32,
}
