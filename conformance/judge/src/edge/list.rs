//! Writes the list of rows for people: `conformance/ROWS.md`.

use std::fmt::Write as _;

use super::sources::{Level, source};
use super::table::{How, TABLE};

const HEAD: &str = "\
# The rows of the edge table

Written by `conformance rows > conformance/ROWS.md`; a test fails while they differ.

*Level* says how binding a row is. MUST and SHOULD are those of the *source*. It is a section of the OCI distribution
specification v1.1.1 unless it names another document. SHOULD is also the level of what clients rely on. *Own policy* is
Skyberth's choice where specifications leave one. Other registries are judged by it only with `--own`.

Many MUST and SHOULD rows have parts that are own policy:

- the codes in error bodies, and relative Locations;
- `Docker-Content-Digest` and `Content-Length` where v1.1.1 only recommends them;
- the algorithms sha512 and blake3;
- a push by one POST or by a streamed PATCH, and DELETE of an upload session.

*Where* says what a row needs. *any*: any registry. *skyberth*: a `skyberth` binary, which the row starts with
settings of its own. *nowhere yet*: something that the judge does not have, such as a second node.

| row | level | source | where | what |
|---|---|---|---|---|
";

/// The whole document.
pub fn document() -> String {
    let mut out = HEAD.to_owned();
    for row in TABLE {
        let (level, from) = source(row.number);
        let place = match row.how {
            How::Anywhere(_) => "any",
            How::Own(_) => "skyberth",
            How::NotHere(_) => "nowhere yet",
        };
        let _ = writeln!(out, "| {} | {level} | {from} | {place} | {} |", row.number, row.title.replace('|', "\\|"));
    }
    let count = |wanted| TABLE.iter().filter(|row| source(row.number).0 == wanted).count();
    let [must, should, own] = [Level::Must, Level::Should, Level::Policy].map(count);
    let _ = writeln!(out, "\n{must} MUST, {should} SHOULD, {own} of own policy.");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_md_is_the_list_of_rows() {
        let written = include_str!("../../../ROWS.md");
        assert!(written == document(), "run: conformance rows > conformance/ROWS.md");
    }

    #[test]
    fn every_row_has_a_level_and_a_source() {
        for row in TABLE {
            assert!(!source(row.number).1.is_empty(), "row {} has no source in sources.rs", row.number);
        }
    }
}
