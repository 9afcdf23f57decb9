//! `skyberth config check`.

use serde::Serialize;

use super::print;
use super::render::Form;
use crate::config::{Loaded, Setting};

#[derive(Serialize)]
struct Checked<'a> {
    settings: Vec<Setting>,
    warnings: &'a [String],
}

/// Prints the configuration in force. Loading has already refused an invalid one.
pub(super) fn check(loaded: &Loaded, form: Form) -> anyhow::Result<()> {
    match form {
        Form::Text => print(loaded.effective().trim_end()),
        Form::Json => {
            let checked = Checked { settings: loaded.settings(), warnings: &loaded.warnings };
            print(&serde_json::to_string(&checked)?);
        }
    }
    Ok(())
}
