//! The HTTP surface as a table of raw requests, each row with the answer that real skyd gives or that we promise.

mod archives;
mod browsers;
mod conditional;
mod directories;
mod downloads;
mod entries;
mod expect;
mod left_out;
mod pages;
mod parameters;
mod pins;
mod ranges;
mod resolving;
mod sectors;
mod tus;
mod tus_whole;
mod uploads;

use harness::expect::not_here;

use super::Suite;
use super::site::Site;
pub use expect::message;
pub use tus::{Upload, request as tus_request};

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct SurfaceRow {
    name: &'static str,
    whose: Whose,
    check: fn(&Site) -> anyhow::Result<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Skyd behind a front does this too.
    Skyd,
    /// Skyberth's own promise.
    Ours,
}

/// A row that also holds for real skyd.
pub const fn row(name: &'static str, check: fn(&Site) -> anyhow::Result<()>) -> SurfaceRow {
    SurfaceRow { name, whose: Whose::Skyd, check }
}

/// A row beyond skyd and its front.
pub const fn ours(name: &'static str, check: fn(&Site) -> anyhow::Result<()>) -> SurfaceRow {
    SurfaceRow { name, whose: Whose::Ours, check }
}

const TABLES: &[(&str, &[SurfaceRow])] = &[
    ("uploads", uploads::ROWS),
    ("parameters", parameters::ROWS),
    ("downloads", downloads::ROWS),
    ("ranges", ranges::ROWS),
    ("conditional", conditional::ROWS),
    ("directories", directories::ROWS),
    ("pages", pages::ROWS),
    ("archives", archives::ROWS),
    ("sectors", sectors::ROWS),
    ("pins", pins::ROWS),
    ("entries", entries::ROWS),
    ("resolving", resolving::ROWS),
    ("tus", tus::ROWS),
    ("tus", tus_whole::ROWS),
    ("browsers", browsers::ROWS),
    ("left out", left_out::ROWS),
];

pub fn run(suite: &mut Suite) -> anyhow::Result<()> {
    for (table, rows) in TABLES {
        for row in *rows {
            suite.row(&format!("{table}: {}", row.name), |suite| {
                if suite.network().is_some() && row.whose == Whose::Ours {
                    return Err(not_here("beyond what skyd does"));
                }
                (row.check)(&suite.site)
            });
        }
    }
    Ok(())
}
