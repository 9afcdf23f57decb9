//! The figures for people: aligned text, and Markdown for the documentation.

use std::fmt::Write as _;

use super::figures::{Better, Figure, Figures};

/// One table: the head, then a row for each figure.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The medians of each server, then the ratios of `ours` to its rivals.
    pub(super) fn new(figures: &Figures, servers: &[&str], ours: &str, rivals: &[&str]) -> Self {
        let mut head = vec!["figure".to_owned(), "unit".to_owned(), "better".to_owned()];
        head.extend(servers.iter().map(|server| (*server).to_owned()));
        head.extend(rivals.iter().map(|rival| format!("{ours} / {rival}")));
        let mut rows = vec![head];
        for figure in &figures.0 {
            let better = match figure.meaning.better {
                Better::Less => "less",
                Better::More => "more",
            };
            let mut row = vec![figure.meaning.name.clone(), figure.meaning.unit.to_owned(), better.to_owned()];
            row.extend(servers.iter().map(|server| figure.median(server).map_or("-".to_owned(), number)));
            row.extend(rivals.iter().map(|rival| ratio(figure, ours, rival)));
            rows.push(row);
        }
        Table { rows }
    }

    pub(super) fn text(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Words are left-aligned, numbers right-aligned.
                let _ = if column < 3 { write!(out, "{cell:<width$}  ") } else { write!(out, "{cell:>width$}  ") };
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out
    }

    pub(super) fn markdown(&self) -> String {
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let _ = writeln!(out, "| {} |", row.join(" | "));
            if index == 0 {
                let rules: Vec<&str> = (0..row.len()).map(|column| if column < 3 { "---" } else { "---:" }).collect();
                let _ = writeln!(out, "| {} |", rules.join(" | "));
            }
        }
        out
    }
}

/// The ratio, and its 95 % confidence interval if there were enough rounds.
fn ratio(figure: &Figure, ours: &str, rival: &str) -> String {
    let ratio = figure.ratio(ours, rival).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    match figure.interval(ours, rival) {
        Some((low, high)) => format!("{ratio} [{low:.2}, {high:.2}]"),
        None => ratio,
    }
}

/// Three significant digits, which is already more than the noise justifies.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Meaning;
    use super::*;

    #[test]
    fn a_figure_that_a_server_lacks_is_a_dash() {
        let mut figures = Figures::default();
        figures.record(Meaning::more("GET", "req/s"), "a", 1234.4);
        figures.record(Meaning::more("GET", "req/s"), "b", 617.2);
        let table = Table::new(&figures, &["a", "b", "c"], "a", &["b"]);
        assert!(table.markdown().ends_with("| GET | req/s | more | 1234 | 617 | - | 2.00 |\n"), "{}", table.markdown());
        assert!(table.text().ends_with("GET     req/s  more    1234  617  -   2.00\n"), "{}", table.text());
    }
}
