//! Copies at endpoints that are configured, then removed from the configuration, then configured again.

use std::time::{Duration, Instant};

use super::places::{locator, only, read_back, unlink, wanted};
use super::{assert_equals_rebuild, digest, link, open, options};
use crate::catalog::command::Command;
use crate::catalog::fact::Locator;
use crate::catalog::local::Catalog;
use crate::catalog::{Elsewhere, Wanted};

fn on(endpoints: &[&str]) -> Locator {
    Locator { endpoints: endpoints.iter().map(ToString::to_string).collect(), ..locator(1) }
}

fn place_on(endpoints: &[&str]) -> Vec<Command> {
    vec![Command::RecordPlaced { digest: digest(7), locator: on(endpoints) }]
}

/// The copies wanted by a configuration.
fn two_of(endpoints: &[&str]) -> Wanted {
    Wanted { copies: 2, endpoints: endpoints.iter().map(ToString::to_string).collect(), ..wanted() }
}

#[test]
fn endpoints_that_are_not_configured_do_not_count() {
    let place = tempfile::tempdir().unwrap();
    let open = |wanted: &Wanted| {
        let mut options = options(place.path());
        options.placement = Some(wanted.clone());
        Catalog::open(options).unwrap().0
    };
    let (ab, ac) = (two_of(&["a", "b"]), two_of(&["a", "c"]));
    let elsewhere = |content, unpins| Elsewhere { content, unpins };
    let counts = |catalog: &Catalog| (catalog.backlog().count, catalog.elsewhere());
    let catalog = open(&ab);
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(place_on(&["a", "b"])).unwrap();
    catalog.commit_blocking(vec![read_back(&only(&catalog, 7), &["a", "b"])]).unwrap();
    assert!(ab.is_safe(&[only(&catalog, 7)]) && !ac.is_met(&[only(&catalog, 7)]));
    assert_eq!(counts(&catalog), (0, elsewhere(0, 0)));
    catalog.close();
    drop(catalog);

    // Placed at the new endpoint: the copy at the old one stays recorded, but does not count.
    let catalog = open(&ac);
    assert_eq!(counts(&catalog), (1, elsewhere(1, 0)), "counted at the start");
    catalog.commit_blocking(place_on(&["a", "c"])).unwrap();
    let both = only(&catalog, 7);
    assert_eq!(both.locator.endpoints, ["a", "c", "b"]);
    let stands = std::slice::from_ref(&both);
    assert!(ac.is_met(stands) && !ac.is_safe(stands), "not read back there");
    catalog.commit_blocking(vec![read_back(&both, &["a", "c"])]).unwrap();
    assert!(ac.is_safe(&[only(&catalog, 7)]));
    assert_eq!(counts(&catalog), (0, elsewhere(1, 0)));
    assert_eq!((catalog.recount_elsewhere().unwrap(), catalog.recount_backlog().unwrap().count), (elsewhere(1, 0), 0));

    // The old endpoint is configured again: its copy counts, and can be read back.
    assert!(ab.is_met(&[only(&catalog, 7)]) && !ab.is_safe(&[only(&catalog, 7)]));
    // A removal answered by the configured endpoint stays pending for the other one.
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    assert_eq!(counts(&catalog), (0, elsewhere(0, 0)), "some of it can be removed");
    let standing = only(&catalog, 7).sequence;
    let closed = Command::RecordUnplaced { digest: digest(7), locator: on(&["a", "c"]), standing };
    catalog.commit_blocking(vec![closed]).unwrap();
    assert_eq!((only(&catalog, 7).locator, only(&catalog, 7).unpin_pending), (on(&["b"]), true));
    assert_eq!(counts(&catalog), (0, elsewhere(0, 1)));
    assert_eq!(catalog.recount_elsewhere().unwrap(), elsewhere(0, 1));
    assert!(!ac.reaches(&on(&["b"])) && ab.reaches(&on(&["b"])));

    // Pushed again. Whether the other endpoint was asked to remove it is unknown by now.
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(place_on(&["a", "c"])).unwrap();
    assert_eq!(only(&catalog, 7).locator, on(&["a", "c"]));
    assert_eq!(counts(&catalog), (0, elsewhere(0, 0)));
    assert_equals_rebuild(&catalog);
}

#[test]
fn what_is_found_missing_is_missing_only_where_it_was_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(place_on(&["a", "b"])).unwrap();
    let lost = |endpoints: &[&str]| {
        let standing = only(&catalog, 7).sequence;
        vec![Command::RecordUnplaced { digest: digest(7), locator: on(endpoints), standing }]
    };
    catalog.commit_blocking(lost(&["a"])).unwrap();
    assert_eq!((only(&catalog, 7).locator, only(&catalog, 7).unpin_pending), (on(&["b"]), false));
    // An abandoned upload must be removed from every endpoint that may have it.
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    catalog.commit_blocking(place_on(&["c"])).unwrap();
    assert_eq!(only(&catalog, 7).locator, on(&["c", "b"]));
    catalog.commit_blocking(lost(&["b", "c"])).unwrap();
    assert_eq!(catalog.placements(&digest(7)).unwrap(), []);
}

/// After a removal, only endpoints that were asked since are relied on.
#[test]
fn what_a_removal_may_have_taken_is_not_handed_on() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(place_on(&["a"])).unwrap();
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(place_on(&["a", "b"])).unwrap();
    let doubtful = only(&catalog, 7);
    assert!(doubtful.after_unpin.is_some());
    catalog.commit_blocking(place_on(&["a", "c"])).unwrap();
    assert_eq!((only(&catalog, 7).locator, only(&catalog, 7).after_unpin), (on(&["a", "c"]), doubtful.after_unpin));
    catalog.commit_blocking(vec![read_back(&only(&catalog, 7), &["a"])]).unwrap();
    assert_eq!((only(&catalog, 7).locator, only(&catalog, 7).after_unpin), (on(&["a"]), None));
}

#[test]
fn endpoints_are_recorded_without_end_and_kept_within_bounds() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    for number in 0..70 {
        catalog.commit_blocking(place_on(&[&format!("http://{number}")])).unwrap();
    }
    let endpoints = only(&catalog, 7).locator.endpoints;
    assert_eq!((endpoints.len(), &*endpoints[0]), (64, "http://69"));
}

/// An empty portal at the address of another one counted as having its copies.
#[test]
fn an_endpoint_that_turns_out_to_be_another_one_has_no_copies() {
    let place = tempfile::tempdir().unwrap();
    let one_of = |endpoint: &str, here: &[&str]| Wanted {
        copies: 1,
        here: here.iter().map(ToString::to_string).collect(),
        ..two_of(&[endpoint])
    };
    let mut options = options(place.path());
    options.placement = Some(one_of("first", &[]));
    let catalog = Catalog::open(options).unwrap().0;
    let follow = |wanted: Wanted| {
        let _ = catalog.missed_placement_news();
        catalog.want(wanted.clone());
        let began = Instant::now();
        while *catalog.wanted().unwrap() != wanted {
            assert!(began.elapsed() < Duration::from_mins(1), "it never follows");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let counts = || (catalog.backlog().count, catalog.unsettled_count(), catalog.only_here_count());
    let place_8 = Command::RecordPlaced { digest: digest(8), locator: on(&["first", "second"]) };
    catalog.commit_blocking(vec![link("a", 7), link("a", 8), place_8]).unwrap();
    catalog.commit_blocking(place_on(&["first"])).unwrap();
    catalog.commit_blocking(vec![read_back(&only(&catalog, 7), &["first"])]).unwrap();
    assert_eq!(counts(), (0, 1, 0), "the other one was not read back");

    follow(one_of("second", &[]));
    assert_eq!(counts(), (1, 2, 0), "it has no copy of the first content");
    assert!(catalog.missed_placement_news(), "so all content is looked at again");
    follow(one_of("first", &["first"]));
    assert_eq!(counts(), (0, 1, 1), "it is back, and was on this machine all the time");
    assert_eq!(catalog.recount_unsettled().unwrap(), 1);
}

#[test]
fn content_survives_this_machine_if_a_copy_elsewhere_was_read_back() {
    let place = tempfile::tempdir().unwrap();
    let wanted = Wanted { here: vec!["a".to_owned()], ..two_of(&["a", "b"]) };
    let mut options = options(place.path());
    options.placement = Some(wanted.clone());
    let catalog = Catalog::open(options).unwrap().0;
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(place_on(&["a", "b"])).unwrap();
    assert_eq!(wanted.readers(&only(&catalog, 7).locator), ["b"]);
    for (among, survives) in [(&["a", "b"][..], false), (&["a"], false), (&["b"], true)] {
        catalog.commit_blocking(vec![read_back(&only(&catalog, 7), among)]).unwrap();
        let stands = [only(&catalog, 7)];
        assert_eq!((wanted.is_safe(&stands), wanted.survives(&stands)), (survives, survives), "{among:?}");
    }
    let only_here = Wanted { here: vec!["a".to_owned(), "b".to_owned()], ..wanted };
    let stands = [only(&catalog, 7)];
    assert!(!only_here.survives(&stands) && only_here.is_met(&stands));
}

/// What was lost at an endpoint was forgotten, with its address, or counted for ever.
#[test]
fn a_missing_copy_does_not_count_until_it_is_found_again() {
    let place = tempfile::tempdir().unwrap();
    let wanted = two_of(&["a", "b"]);
    let mut options = options(place.path());
    options.placement = Some(wanted.clone());
    let catalog = Catalog::open(options).unwrap().0;
    catalog.commit_blocking(vec![link("a", 7)]).unwrap();
    catalog.commit_blocking(place_on(&["a", "b"])).unwrap();
    catalog.commit_blocking(vec![read_back(&only(&catalog, 7), &["a", "b"])]).unwrap();
    let missing = |endpoints: &[&str], standing| {
        vec![Command::RecordMissing { digest: digest(7), locator: on(endpoints), standing }]
    };
    let counts = || (catalog.backlog().count, catalog.unsettled_count(), catalog.missing_count());
    let standing = only(&catalog, 7).sequence;
    catalog.commit_blocking(missing(&["c"], standing)).unwrap();
    catalog.commit_blocking(missing(&["a"], standing - 1)).unwrap();
    assert_eq!(
        (only(&catalog, 7).sequence, counts()),
        (standing, (0, 0, 0)),
        "it has no copy there, or another record"
    );
    catalog.commit_blocking(missing(&["a"], standing)).unwrap();
    assert_eq!(
        (only(&catalog, 7).locator, only(&catalog, 7).read_back),
        (on(&["b"]), false),
        "it may be read from there"
    );
    assert_eq!(counts(), (1, 1, 1));
    catalog.commit_blocking(missing(&["b"], only(&catalog, 7).sequence)).unwrap();
    assert_eq!((only(&catalog, 7).missing, counts()), (vec!["a".to_owned(), "b".to_owned()], (1, 1, 1)));
    assert_eq!(catalog.standing_places(&digest(7)).unwrap(), [], "no copy at all is not one that names no endpoint");
    assert_equals_rebuild(&catalog);

    catalog.commit_blocking(place_on(&["b"])).unwrap();
    assert_eq!((only(&catalog, 7).locator, only(&catalog, 7).missing), (on(&["b"]), vec!["a".to_owned()]));
    catalog.commit_blocking(vec![read_back(&only(&catalog, 7), &["b"])]).unwrap();
    assert_eq!(counts(), (1, 1, 1));
    catalog.commit_blocking(vec![unlink(7)]).unwrap();
    assert_eq!(only(&catalog, 7).locator, on(&["b", "a"]), "a part may be left where it is missing");
    assert_eq!(counts(), (0, 0, 0));
    assert_equals_rebuild(&catalog);
}
