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
