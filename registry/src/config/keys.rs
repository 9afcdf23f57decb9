//! Paths of keys in a TOML tree: lists, reads and writes them, and finds the one nearest to a misspelt path.

use toml::{Table, Value};

/// Most characters, per mistyped one, of a name that is worth suggesting. Longer names may have more mistakes.
const PER_MISTAKE: usize = 5;
/// Most mistakes in a name of any length.
const MOST_MISTAKES: usize = 3;

/// The paths of all values below `table`, such as `server.listen`, in alphabetical order.
pub(super) fn leaves(table: &Table) -> Vec<String> {
    let mut paths: Vec<String> = table
        .iter()
        .flat_map(|(name, value)| match value {
            Value::Table(inner) => leaves(inner).into_iter().map(|path| format!("{name}.{path}")).collect(),
            _ => vec![name.clone()],
        })
        .collect();
    paths.sort();
    paths
}

/// The value or table at `path`.
pub(super) fn get<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((first, rest)) => get(table.get(first)?.as_table()?, rest),
    }
}

/// Puts `value` at `path`; returns false if a table on the way is missing.
pub(super) fn set(table: &mut Table, path: &str, value: Value) -> bool {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
            true
        }
        Some((first, rest)) => {
            table.get_mut(first).and_then(Value::as_table_mut).is_some_and(|inner| set(inner, rest, value))
        }
    }
}

/// A table with one value, at `path`.
pub(super) fn only(path: &str, value: Value) -> Table {
    match path.rsplit_once('.') {
        None => Table::from_iter([(path.to_owned(), value)]),
        Some((parent, name)) => only(parent, Value::Table(only(name, value))),
    }
}

/// The candidate nearest to `name`, if it differs by few characters only.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(mistakes, _)| *mistakes <= (name.len() / PER_MISTAKE).clamp(1, MOST_MISTAKES))
        .min_by_key(|(mistakes, _)| *mistakes)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_list_read_and_write() {
        let mut table: Table = "a = 1\n[b]\nc = 2\n[b.d]\ne = [1]".parse().unwrap();
        assert_eq!(leaves(&table), ["a", "b.c", "b.d.e"]);
        assert_eq!(get(&table, "b.c").and_then(Value::as_integer), Some(2));
        assert_eq!(get(&table, "a.c"), None);
        assert!(set(&mut table, "b.c", Value::Integer(3)));
        assert_eq!(only("b.d.e", Value::Integer(4)), "[b.d]\ne = 4".parse().unwrap());
        assert!(!set(&mut table, "x.c", Value::Integer(3)));
        assert_eq!(get(&table, "b.c").and_then(Value::as_integer), Some(3));
    }

    #[test]
    fn only_like_names_are_suggested() {
        let known = ["server.listen", "storage.data", "gc.grace"];
        assert_eq!(nearest("server.listne", known), Some("server.listen"));
        assert_eq!(nearest("zzz", known), None);
        // A common beginning made any name similar.
        assert_eq!(nearest("SKYBERTH_CONFIG", ["SKYBERTH_GC_INTERVAL", "SKYBERTH_GC_GRACE"]), None);
        assert_eq!(nearest("REGISTRY_STORAGE_S3_BUCKET", ["REGISTRY_STORAGE"]), None);
    }
}
