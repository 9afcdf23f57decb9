//! The configuration file: each value with its line, and each unknown key with the nearest known one.

use std::path::Path;

use toml::de::DeTable;
use toml::{Spanned, Table, Value};

use super::keys::{get, leaves, nearest};
use super::{ConfigError, Fault, Override, Source};

/// Reads `path`. Values of known keys become overrides, all others become faults.
pub(super) fn read(path: &Path, defaults: &Table, faults: &mut Vec<Fault>) -> Result<Vec<Override>, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    parse(&text, path, defaults, faults)
}

/// Parses `text`, the content of `path`.
pub(super) fn parse(
    text: &str,
    path: &Path,
    defaults: &Table,
    faults: &mut Vec<Fault>,
) -> Result<Vec<Override>, ConfigError> {
    let syntax = |error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        message: error.message().to_owned(),
    };
    let spans = DeTable::parse(text).map_err(syntax)?;
    let values: Table = text.parse().map_err(syntax)?;
    let mut reader = Reader { text, path, defaults, known: leaves(defaults), faults, found: Vec::new() };
    reader.table(spans.get_ref(), &values, "");
    Ok(reader.found)
}

/// The line, counted from 1, of the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    defaults: &'a Table,
    known: Vec<String>,
    faults: &'a mut Vec<Fault>,
    found: Vec<Override>,
}

impl Reader<'_> {
    /// Reads one table. `spans` and `values` are that table, with positions and with plain values.
    fn table(&mut self, spans: &DeTable<'_>, values: &Table, prefix: &str) {
        for (name, place) in spans {
            let key = format!("{prefix}{}", name.get_ref());
            let Some(value) = values.get(name.get_ref().as_ref()) else { continue };
            match (get(self.defaults, &key), value) {
                (Some(Value::Table(_)), Value::Table(inner)) => {
                    if let Some(inner_spans) = Spanned::get_ref(place).as_table() {
                        self.table(inner_spans, inner, &format!("{key}."));
                    }
                }
                (Some(Value::Table(_)), _) => self.fault(name, key, "is a section, not a value".to_owned()),
                (Some(_), value) => {
                    let source = self.source(name);
                    self.found.push(Override { key, value: value.clone(), source });
                }
                (None, _) => {
                    let message = self.unknown(&key, value);
                    self.fault(name, key, message);
                }
            }
        }
    }

    fn unknown(&self, key: &str, value: &Value) -> String {
        // For an unknown section, suggest a section.
        let near = if value.is_table() {
            nearest(key, self.defaults.keys().map(String::as_str))
        } else {
            nearest(key, self.known.iter().map(String::as_str))
        };
        let kind = if value.is_table() { "unknown section" } else { "unknown key" };
        near.map_or_else(|| kind.to_owned(), |near| format!("{kind}; did you mean {near}?"))
    }

    fn source<T>(&self, name: &Spanned<T>) -> Source {
        Source::File { path: self.path.to_owned(), line: line_at(self.text, name.span().start) }
    }

    fn fault<T>(&mut self, name: &Spanned<T>, key: String, message: String) {
        let source = Some(self.source(name));
        self.faults.push(Fault { key, source, message });
    }
}
