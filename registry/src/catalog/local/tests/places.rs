//! Placements: the effects of single commands, and random histories against a model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{assert_equals_rebuild, digest, link, open, options, put, refusal, repository, small_journal};
use crate::catalog::command::{Command, Refusal};
use crate::catalog::fact::{Fact, Locator, Visibility};
use crate::catalog::local::{Catalog, CatalogOptions};
use crate::catalog::{Backlog, Placement, Wanted};
use crate::oci::{Digest, FixedTags};

pub(super) fn wanted() -> Wanted {
    let (kind, profile) = ("memory".into(), String::new());
    Wanted { kind, profile, endpoints: Vec::new(), here: Vec::new(), copies: 1, lists: false }
}

fn placing(mut options: CatalogOptions) -> CatalogOptions {
    options.placement = Some(wanted());
    options
}

pub(super) fn locator(number: u64) -> Locator {
    Locator {
        kind: if number == 2 { "other" } else { "memory" }.into(),
        profile: String::new(),
        address: format!("place-{number}"),
        endpoints: Vec::new(),
        codec: "plain".into(),
        stored_size: 7,
    }
}

fn placed(number: u64, place: u64) -> Command {
    Command::RecordPlaced { digest: digest(number), locator: locator(place) }
}

pub(super) fn read_back(placement: &Placement, among: &[&str]) -> Command {
    let (locator, among) = (placement.locator.clone(), among.iter().map(ToString::to_string).collect());
    Command::RecordReadBack { digest: digest(7), locator, placed: placement.sequence, among }
}

pub(super) fn unlink(number: u64) -> Command {
    Command::UnlinkBlob {
        repository: repository("a"),
        digest: digest(number),
        even_if_referenced: true,
        precondition: None,
    }
}

pub(super) fn only(catalog: &Catalog, number: u64) -> Placement {
    let mut placements = catalog.placements(&digest(number)).unwrap();
    assert_eq!(placements.len(), 1, "{placements:?}");
    placements.remove(0)
}

#[test]
fn the_last_holder_goes_in_one_batch_with_the_places_and_the_roots() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let roots = Command::RecordUnitRoots { digest: digest(7), list: digest(70), units: 3 };
    catalog.commit_blocking(vec![link("a", 7), link("b", 7), roots, placed(7, 1), placed(7, 2)]).unwrap();
    assert!(catalog.is_referenced(&digest(70)).unwrap(), "or the sweep would take it");
    assert_eq!(catalog.referenced_size(&digest(70)).unwrap(), Some(96));
    assert_eq!(catalog.commit_blocking(vec![unlink(7)]).unwrap().orphaned, []);
    assert!(!only_pending(&catalog, 7) && catalog.unit_roots(&digest(7)).unwrap().is_some());

    let before = catalog.status().sequence;
    let unlink = Command::CollectBlob { repository: repository("b"), digest: digest(7) };
    assert_eq!(catalog.commit_blocking(vec![unlink]).unwrap().orphaned, [digest(7), digest(70)]);
    let facts: Vec<_> = catalog.facts_since(before).unwrap().map(|record| record.unwrap().fact).collect();
    assert!(matches!(facts[0], Fact::BlobUnlinked { .. }));
    assert_eq!(facts[1], Fact::UnitRoots { digest: digest(7), list: digest(70), units: 0 });
    assert_eq!(facts[2], Fact::UnpinPending { digest: digest(7), locator: locator(1) });
    assert_eq!(facts[3], Fact::UnpinPending { digest: digest(7), locator: locator(2) });
    assert!(only_pending(&catalog, 7) && !catalog.is_referenced(&digest(70)).unwrap());
    assert_equals_rebuild(&catalog);
}

#[test]
fn a_list_that_another_one_takes_the_place_of_goes_with_its_places() {
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(placing(options(place.path()))).unwrap();
    let roots = |of, list| Command::RecordUnitRoots { digest: digest(of), list: digest(list), units: 3 };
    catalog.commit_blocking(vec![link("a", 7), link("a", 8), roots(7, 70), roots(8, 70), placed(70, 1)]).unwrap();
    assert_eq!(catalog.listed(&digest(70)).unwrap(), [digest(7), digest(8)]);
    assert_eq!(catalog.commit_blocking(vec![roots(7, 71)]).unwrap().orphaned, [], "the other one has it still");
    assert!(!only_pending(&catalog, 70));
    assert_eq!(catalog.commit_blocking(vec![roots(8, 71)]).unwrap().orphaned, [digest(70)]);
    assert!(only_pending(&catalog, 70) && !catalog.is_referenced(&digest(70)).unwrap());
    assert_eq!(catalog.listed(&digest(71)).unwrap(), [digest(7), digest(8)]);
    assert_eq!(catalog.listed(&digest(70)).unwrap(), []);
    assert_equals_rebuild(&catalog);
}

fn only_pending(catalog: &Catalog, number: u64) -> bool {
    catalog.placements(&digest(number)).unwrap().iter().all(|placement| placement.unpin_pending)
}

#[test]
fn what_was_deleted_during_its_upload_is_to_be_removed_at_once() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    catalog.commit_blocking(vec![placed(7, 1)]).unwrap();
    assert!(only(&catalog, 7).unpin_pending);
}

/// An upload may end after a removal was answered, but before the settle time is over. Its remains used to stay
/// forever.
#[test]
fn an_upload_that_ends_after_its_removal_was_answered_is_removed_anew() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let abandoned = Command::RecordAbandoned { digest: digest(7), locator: locator(1) };
    catalog.commit_blocking(vec![link("a", 7), placed(7, 1)]).unwrap();
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    for late in [placed(7, 1), abandoned] {
        let answered = only(&catalog, 7);
        // Pushed and deleted again during the upload.
        catalog.commit_blocking(vec![link("a", 7)]).unwrap();
        catalog.commit_blocking(vec![unlink(7)]).unwrap();
        catalog.commit_blocking(vec![late]).unwrap();
        let (digest, locator, standing) = (digest(7), locator(1), answered.sequence);
        catalog.commit_blocking(vec![Command::RecordUnplaced { digest, locator, standing }]).unwrap();
        let pending = only(&catalog, 7);
        assert!(pending.unpin_pending && pending.sequence > answered.sequence);
    }
    assert_equals_rebuild(&catalog);
}

#[test]
fn what_may_be_there_and_nobody_holds_is_to_be_removed() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    let abandoned = || vec![Command::RecordAbandoned { digest: digest(7), locator: locator(1) }];
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(abandoned()).unwrap();
    assert_eq!(catalog.placements(&digest(7)).unwrap(), [], "somebody holds it");
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    catalog.commit_blocking(abandoned()).unwrap();
    assert!(only(&catalog, 7).unpin_pending);
}

#[test]
fn a_late_unpin_closes_nothing_but_itself() {
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(placing(options(place.path()))).unwrap();
    let unplaced = |standing| Command::RecordUnplaced { digest: digest(7), locator: locator(1), standing };
    catalog.commit_blocking(vec![link("a", 7), placed(7, 1)]).unwrap();
    assert_eq!((catalog.backlog(), catalog.unsettled_count()), (Backlog::default(), 1), "it was acknowledged only");
    let read = read_back(&only(&catalog, 7), &[]);
    catalog.commit_blocking(vec![read.clone()]).unwrap();
    assert_eq!(catalog.unsettled_count(), 0);
    assert!(wanted().is_safe(&[only(&catalog, 7)]));
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    let first = only(&catalog, 7);
    assert!(first.unpin_pending && !first.read_back);

    // Pushed again: it lacks a copy, although the bytes may still be at the backend.
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    assert_eq!(catalog.backlog(), Backlog { count: 1, bytes: 7 });
    catalog.commit_blocking(vec![placed(7, 1)]).unwrap();
    let again = only(&catalog, 7);
    assert_eq!((again.unpin_pending, again.read_back, again.after_unpin), (false, false, Some(1_000)));
    assert_eq!(catalog.backlog(), Backlog::default());
    catalog.commit_blocking(vec![unplaced(first.sequence)]).unwrap();
    assert_eq!(only(&catalog, 7), again, "the unpin of before changes nothing");
    catalog.commit_blocking(vec![read]).unwrap();
    assert_eq!(only(&catalog, 7), again, "nor does the reading back of before");

    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    catalog.commit_blocking(vec![unplaced(first.sequence)]).unwrap();
    assert!(only(&catalog, 7).unpin_pending, "this one is to be carried out");
    catalog.commit_blocking(vec![unplaced(only(&catalog, 7).sequence)]).unwrap();
    assert_eq!(catalog.placements(&digest(7)).unwrap(), []);
    assert_eq!(catalog.pending_unpins(None, 9).unwrap().items, []);
    assert_equals_rebuild(&catalog);
}

#[test]
fn a_locator_that_would_break_a_key_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    let bad = [
        Locator { kind: String::new(), ..locator(1) },
        Locator { address: "a\0b".into(), ..locator(1) },
        Locator { address: "a".repeat(2049), ..locator(1) },
        Locator { endpoints: vec!["http://a".into(); 65], ..locator(1) },
    ];
    for locator in bad {
        let outcome = catalog.commit_blocking(vec![Command::RecordPlaced { digest: digest(7), locator }]);
        assert_eq!(refusal(outcome), Refusal::LocatorInvalid);
    }
}

#[test]
fn what_lacks_a_place_comes_in_pages_and_as_news() {
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(placing(options(place.path()))).unwrap();
    let mut news = catalog.take_placement_news().unwrap();
    assert!(catalog.take_placement_news().is_none() && catalog.missed_placement_news());
    catalog.commit_blocking((1..=5).map(|number| link("a", number)).collect()).unwrap();
    catalog.commit_blocking(vec![put("b", 6, &[], &[]), link("b", 1), placed(2, 1), placed(3, 2)]).unwrap();
    assert_eq!(catalog.backlog(), Backlog { count: 5, bytes: 1 + 3 + 4 + 5 + 6 });
    let told: Vec<_> = std::iter::from_fn(|| news.try_recv().ok()).collect();
    assert_eq!(told, [1, 2, 3, 4, 5, 6].map(digest));
    assert!(!catalog.missed_placement_news());
    // What was private may be placed now, and nothing else would tell.
    for (visibility, is_news) in [(Visibility::Private, false), (Visibility::Public, true), (Visibility::Public, false)]
    {
        catalog.commit_blocking(vec![Command::SetVisibility { repository: repository("b"), visibility }]).unwrap();
        assert_eq!(catalog.missed_placement_news(), is_news, "{visibility:?}");
    }

    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = catalog.lacking(after.as_ref(), 2).unwrap();
        assert!(page.items.len() <= 2 && page.items.iter().all(|item| item.public));
        found.extend(page.items.into_iter().map(|item| item.digest));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [1, 3, 4, 5, 6].map(digest));
    catalog.mark_damaged();
    super::histories::wait_until_ready(&catalog);
    assert!(catalog.missed_placement_news(), "news may have been lost with the index");
    assert_eq!(catalog.recount_backlog().unwrap(), catalog.backlog());
}

#[test]
fn news_that_nobody_takes_up_are_left_to_a_scan() {
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(placing(options(place.path()))).unwrap();
    assert!(catalog.missed_placement_news());
    catalog.commit_blocking((0..2000).map(|number| link("a", number)).collect()).unwrap();
    assert!(catalog.missed_placement_news());
    assert_eq!(catalog.backlog().count, 2000);
}

#[test]
fn a_catalog_without_a_backend_has_no_backlog() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 1)]).unwrap();
    assert_eq!((catalog.backlog(), catalog.recount_backlog().unwrap()), (Backlog::default(), Backlog::default()));
    assert!(catalog.take_placement_news().is_none() && catalog.placement_changes().is_none());
    assert_eq!(catalog.lacking(None, 10).unwrap().items, []);
}

const DIGESTS: u64 = 3;
const PLACES: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Link(usize, u64),
    Collect(usize, u64),
    Put(usize, u64),
    Delete(usize, u64),
    Roots(u64),
    Placed(u64, u64),
    /// Acts on the current record, or on an outdated one.
    ReadBack(u64, u64, bool),
    Unplaced(u64, u64, bool),
    LoseIndex,
}

fn a_step() -> impl Strategy<Value = Step> {
    let (name, number, place) = (0..2_usize, 0..DIGESTS, 0..PLACES);
    prop_oneof![
        6 => (name.clone(), number.clone()).prop_map(|(name, number)| Step::Link(name, number)),
        4 => (name.clone(), number.clone()).prop_map(|(name, number)| Step::Collect(name, number)),
        2 => (name.clone(), number.clone()).prop_map(|(name, number)| Step::Put(name, number)),
        2 => (name, number.clone()).prop_map(|(name, number)| Step::Delete(name, number)),
        2 => number.clone().prop_map(Step::Roots),
        6 => (number.clone(), place.clone()).prop_map(|(number, place)| Step::Placed(number, place)),
        3 => (number.clone(), place.clone(), any::<bool>()).prop_map(|(n, p, now)| Step::ReadBack(n, p, now)),
        3 => (number, place, any::<bool>()).prop_map(|(n, p, now)| Step::Unplaced(n, p, now)),
        1 => Just(Step::LoseIndex),
    ]
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stands {
    pending: bool,
    read_back: bool,
    after_unpin: bool,
}

#[derive(Debug, Default)]
struct Model {
    holders: BTreeSet<(u64, usize, bool)>,
    roots: BTreeSet<u64>,
    places: BTreeMap<(u64, u64), Stands>,
}

impl Model {
    fn is_referenced(&self, number: u64) -> bool {
        self.holders.iter().any(|(held, ..)| *held == number)
    }

    fn release(&mut self, number: u64) {
        if self.is_referenced(number) {
            return;
        }
        self.roots.remove(&number);
        for (_, stands) in self.places.range_mut((number, 0)..(number + 1, 0)) {
            *stands = Stands { pending: true, ..Stands::default() };
        }
    }

    fn place(&mut self, number: u64, place: u64) {
        let held = self.is_referenced(number);
        let stands = self.places.entry((number, place)).or_default();
        match (held, stands.pending) {
            (false, _) => *stands = Stands { pending: true, ..Stands::default() },
            (true, true) => *stands = Stands { after_unpin: true, ..Stands::default() },
            (true, false) => {}
        }
    }

    fn backlog(&self) -> Backlog {
        // The third copy is at another kind of backend.
        let placed =
            |number| (0..2).any(|place| self.places.get(&(number, place)).is_some_and(|stands| !stands.pending));
        let lacking = (0..DIGESTS).filter(|number| self.is_referenced(*number) && !placed(*number));
        lacking.fold(Backlog::default(), |sum, number| Backlog { count: sum.count + 1, bytes: sum.bytes + number })
    }

    fn assert_answers(&self, catalog: &Catalog) {
        for number in 0..DIGESTS {
            let found = catalog.placements(&digest(number)).unwrap();
            let found = found.into_iter().map(|placement| {
                let (pending, read_back) = (placement.unpin_pending, placement.read_back);
                (placement.locator, Stands { pending, read_back, after_unpin: placement.after_unpin.is_some() })
            });
            let expected = self.places.iter().filter(|((of, _), _)| *of == number);
            let expected = expected.map(|((_, place), stands)| (locator(*place), *stands));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            assert_eq!(catalog.unit_roots(&digest(number)).unwrap().is_some(), self.roots.contains(&number));
            assert_eq!(catalog.is_referenced(&digest(100 + number)).unwrap(), self.roots.contains(&number));
        }
        let pending = catalog.pending_unpins(None, 99).unwrap().items;
        assert!(pending.iter().all(|(_, placement)| placement.unpin_pending));
        assert_eq!(pending.len(), self.places.values().filter(|stands| stands.pending).count());
        assert_eq!(catalog.backlog(), self.backlog());
        assert_eq!(catalog.recount_backlog().unwrap(), self.backlog());
        assert_eq!(catalog.recount_unsettled().unwrap(), catalog.unsettled_count());
    }
}

/// The sequence that a worker saw for this copy: the current one, or an earlier one.
fn seen(catalog: &Catalog, number: u64, place: u64, now: bool) -> u64 {
    let found = catalog.placements(&digest(number)).unwrap();
    let standing = found.iter().find(|placement| placement.locator == locator(place));
    standing.map_or(0, |placement| placement.sequence - u64::from(!now))
}

fn carry_out(catalog: &Catalog, model: &mut Model, step: &Step) {
    let names = ["a", "b"];
    match *step {
        Step::Link(name, number) => {
            catalog.commit_blocking(vec![link(names[name], number)]).unwrap();
            model.holders.insert((number, name, false));
        }
        Step::Collect(name, number) => {
            let command = Command::CollectBlob { repository: repository(names[name]), digest: digest(number) };
            catalog.commit_blocking(vec![command]).unwrap();
            if model.holders.remove(&(number, name, false)) {
                model.release(number);
            }
        }
        Step::Put(name, number) => {
            catalog.commit_blocking(vec![put(names[name], number, &[], &[])]).unwrap();
            model.holders.insert((number, name, true));
        }
        Step::Delete(name, number) => {
            let command = Command::DeleteManifest {
                repository: repository(names[name]),
                digest: digest(number),
                precondition: None,
                fixed: FixedTags::none(),
            };
            let deleted = catalog.commit_blocking(vec![command]).is_ok();
            assert_eq!(deleted, model.holders.remove(&(number, name, true)));
            model.release(number);
        }
        Step::Roots(number) => {
            let list = digest(100 + number);
            let command = Command::RecordUnitRoots { digest: digest(number), list, units: 2 };
            catalog.commit_blocking(vec![command]).unwrap();
            if model.is_referenced(number) {
                model.roots.insert(number);
            }
        }
        Step::Placed(number, place) => {
            catalog.commit_blocking(vec![placed(number, place)]).unwrap();
            model.place(number, place);
        }
        Step::ReadBack(number, place, now) => {
            let (digest, locator) = (digest(number), locator(place));
            let placed = seen(catalog, number, place, now);
            let command = Command::RecordReadBack { digest, locator, placed, among: Vec::new() };
            catalog.commit_blocking(vec![command]).unwrap();
            let held = model.is_referenced(number);
            if let Some(stands) = model.places.get_mut(&(number, place))
                && (held && now && !stands.pending && !stands.read_back)
            {
                *stands = Stands { read_back: true, ..Stands::default() };
            }
        }
        Step::Unplaced(number, place, now) => {
            let (digest, locator) = (digest(number), locator(place));
            let command = Command::RecordUnplaced { digest, locator, standing: seen(catalog, number, place, now) };
            catalog.commit_blocking(vec![command]).unwrap();
            if now {
                model.places.remove(&(number, place));
            }
        }
        Step::LoseIndex => {
            catalog.mark_damaged();
            super::histories::wait_until_ready(catalog);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_places_is_as_the_model_says(steps in proptest::collection::vec(a_step(), 1..120)) {
        let place = tempfile::tempdir().unwrap();
        let (catalog, _) = Catalog::open(placing(small_journal(options(place.path())))).unwrap();
        let mut model = Model::default();
        for step in &steps {
            carry_out(&catalog, &mut model, step);
            model.assert_answers(&catalog);
            let unheld = |placement: &(Digest, Placement)| !catalog.is_referenced(&placement.0).unwrap();
            let pending = catalog.pending_unpins(None, 99).unwrap().items;
            let left: usize = (0..DIGESTS).filter(|number| !model.is_referenced(*number))
                .map(|number| catalog.placements(&digest(number)).unwrap().len()).sum();
            prop_assert_eq!(pending.iter().filter(|item| unheld(item)).count(), left, "a place that nobody will free");
        }
        assert_equals_rebuild(&catalog);
    }
}
