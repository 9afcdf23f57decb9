//! Targets for fuzzing: requests, configuration, backups, and records from a disk that may have damaged them.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use crate::admin::Target;
use crate::config::{ByteSize, TimeSpan};
use crate::oci::manifest::{MAX_ANNOTATIONS, Manifest};
use crate::oci::{Digest, ManifestKind, RepositoryName, Tag};
use crate::{catalog, cli, config, gateway, http, server};

#[cfg(test)]
#[path = "../fuzz/replay.rs"]
mod replay;

/// A name and what it does with an input. A fault is a panic.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[FuzzTarget] = &[
    ("backup", cli::backup_fuzzing::archive),
    ("configuration", config::fuzzing::file),
    ("environment", config::fuzzing::environment),
    ("gateway-record", gateway::fuzzing::record),
    ("index", catalog::local::fuzzing::index),
    ("journal", catalog::local::journal::fuzzing::journal),
    ("journal-file", catalog::local::journal::fuzzing::file),
    ("manifest", manifest),
    ("names", names),
    ("request-head", server::fuzzing::request_head),
    ("routes", http::fuzzing::routes),
];

/// `Content-Type`, a line break, and a manifest.
fn manifest(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (content_type, body) =
        (std::str::from_utf8(&bytes[..end]).unwrap_or_default(), &bytes[(end + 1).min(bytes.len())..]);
    let content_type = Some(content_type).filter(|text| !text.is_empty());
    let most = config::Registry::default().max_references;
    let Ok(parsed) = Manifest::parse(content_type, body, most) else { return };
    let annotations = parsed.annotations.iter().flatten().map(|(name, text)| name.len() + text.len());
    assert!(annotations.sum::<usize>() <= MAX_ANNOTATIONS);
    assert!(parsed.references.len() <= most);
    // Another parser, which takes the last of equal keys, must see the same manifest.
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    let (first, list) = match parsed.kind.is_index() {
        true => (None, value["manifests"].as_array()),
        false => (Some(&value["config"]), value["layers"].as_array()),
    };
    let mut seen = HashSet::new();
    let digests = first.into_iter().chain(list.into_iter().flatten()).filter_map(|found| found["digest"].as_str());
    let digests = digests.filter(|digest| seen.insert(*digest));
    assert!(digests.eq(parsed.references.iter().map(|reference| reference.digest.as_str())));
    assert_eq!(value["subject"]["digest"].as_str(), parsed.subject.as_ref().map(|subject| subject.digest.as_str()));
    if let Some(media_type) = value["mediaType"].as_str().filter(|text| !text.trim().is_empty()) {
        assert_eq!(ManifestKind::parse(media_type), Some(parsed.kind));
    }
}

/// Text of one of the types that have one form.
fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    same::<ByteSize>(text);
    same::<Digest>(text);
    same::<RepositoryName>(text);
    same::<Tag>(text);
    same::<Target>(text);
    same::<TimeSpan>(text);
    let _ = text.parse::<config::LogFilter>();
}

/// What is parsed has the same value after it was written.
fn same<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}

/// Runs `work` in an empty directory of this thread.
pub(crate) fn in_scratch<T>(work: impl FnOnce(&Path) -> T) -> T {
    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    thread_local! {
        static SCRATCH: Scratch = Scratch(std::env::temp_dir().join(format!(
            "skyberth-fuzzing-{}-{:?}", std::process::id(), std::thread::current().id()
        )));
    }
    SCRATCH.with(|Scratch(directory)| {
        fs::create_dir_all(directory).expect("a scratch directory");
        for entry in fs::read_dir(directory).expect("a scratch directory").flatten() {
            fs::remove_file(entry.path()).expect("a scratch file");
        }
        work(directory)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_file_of_the_corpora_breaks_its_target() {
        super::replay::replay(env!("CARGO_MANIFEST_DIR"), super::TARGETS);
    }
}
