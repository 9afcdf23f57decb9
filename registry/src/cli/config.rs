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

/// Loading has already refused what is wrong; this prints what is in force.
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
