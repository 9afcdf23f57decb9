//! Tests of the local catalog as a whole.

mod commands;
mod damage;
mod disk;
mod endpoints;
mod histories;
mod model;
mod open_to_read;
mod places;
mod recovery;
mod throughput;

use std::path::Path;

use super::index::Index;
use super::index::source::Source;
use super::rebuild::Workshop;
use super::{Catalog, CatalogOptions, Clock};
use crate::catalog::command::{Command, CommitError, Refusal};
use crate::catalog::fact::{Annotations, ManifestRecord};
use crate::catalog::local::index::directory::IndexDirectory;
use crate::oci::{Digest, FixedTags, RepositoryName, Tag};

fn options(place: &Path) -> CatalogOptions {
    CatalogOptions {
        index_cache_bytes: 1 << 20,
        clock: Clock::new(|| 1_000),
        boot_id: "this boot".into(),
        // Random histories damage the index many times.
        most_index_failures: u32::MAX,
        index_ballast_bytes: 0,
        ..CatalogOptions::new(place.join("journal"), place.join("index"))
    }
}

/// Options with segments and snapshots so small that a test's history has many of them.
fn small_journal(mut options: CatalogOptions) -> CatalogOptions {
    options.journal.segment_bytes = 16 << 10;
    options.journal.reserve_bytes = 4 << 10;
    options.journal.compact_at_least = 4 << 10;
    options
}

fn open(place: &Path) -> Catalog {
    Catalog::open(options(place)).unwrap().0
}

fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// A sha256 digest that ends in this number.
fn digest(number: u64) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn record(size: u64, references: &[Digest], subject: Option<Digest>) -> ManifestRecord {
    ManifestRecord {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size,
        subject,
        artifact_type: None,
        annotations: Annotations::None,
        references: references.to_vec(),
    }
}

fn link(name: &str, number: u64) -> Command {
    Command::LinkBlob { repository: repository(name), digest: digest(number), size: number }
}

fn put(name: &str, number: u64, references: &[Digest], tags: &[&str]) -> Command {
    Command::PutManifest {
        repository: repository(name),
        digest: digest(number),
        manifest: record(number, references, None),
        required: Vec::new(),
        compare: Vec::new(),
        tags: tags.iter().map(|name| tag(name)).collect(),
        fixed: FixedTags::none(),
        precondition: None,
    }
}

fn refusal(outcome: Result<crate::catalog::command::Committed, CommitError>) -> Refusal {
    match outcome {
        Err(CommitError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// All entries except the meta record.
fn dump(index: &Index) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    for table in 1..=u8::MAX {
        index
            .scan(&[table], None, &mut |key, payload| {
                entries.push((key.to_vec(), payload.to_vec()));
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
    }
    entries
}

/// Checks that the index in use has the same entries as one built from the journal alone, and a matching meta record.
fn assert_equals_rebuild(catalog: &Catalog) {
    let elsewhere = tempfile::tempdir().unwrap();
    let workshop = Workshop {
        directory: IndexDirectory::open(elsewhere.path().into()).unwrap(),
        cache_bytes: 1 << 20,
        journal: String::new(),
        progress: std::sync::Arc::default(),
        ballast: None,
    };
    let (rebuilt, _) = workshop.rebuild(&catalog.inner.journal, &mut || Ok(())).unwrap();
    let live = catalog.inner.shared.index().unwrap();
    live.verify().unwrap();
    assert_eq!(dump(&live), dump(&rebuilt));
    let (live, rebuilt) = (live.meta(), rebuilt.meta());
    assert_eq!((live.applied, live.entries, live.sum), (rebuilt.applied, rebuilt.entries, rebuilt.sum));
}
