//! Commands whose exact effect matters.

use super::super::check::MOST_TAGS_AT_ONCE;
use super::{digest, link, open, put, record, refusal, repository, tag};
use crate::catalog::command::{Command, CommitError, Refusal};
use crate::catalog::fact::{Fact, ManifestRecord, Visibility};
use crate::oci::FixedTags;

#[test]
fn a_manifest_delete_removes_its_tags_first_and_orphans_its_content() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![put("a", 1, &[], &["x", "y"]), put("a", 2, &[], &["z"])]).unwrap();
    let before = catalog.status().sequence;
    let delete = Command::DeleteManifest {
        repository: repository("a"),
        digest: digest(1),
        precondition: None,
        fixed: FixedTags::none(),
    };
    assert_eq!(catalog.commit_blocking(vec![delete]).unwrap().orphaned, [digest(1)]);
    let facts: Vec<_> = catalog.facts_since(before).unwrap().map(|record| record.unwrap().fact).collect();
    let tag_deleted = |name| Fact::TagDeleted { repository: repository("a"), tag: tag(name) };
    let deleted = Fact::ManifestDeleted { repository: repository("a"), digest: digest(1) };
    assert_eq!(facts, [tag_deleted("x"), tag_deleted("y"), deleted]);
    assert_eq!(catalog.tags(&repository("a"), None, 9).unwrap().items, [tag("z")]);
}

/// Each tag is a fact, and more tags than fit one batch were refused forever.
#[tokio::test]
async fn a_manifest_with_many_tags_goes_in_several_batches() {
    let count = 10_000_usize;
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let names: Vec<_> = (0..count).map(|number| format!("t{number}")).collect();
    for names in names.chunks(20_000) {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        catalog.commit(vec![put("a", 1, &[], &names)]).await.unwrap();
    }
    catalog.commit(vec![put("a", 2, &[], &["other"])]).await.unwrap();
    let at_once = Command::DeleteManifest {
        repository: repository("a"),
        digest: digest(1),
        precondition: None,
        fixed: FixedTags::none(),
    };
    assert_eq!(refusal(catalog.commit(vec![at_once]).await), Refusal::TooManyTags);

    let before = catalog.status();
    let committed = catalog.delete_manifest(repository("a"), digest(1), None, FixedTags::none()).await.unwrap();
    assert_eq!(committed.orphaned, [digest(1)]);
    let after = catalog.status();
    assert_eq!(after.sequence - before.sequence, count as u64 + 1);
    assert_eq!(after.batches - before.batches, count.div_ceil(MOST_TAGS_AT_ONCE) as u64, "others can write in between");
    let last = catalog.facts_since(after.sequence - 1).unwrap().next().unwrap().unwrap().fact;
    assert_eq!(last, Fact::ManifestDeleted { repository: repository("a"), digest: digest(1) });
    assert_eq!(catalog.tags(&repository("a"), None, 2000).unwrap().items, [tag("other")]);
    assert_eq!(catalog.manifest(&repository("a"), &digest(1)).unwrap(), None);
    assert_eq!(
        refusal(catalog.delete_manifest(repository("a"), digest(1), None, FixedTags::none()).await),
        Refusal::ManifestUnknown
    );
}

/// The state that a crash in the middle would leave.
#[test]
fn a_manifest_of_which_some_tags_are_gone_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let names: Vec<_> = (0..=MOST_TAGS_AT_ONCE).map(|number| format!("t{number:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    catalog.commit_blocking(vec![put("a", 1, &[], &names)]).unwrap();
    let untag = || Command::UntagManifest { repository: repository("a"), digest: digest(1), fixed: FixedTags::none() };
    assert_eq!(catalog.commit_blocking(vec![untag()]).unwrap().orphaned, []);
    catalog.close();
    drop(catalog);
    let catalog = open(place.path());
    assert!(catalog.manifest(&repository("a"), &digest(1)).unwrap().is_some());
    assert_eq!(catalog.tags_of(&repository("a"), &digest(1), None, 2000).unwrap(), [tag(names[MOST_TAGS_AT_ONCE])]);
    catalog.commit_blocking(vec![untag()]).unwrap();
    let sequence = catalog.status().sequence;
    assert_eq!(catalog.commit_blocking(vec![untag()]).unwrap().sequence, sequence, "it has none left");
    super::assert_equals_rebuild(&catalog);
}

#[test]
fn a_push_repeated_writes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let push = vec![link("a", 7), put("a", 1, &[digest(7)], &["x"])];
    let first = catalog.commit_blocking(push.clone()).unwrap();
    assert_eq!(first.sequence, 4, "repository, blob, manifest, tag");
    assert_eq!(catalog.commit_blocking(push).unwrap(), first);
    assert_eq!(catalog.status().batches, 1);
}

#[test]
fn a_blob_is_refused_to_go_while_ten_manifests_and_more_need_it() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let mut push = vec![link("a", 7)];
    push.extend((100..112).map(|number| put("a", number, &[digest(7)], &[])));
    catalog.commit_blocking(push).unwrap();
    let unlink = |even_if_referenced| {
        vec![Command::UnlinkBlob {
            repository: repository("a"),
            digest: digest(7),
            even_if_referenced,
            precondition: None,
        }]
    };
    let named: Vec<_> = (100..110).map(digest).collect();
    assert_eq!(refusal(catalog.commit_blocking(unlink(false))), Refusal::BlobReferenced(named));
    let collect = vec![Command::CollectBlob { repository: repository("a"), digest: digest(7) }];
    assert_eq!(catalog.commit_blocking(collect).unwrap().orphaned, []);
    assert_eq!(catalog.blob(&repository("a"), &digest(7)).unwrap(), Some(7));
    assert_eq!(catalog.commit_blocking(unlink(true)).unwrap().orphaned, [digest(7)]);
}

#[test]
fn missing_references_come_in_order_without_repeats_and_a_subject_is_none() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    let required = [9, 7, 8, 9].map(digest).to_vec();
    let with = |required, compare| Command::PutManifest {
        repository: repository("a"),
        digest: digest(1),
        manifest: record(1, &[], Some(digest(99))),
        required,
        compare,
        tags: Vec::new(),
        fixed: FixedTags::none(),
        precondition: None,
    };
    let missing = with(required, Vec::new());
    let wrong = with(Vec::new(), vec![(digest(8), 1), (digest(7), 1)]);
    let right = with(vec![digest(7)], vec![(digest(7), 7), (digest(8), 1)]);
    for (command, why) in [
        (missing, Refusal::ReferencesMissing(vec![digest(9), digest(8)])),
        (wrong, Refusal::SizeMismatch { digest: digest(7), stated: 1, stored: 7 }),
    ] {
        // The check before the writer says the same.
        assert!(matches!(catalog.check_put(&command), Err(CommitError::Refused(refused)) if refused == why));
        assert_eq!(refusal(catalog.commit_blocking(vec![command])), why);
    }
    catalog.check_put(&right).unwrap();
    catalog.commit_blocking(vec![right]).unwrap();
    let referrers = catalog.referrers(&repository("a"), &digest(99), None, 5, usize::MAX).unwrap();
    assert_eq!(referrers.items.len(), 1);
}

/// One referrer could be the first of 256 records with megabytes each, and all were read.
#[test]
fn a_page_of_referrers_is_limited_in_bytes() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    for number in 1..=3 {
        let artifact_type = Some("x".repeat(10_000));
        let manifest = ManifestRecord { artifact_type, ..record(1, &[], Some(digest(99))) };
        let Command::PutManifest { repository, digest, required, compare, tags, fixed, precondition, .. } =
            put("a", number, &[], &[])
        else {
            panic!("it is one")
        };
        let large = Command::PutManifest { repository, digest, manifest, required, compare, tags, fixed, precondition };
        catalog.commit_blocking(vec![large]).unwrap();
    }
    let page = |after: Option<u64>, bytes| {
        let after = after.map(digest);
        let page = catalog.referrers(&repository("a"), &digest(99), after.as_ref(), 256, bytes).unwrap();
        (page.items.into_iter().map(|(digest, _)| digest).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(page(None, 25_000), (vec![digest(1), digest(2)], true));
    assert_eq!(page(Some(2), 25_000), (vec![digest(3)], false));
    assert_eq!(page(None, 0), (vec![digest(1)], true));
}

#[test]
fn nothing_of_a_refused_request_stays() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let unknown =
        Command::DeleteTag { repository: repository("a"), tag: tag("x"), precondition: None, fixed: FixedTags::none() };
    let outcome = catalog.commit_blocking(vec![link("a", 1), put("a", 2, &[], &["y"]), unknown]);
    assert_eq!(refusal(outcome), Refusal::TagUnknown);
    assert_eq!(catalog.repository(&repository("a")).unwrap(), None);
    assert_eq!((catalog.status().sequence, catalog.status().index_entries), (0, 0));
    let unknown =
        Command::DeleteTag { repository: repository("a"), tag: tag("x"), precondition: None, fixed: FixedTags::none() };
    assert_eq!(refusal(catalog.commit_blocking(vec![unknown])), Refusal::RepositoryUnknown);
}

/// sled stores values above a certain size in separate files.
#[test]
fn a_record_with_twenty_thousand_references_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let references: Vec<_> = (0..20_000).map(digest).collect();
    catalog.commit_blocking(vec![put("a", 77, &references, &[])]).unwrap();
    catalog.close();
    drop(catalog);
    let catalog = open(place.path());
    assert_eq!(catalog.manifest(&repository("a"), &digest(77)).unwrap().unwrap().references, references);
    assert_eq!(catalog.referring(&repository("a"), &digest(19_999), 2).unwrap(), [digest(77)]);
    super::assert_equals_rebuild(&catalog);
}

#[test]
fn a_page_starts_after_a_name_that_need_not_exist() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![put("a", 1, &[], &["a", "ab", "b"])]).unwrap();
    let after = |after, limit| {
        let page = catalog.tags(&repository("a"), Some(after), limit).unwrap();
        (page.items.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(after("", 2), (vec!["a".into(), "ab".into()], true));
    assert_eq!(after("a", 2), (vec!["ab".into(), "b".into()], false));
    assert_eq!(after("aa", 1), (vec!["ab".into()], true));
    assert_eq!(after("a\0", 5), (vec!["ab".into(), "b".into()], false));
    assert_eq!(after("b", 5), (vec![], false));
    assert_eq!(after("ä~~", 5), (vec![], false));
    assert_eq!(after("", 0), (vec![], true));
}

/// Both would have found the tag free if it were looked at before the writer.
#[test]
fn of_two_pushes_in_one_batch_only_the_first_sets_a_fixed_tag() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let first = |number| {
        let Command::PutManifest { repository, digest, manifest, required, compare, tags, precondition, .. } =
            put("a", number, &[], &["v1"])
        else {
            panic!("it is one")
        };
        let fixed = FixedTags::all();
        Command::PutManifest { repository, digest, manifest, required, compare, tags, fixed, precondition }
    };
    assert_eq!(refusal(catalog.commit_blocking(vec![first(1), first(2)])), Refusal::TagFixed(tag("v1")));
    assert_eq!(catalog.repository(&repository("a")).unwrap(), None);
    catalog.commit_blocking(vec![first(1), first(1)]).unwrap();
    assert_eq!(refusal(catalog.commit_blocking(vec![first(2)])), Refusal::TagFixed(tag("v1")));
    assert_eq!(catalog.tag(&repository("a"), &tag("v1")).unwrap(), Some(digest(1)));
}

#[test]
fn a_repository_has_the_visibility_of_its_creation_until_a_command_changes_it() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let create = |visibility| Command::CreateRepository { repository: repository("a"), visibility };
    let set = |visibility| Command::SetVisibility { repository: repository("a"), visibility };
    let is = || catalog.repository(&repository("a")).unwrap();
    assert_eq!(refusal(catalog.commit_blocking(vec![set(Visibility::Public)])), Refusal::RepositoryUnknown);
    catalog.commit_blocking(vec![create(Visibility::Private), link("a", 7)]).unwrap();
    catalog.commit_blocking(vec![create(Visibility::Public), link("a", 8)]).unwrap();
    assert_eq!(is(), Some(Visibility::Private));
    catalog.commit_blocking(vec![set(Visibility::Public)]).unwrap();
    assert_eq!(is(), Some(Visibility::Public));
    assert!(catalog.is_public(&digest(7)).unwrap());
}
