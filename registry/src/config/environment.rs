//! The environment: `SKYBERTH_*` for every key, some `REGISTRY_*` of distribution, and warnings about unknown ones.

use std::collections::BTreeMap;
use std::num::{IntErrorKind, ParseIntError};

use toml::{Table, Value};

use super::distribution::{self, Meaning};
use super::keys::{get, leaves, nearest};
use super::{Fault, Override, Source};

/// Prefix of our own variables.
const PREFIX: &str = "SKYBERTH_";

/// The variable for the key at `path`: `server.listen` is `SKYBERTH_SERVER_LISTEN`.
pub fn variable_name(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// The values set by the environment, weakest first: `REGISTRY_*`, then `SKYBERTH_*`. An empty variable counts as
/// unset, since compose files and templates leave empty ones behind.
pub(super) fn read(
    variables: impl Iterator<Item = (String, String)>,
    defaults: &Table,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<String>,
) -> Vec<Override> {
    let known: BTreeMap<String, String> = leaves(defaults).into_iter().map(|key| (variable_name(&key), key)).collect();
    let (mut foreign, mut own) = (Vec::new(), Vec::new());
    for (name, text) in variables.filter(|(_, text)| !text.is_empty()) {
        let source = Source::Environment(name.clone());
        if let Some(key) = known.get(&name) {
            collect(key, &text, source, defaults, faults, &mut own);
        } else if is_service_link(&name) {
            // Kubernetes sets these for a service named `skyberth`.
        } else if name.starts_with(PREFIX) {
            warnings.push(unknown(&name, known.keys().map(String::as_str)));
        } else if name.starts_with(distribution::PREFIX) {
            match distribution::meaning(&name, &text) {
                Meaning::Key(key, text) => collect(key, &text, source, defaults, faults, &mut foreign),
                Meaning::NoEffect(reason) => warnings.push(format!("{name} has no effect: {reason}")),
                Meaning::Refused(message) => {
                    faults.push(Fault { key: name, source: None, message: message.to_owned() });
                }
                Meaning::Unknown => warnings.push(unknown(&name, distribution::names())),
            }
        }
    }
    foreign.append(&mut own);
    foreign
}

fn collect(
    key: &str,
    text: &str,
    source: Source,
    defaults: &Table,
    faults: &mut Vec<Fault>,
    found: &mut Vec<Override>,
) {
    let Some(default) = get(defaults, key) else { return };
    match value_like(default, text) {
        Ok(value) => found.push(Override { key: key.to_owned(), value, source }),
        Err(message) => faults.push(Fault { key: key.to_owned(), source: Some(source), message }),
    }
}

fn unknown<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(
        || format!("unknown variable {name} is ignored"),
        |near| format!("unknown variable {name} is ignored; did you mean {near}?"),
    )
}

/// Parses `text` as the type of `default`. Commas separate the items of a list.
fn value_like(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Boolean(_) => match text {
            "true" | "1" => Ok(Value::Boolean(true)),
            "false" | "0" => Ok(Value::Boolean(false)),
            _ => Err(format!("`{text}` is neither true nor false")),
        },
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => format!("`{text}` is too large"),
            IntErrorKind::NegOverflow => format!("`{text}` is negative"),
            _ => format!("`{text}` is not a whole number"),
        }),
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| format!("`{text}` is not a number")),
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()))
        }
        Value::String(_) | Value::Datetime(_) | Value::Table(_) => Ok(Value::String(text.to_owned())),
    }
}

/// True if Kubernetes made this variable for a service (`*_SERVICE_HOST`, `*_SERVICE_PORT*`, `*_PORT`, `*_PORT_<n>_*`).
fn is_service_link(name: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.ends_with("_PORT") {
        return true;
    }
    name.split("_PORT_").skip(1).any(|after| {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && after[digits..].starts_with('_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_service_links_are_told_apart() {
        for name in [
            "SKYBERTH_SERVICE_HOST",
            "SKYBERTH_SERVICE_PORT",
            "SKYBERTH_SERVICE_PORT_HTTP",
            "SKYBERTH_PORT",
            "SKYBERTH_PORT_5000_TCP",
            "REGISTRY_PORT_5000_TCP_ADDR",
            "REGISTRY_UI_PORT_80_TCP_PROTO",
        ] {
            assert!(is_service_link(name), "{name}");
        }
        for name in ["SKYBERTH_SERVER_LISTEN", "SKYBERTH_PORTS", "SKYBERTH_PORT_X", "SKYBERTH_PORT_80"] {
            assert!(!is_service_link(name), "{name}");
        }
    }

    #[test]
    fn text_becomes_the_kind_of_value_the_default_is() {
        let list = Value::Array(Vec::new());
        let expected: Vec<Value> = ["a", "b"].map(|part| Value::String(part.into())).into();
        assert_eq!(value_like(&list, "a, b,"), Ok(Value::Array(expected)));
        assert_eq!(value_like(&Value::Boolean(true), "0"), Ok(Value::Boolean(false)));
        assert!(value_like(&Value::Boolean(true), "yes").is_err());
        assert_eq!(value_like(&Value::Integer(1), "-7"), Ok(Value::Integer(-7)));
        for (text, why) in [
            ("7s", "`7s` is not a whole number"),
            ("18446744073709551615", "`18446744073709551615` is too large"),
            ("-18446744073709551615", "`-18446744073709551615` is negative"),
        ] {
            assert_eq!(value_like(&Value::Integer(1), text), Err(why.to_owned()));
        }
    }
}
