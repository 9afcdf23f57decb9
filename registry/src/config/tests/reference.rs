//! `docs/settings.md` is made from the doc comments and defaults of this code. Every special value in it is tried.
//!
//! The first paragraph of a field's doc comment says what an operator must know. Later paragraphs give the reasons. To
//! write the page after a change: `WRITE_SETTINGS=1 cargo test -p skyberth --lib settings_page`.

use std::fmt::Write as _;
use std::path::Path;

use toml::Value;

use super::super::keys::{get, leaves};
use super::*;

/// The files that declare sections, each with the path of its keys.
const SOURCES: [(&str, &str, &str); 11] = [
    ("auth", "Auth", include_str!("../auth.rs")),
    ("gateway", "Gateway", include_str!("../gateway.rs")),
    ("gc", "Gc", include_str!("../gc.rs")),
    ("log", "Log", include_str!("../telemetry.rs")),
    ("metrics", "Metrics", include_str!("../telemetry.rs")),
    ("portal", "Portal", include_str!("../portal.rs")),
    ("registry", "Registry", include_str!("../registry.rs")),
    ("server", "Server", include_str!("../server.rs")),
    ("server.tls", "Tls", include_str!("../tls.rs")),
    ("storage", "Storage", include_str!("../storage.rs")),
    ("storage.skynet", "Skynet", include_str!("../skynet.rs")),
];

const HEAD: &str = "# Settings

<!-- Made from the doc comments in registry/src/config; registry/src/config/tests/reference.rs says how. -->

[Configuration](reference/configuration.md) says how to set a key by file, variable or flag. Sizes have a unit, such as `64MiB` or
`100MB`; a bare number is bytes. Times have a unit too, such as `30s` or `1h30m`; `0` needs none.

| key | default | meaning |
|---|---|---|
";

/// One row of the page.
struct Setting {
    key: String,
    default: Value,
    meaning: String,
}

/// The first paragraph of the doc comment of `field` in `pub struct name`.
fn meaning(source: &str, name: &str, field: &str) -> Option<String> {
    let body = source.split_once(&format!("pub struct {name} {{\n"))?.1.split_once("\n}")?.0;
    let before = body.split_once(&format!("    pub {field}: "))?.0;
    let comment: Vec<&str> =
        before.lines().rev().map_while(|line| line.trim_start().strip_prefix("///")).map(str::trim).collect();
    let first: Vec<&str> = comment.into_iter().rev().take_while(|line| !line.is_empty()).collect();
    Some(first.join(" "))
}

fn settings() -> Vec<Setting> {
    let defaults = Config::default().to_table();
    let of = |key: String| {
        let (section, field) = key.rsplit_once('.').unwrap_or(("", &key));
        let (_, name, source) = SOURCES.iter().find(|(path, ..)| *path == section).unwrap();
        let meaning = meaning(source, name, field).filter(|text| !text.is_empty());
        let default = get(&defaults, &key).unwrap().clone();
        Setting { default, meaning: meaning.unwrap_or_else(|| panic!("{key} says nothing")), key }
    };
    leaves(&defaults).into_iter().map(of).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    }
}

#[test]
fn settings_page_is_that_of_this_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let mut page = HEAD.to_owned();
    for Setting { key, default, meaning } in settings() {
        writeln!(page, "| `{key}` | {} | {meaning} |", shown(&default)).unwrap();
    }
    if std::env::var_os("WRITE_SETTINGS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let differs = written.lines().zip(page.lines()).find(|(written, made)| written != made);
    assert!(written == page, "docs/settings.md differs from this code; {differs:?}; {}", "run with WRITE_SETTINGS=1");
}

/// The special values that a row names: `0: ...`, `Empty: ...`, `` `word`: ... ``. If the default is such a word, every
/// word in backticks.
fn special(setting: &Setting) -> Vec<Value> {
    let text = &setting.meaning;
    let words: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let is_word = setting
        .default
        .as_str()
        .is_some_and(|default| words.contains(&default) || default.parse::<skynet_formats::profile::Profile>().is_ok());
    let named = words.into_iter().filter(|word| is_word || text.contains(&format!("`{word}`: ")));
    let mut values: Vec<Value> = named.map(|word| Value::String(word.to_owned())).collect();
    if text.contains(" 0: ") {
        values.extend([Value::Integer(0), Value::String("0".to_owned())]);
    }
    if text.contains(" Empty: ") {
        let is_list = setting.default.is_array();
        values.push(if is_list { Value::Array(Vec::new()) } else { Value::String(String::new()) });
    }
    values
}

/// `gc.interval = "0"` was documented, but refused.
#[test]
fn every_documented_value_is_taken() {
    let mut tried = Vec::new();
    for setting in settings() {
        let (section, field) = setting.key.rsplit_once('.').unwrap();
        for value in std::iter::once(setting.default.clone()).chain(special(&setting)) {
            // A whole number is an integer if the default is one.
            if setting.default.is_integer() && value.as_str() == Some("0") {
                continue;
            }
            let mut text = format!("[{section}]\n{field} = {value}\n");
            // These need others: `acknowledge = "network"` a backend, and that its portals.
            text.push_str(match value.as_str() {
                Some("skynet") => "skynet.portals = ['http://127.0.0.1:9980']\n",
                Some("network") => "backend = 'skynet'\nskynet.portals = ['http://127.0.0.1:9980']\n",
                _ => "",
            });
            let loaded = load(&text, &[], Flags::default());
            let loaded = loaded.unwrap_or_else(|error| panic!("{text}{error}"));
            if value == setting.default {
                assert_eq!(loaded.config, Config::default(), "{text}");
            }
            tried.push(format!("{} = {value}", setting.key));
        }
    }
    for known in ["gc.interval = \"0\"", "gc.interval = 0", "log.format = \"json\"", "log.level = \"trace\""] {
        assert!(tried.iter().any(|tried| tried == known), "{known} was not among {tried:?}");
    }
}

#[test]
fn the_files_shown_in_documents_are_good() {
    for page in [
        include_str!("../../../../README.md"),
        include_str!("../../../../docs/reference/configuration.md"),
        include_str!("../../../../docs/how-to/portals.md"),
    ] {
        let mut examples = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).peekable();
        assert!(examples.peek().is_some(), "no example");
        for example in examples {
            let loaded = load(example, &[], Flags::default()).unwrap_or_else(|error| panic!("{example}{error}"));
            assert_ne!(loaded.config, Config::default(), "{example}");
        }
    }
}
