//! `skyberth config check`.

use super::print;
use crate::config::Loaded;

/// Loading has already refused what is wrong; this prints what is in force.
pub(super) fn check(loaded: &Loaded) {
    print(loaded.effective().trim_end());
}
