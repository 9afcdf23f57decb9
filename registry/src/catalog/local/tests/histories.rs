//! Random histories compared with the model, with restarts, compactions and lost indexes in between.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;

use super::super::{Catalog, CatalogOptions, IndexOrigin, RebuildReason};
use super::model::{Model, Universe};
use super::{assert_equals_rebuild, options, refusal, small_journal};
use crate::catalog::command::{Command, CommitError, Precondition, Versions};
use crate::catalog::fact::{Annotations, ManifestRecord, Visibility};
use crate::oci::{Digest, FixedTags, Reference, Tag};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Command>),
    Reopen,
    /// An orderly close, then a restart of the machine.
    Reboot,
    LoseIndex,
    MarkDamaged,
}

pub(super) fn universe() -> Universe {
    let hex = |number: usize| format!("{number:02x}");
    let mut digests: Vec<Digest> = Vec::new();
    for number in 0..4 {
        digests.push(format!("sha256:{}", hex(number).repeat(32)).parse().unwrap());
    }
    digests.push(format!("sha512:{}", hex(9).repeat(64)).parse().unwrap());
    digests.push(format!("blake3:{}", hex(9).repeat(32)).parse().unwrap());
    digests.push("md5+b64:Kg==".parse().unwrap());
    Universe {
        repositories: ["a", "a/b", "a-b"].map(|name| name.parse().unwrap()).into(),
        digests,
        tags: ["latest", "v1", "V1", "v1.0"].map(|name| name.parse().unwrap()).into(),
    }
}

/// Content has the same size in all repositories.
fn size_of(digest: &Digest) -> u64 {
    digest.as_str().bytes().map(u64::from).sum()
}

fn a_record(digest: Digest) -> impl Strategy<Value = ManifestRecord> {
    let references = subsequence(universe().digests, 0..4);
    (select(vec!["one/type", "another/type"]), option::of(select(universe().digests)), references, any::<bool>())
        .prop_map(move |(media_type, subject, references, annotated)| ManifestRecord {
            media_type: media_type.into(),
            size: size_of(&digest),
            artifact_type: subject.as_ref().map(|_| "some/thing".into()),
            subject,
            annotations: if annotated {
                Annotations::Inline([("key".into(), "value".into())].into())
            } else {
                Annotations::None
            },
            references,
        })
}

fn a_precondition() -> impl Strategy<Value = Precondition> {
    let versions = || {
        let listed = subsequence(universe().digests, 0..4).prop_map(Versions::Listed);
        prop_oneof![2 => Just(None), 1 => Just(Some(Versions::Any)), 2 => listed.prop_map(Some)]
    };
    (versions(), versions()).prop_map(|(if_match, if_none_match)| Precondition { if_match, if_none_match })
}

fn maybe_a_precondition() -> impl Strategy<Value = Option<Precondition>> {
    prop_oneof![3 => Just(None), 1 => a_precondition().prop_map(Some)]
}

fn a_reference() -> impl Strategy<Value = Reference> {
    let universe = universe();
    prop_oneof![select(universe.tags).prop_map(Reference::Tag), select(universe.digests).prop_map(Reference::Digest),]
}

/// Now and then the size is wrong.
fn stated() -> impl Strategy<Value = Vec<(Digest, u64)>> {
    let one = (select(universe().digests), prop::bool::weighted(0.05));
    vec(one.prop_map(|(digest, wrong)| (digest.clone(), size_of(&digest) + u64::from(wrong))), 0..4)
}

/// Now and then no tag may move.
fn fixed() -> impl Strategy<Value = FixedTags> {
    prop::bool::weighted(0.1).prop_map(|all| if all { FixedTags::all() } else { FixedTags::none() })
}

fn visibility() -> impl Strategy<Value = Visibility> {
    select(vec![Visibility::Public, Visibility::Private])
}

fn a_put() -> impl Strategy<Value = Command> {
    let universe = universe();
    select(universe.digests.clone()).prop_flat_map(move |digest| {
        let record = a_record(digest.clone());
        let required = prop_oneof![3 => Just(Vec::new()), 1 => vec(select(universe.digests.clone()), 0..4)];
        let precondition = (a_reference(), maybe_a_precondition()).prop_map(|(of, what)| what.map(|what| (of, what)));
        let tags = vec(select(universe.tags.clone()), 0..3);
        (select(universe.repositories.clone()), record, required, stated(), tags, fixed(), precondition).prop_map(
            move |(repository, manifest, required, compare, tags, fixed, precondition)| Command::PutManifest {
                repository,
                digest: digest.clone(),
                manifest,
                required,
                compare,
                tags,
                fixed,
                precondition,
            },
        )
    })
}

fn a_command() -> impl Strategy<Value = Command> {
    let universe = universe();
    let content = (select(universe.repositories.clone()), select(universe.digests));
    let repository = select(universe.repositories);
    prop_oneof![
        4 => content.clone().prop_map(|(repository, digest)| {
            let size = size_of(&digest);
            Command::LinkBlob { repository, digest, size }
        }),
        2 => (content.clone(), repository.clone())
            .prop_map(|((repository, digest), from)| Command::MountBlob { repository, digest, from }),
        2 => (content.clone(), any::<bool>(), maybe_a_precondition()).prop_map(
            |((repository, digest), even_if_referenced, precondition)| {
                Command::UnlinkBlob { repository, digest, even_if_referenced, precondition }
            }
        ),
        1 => content.clone().prop_map(|(repository, digest)| Command::CollectBlob { repository, digest }),
        6 => a_put(),
        2 => (content, maybe_a_precondition(), fixed()).prop_map(|((repository, digest), precondition, fixed)| {
            Command::DeleteManifest { repository, digest, precondition, fixed }
        }),
        1 => (repository.clone(), select(universe.tags), maybe_a_precondition(), fixed()).prop_map(
            |(repository, tag, precondition, fixed)| Command::DeleteTag { repository, tag, precondition, fixed }
        ),
        1 => (repository.clone(), visibility())
            .prop_map(|(repository, visibility)| Command::CreateRepository { repository, visibility }),
        1 => (repository, visibility())
            .prop_map(|(repository, visibility)| Command::SetVisibility { repository, visibility }),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => vec(a_command(), 0..4).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Reboot),
        1 => Just(Step::LoseIndex),
        1 => Just(Step::MarkDamaged),
    ]
}

fn commit(catalog: &Catalog, model: &mut Model, commands: Vec<Command>) {
    let before = catalog.status().sequence;
    let changed = model.clone();
    match model.commit(&commands) {
        Ok(taken) => {
            let committed = catalog.commit_blocking(commands.clone()).unwrap();
            assert_eq!(committed.sequence, catalog.status().sequence);
            // A request may change something and change it back.
            assert!(committed.sequence > before || *model == changed, "{commands:?}");
            assert!(committed.sequence == before || *model != changed || commands.len() > 1, "{commands:?}");
            let orphaned = committed.orphaned;
            assert_eq!(orphaned.len(), taken.len());
            assert_eq!(orphaned.into_iter().collect::<std::collections::BTreeSet<_>>(), taken);
        }
        Err(expected) => {
            assert_eq!(refusal(catalog.commit_blocking(commands)), expected);
            assert_eq!(catalog.status().sequence, before);
        }
    }
}

/// Commits are refused until the rebuild is done.
pub(super) fn wait_until_ready(catalog: &Catalog) {
    while !matches!(catalog.commit_blocking(Vec::new()), Ok(_) | Err(CommitError::ReadOnly)) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn run(place: &Path, steps: Vec<Step>) {
    let mut options = small_journal(options(place));
    let (mut catalog, _) = Catalog::open(options.clone()).unwrap();
    let (mut model, universe) = (Model::default(), universe());
    for step in steps {
        match step {
            Step::Commit(commands) => commit(&catalog, &mut model, commands),
            Step::Reopen => catalog = reopen(catalog, &options, &IndexOrigin::Reused),
            Step::Reboot => {
                options.boot_id.push('+');
                catalog = reopen(catalog, &options, &IndexOrigin::Reused);
            }
            Step::LoseIndex => {
                catalog.close();
                fs::remove_dir_all(&options.index_dir).unwrap();
                let (new, report) = Catalog::open(options.clone()).unwrap();
                assert!(matches!(report.index, IndexOrigin::Rebuilt { because: RebuildReason::Absent, .. }));
                catalog = new;
            }
            Step::MarkDamaged => {
                catalog.mark_damaged();
                wait_until_ready(&catalog);
            }
        }
        model.assert_answers(&catalog, &universe);
    }
    assert_equals_rebuild(&catalog);
    let before_first: Option<&str> = None;
    assert_eq!(catalog.tags(&"none".parse().unwrap(), before_first, 5).unwrap().items, Vec::<Tag>::new());
}

fn reopen(catalog: Catalog, options: &CatalogOptions, expected: &IndexOrigin) -> Catalog {
    let sequence = catalog.status().sequence;
    catalog.close();
    drop(catalog);
    let (catalog, report) = Catalog::open(options.clone()).unwrap();
    assert_eq!((&report.index, report.sequence), (expected, sequence));
    catalog
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_as_the_model_says(steps in vec(a_step(), 1..80)) {
        let place = tempfile::tempdir().unwrap();
        run(place.path(), steps);
    }
}

/// Long enough for several compactions.
#[test]
fn a_compacted_history_rebuilds_to_the_same_index() {
    let place = tempfile::tempdir().unwrap();
    let options = small_journal(options(place.path()));
    let (catalog, _) = Catalog::open(options).unwrap();
    let mut model = Model::default();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..600 {
        let command = a_command().new_tree(&mut runner).unwrap().current();
        commit(&catalog, &mut model, vec![command]);
    }
    model.assert_answers(&catalog, &universe());
    assert!(catalog.status().snapshot_sequence > 0, "no compaction: {:?}", catalog.status());
    assert_equals_rebuild(&catalog);
}
