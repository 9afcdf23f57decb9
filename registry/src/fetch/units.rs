//! The state of one cold read: the units that have arrived, the units that each reader wants, and those that each fetch
//! brings. It uses no clocks and never waits.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// A reader waits for a fetch that will reach its unit, if it is at most this many units away.
const AHEAD: u64 = 16;
/// Most fetches of the same content at once. Further readers wait.
const MAX_FETCHES: usize = 4;
/// Most failed fetches remembered for the readers that waited for them.
const FAILURES: usize = 32;

/// The state of one cold read. All numbers count units.
#[derive(Debug)]
pub(super) struct Units {
    here: Vec<bool>,
    missing: u64,
    /// The units that each reader still wants.
    readers: HashMap<u64, Range<u64>>,
    /// The units that each fetch has yet to bring.
    fetches: HashMap<u64, Range<u64>>,
    /// The end of the units that each fetch has verified. They are being written to the file, and readers already have
    /// them.
    verified: HashMap<u64, u64>,
    failures: VecDeque<(u64, Range<u64>)>,
    /// True while complete content is being published as the local file.
    publishing: bool,
    next_number: u64,
}

/// What a reader must do about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read it.
    Here,
    /// Wait for a change.
    Wait,
    /// Begin this fetch of these units, then wait.
    Begin(u64, Range<u64>),
    /// Give up: the fetch for it failed.
    Failed,
}

impl Units {
    pub(super) fn new(count: u64) -> Self {
        Units {
            here: vec![false; count as usize],
            missing: count,
            readers: HashMap::new(),
            fetches: HashMap::new(),
            verified: HashMap::new(),
            failures: VecDeque::new(),
            publishing: false,
            next_number: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Adds a reader of these units, and returns its number.
    pub(super) fn enter(&mut self, wanted: Range<u64>) -> u64 {
        let reader = self.number();
        self.readers.insert(reader, wanted);
        reader
    }

    /// Changes the units that a reader wants.
    pub(super) fn want(&mut self, reader: u64, wanted: Range<u64>) {
        self.readers.insert(reader, wanted);
    }

    /// Marks all units before `unit` as read.
    pub(super) fn advance(&mut self, reader: u64, unit: u64) {
        if let Some(wanted) = self.readers.get_mut(&reader) {
            wanted.start = unit;
        }
    }

    /// Removes a reader.
    pub(super) fn leave(&mut self, reader: u64) {
        self.readers.remove(&reader);
    }

    /// A number for the current moment. Numbers are monotonic; failures with smaller ones predate the reader.
    pub(super) fn now(&mut self) -> u64 {
        self.number()
    }

    /// The next step of a reader that has waited for this unit since `since`.
    pub(super) fn step(&mut self, reader: u64, unit: u64, since: u64) -> Step {
        if self.here.get(unit as usize).copied().unwrap_or(true) {
            return Step::Here;
        }
        if self.failures.iter().any(|(number, range)| *number > since && range.contains(&unit)) {
            return Step::Failed;
        }
        let comes = |range: &Range<u64>| range.contains(&unit) && unit - range.start <= AHEAD;
        if self.fetches.values().any(comes) || self.fetches.len() >= MAX_FETCHES {
            return Step::Wait;
        }
        let wanted = self.readers.get(&reader).map_or(unit + 1, |wanted| wanted.end);
        // Units that another fetch has verified are being written to the file.
        let is_verified = |unit: u64| {
            let mut fetches = self.fetches.iter();
            fetches.any(|(number, range)| {
                range.contains(&unit) && self.verified.get(number).is_some_and(|verified| unit < *verified)
            })
        };
        if is_verified(unit) {
            return Step::Wait;
        }
        let end = (unit..wanted).find(|unit| self.here[*unit as usize] || is_verified(*unit)).unwrap_or(wanted);
        let fetch = self.number();
        self.fetches.insert(fetch, unit..end);
        Step::Begin(fetch, unit..end)
    }

    /// True if a reader wants the next unit of a fetch, or will. A fetch that has verified everything is written
    /// completely, even without readers.
    pub(super) fn is_needed(&self, fetch: u64) -> bool {
        let Some(range) = self.fetches.get(&fetch) else { return false };
        let next = self.verified.get(&fetch).map_or(range.start, |verified| range.start.max(*verified));
        next == range.end || self.readers.values().any(|wanted| wanted.contains(&next))
    }

    /// True if a reader wants one of these units, or will.
    pub(super) fn is_wanted(&self, units: &Range<u64>) -> bool {
        self.readers.values().any(|wanted| wanted.start < units.end && units.start < wanted.end)
    }

    /// Records that a fetch has verified all units before this one.
    pub(super) fn set_verified(&mut self, fetch: u64, before: u64) {
        if self.fetches.contains_key(&fetch) {
            let verified = self.verified.entry(fetch).or_default();
            *verified = before.max(*verified);
        }
    }

    /// Records units that a fetch has written. True if the content is now complete and must be published.
    pub(super) fn bring(&mut self, fetch: u64, units: Range<u64>) -> bool {
        if !self.fetches.contains_key(&fetch) {
            return false;
        }
        let missing = self.missing;
        for unit in units {
            self.missing -= u64::from(!std::mem::replace(&mut self.here[unit as usize], true));
        }
        self.skip_what_is_here(fetch);
        let is_last = missing > 0 && self.missing == 0;
        self.publishing |= is_last;
        is_last
    }

    /// Ends publishing, successful or not.
    pub(super) fn end_publishing(&mut self) {
        self.publishing = false;
    }

    /// True if nothing is being fetched or published.
    pub(super) fn is_at_rest(&self) -> bool {
        self.fetches.is_empty() && !self.publishing
    }

    /// Skips units that arrived by other fetches. True if this fetch has nothing left to bring.
    pub(super) fn skip_what_is_here(&mut self, fetch: u64) -> bool {
        let Some(range) = self.fetches.get_mut(&fetch) else { return true };
        while !range.is_empty() && self.here[range.start as usize] {
            range.start += 1;
        }
        range.is_empty()
    }

    /// The units that a running fetch has yet to bring.
    pub(super) fn rest(&self, fetch: u64) -> Option<Range<u64>> {
        self.fetches.get(&fetch).filter(|range| !range.is_empty()).cloned()
    }

    /// Ends a fetch that is complete, or that no reader needs.
    pub(super) fn end(&mut self, fetch: u64) {
        self.verified.remove(&fetch);
        self.fetches.remove(&fetch);
    }

    /// Ends a failed fetch, so that its waiting readers fail.
    pub(super) fn fail(&mut self, fetch: u64) {
        let number = self.number();
        self.verified.remove(&fetch);
        if let Some(range) = self.fetches.remove(&fetch) {
            self.failures.push_back((number, range));
            if self.failures.len() > FAILURES {
                self.failures.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_readers_of_everything_make_one_fetch() {
        let mut units = Units::new(10);
        let readers: Vec<_> = (0..16).map(|_| units.enter(0..10)).collect();
        let since = units.now();
        let steps: Vec<_> = readers.iter().map(|reader| units.step(*reader, 0, since)).collect();
        let Step::Begin(fetch, range) = steps[0].clone() else { panic!("{steps:?}") };
        assert_eq!(range, 0..10);
        assert!(steps[1..].iter().all(|step| *step == Step::Wait));
        assert!(!units.bring(fetch, 0..9));
        assert!(units.bring(fetch, 0..10) && units.rest(fetch).is_none());
        assert_eq!(units.step(readers[7], 9, since), Step::Here);
    }

    #[test]
    fn what_came_whole_is_at_rest_when_it_was_published() {
        let mut units = Units::new(2);
        assert!(units.is_at_rest());
        let (reader, since) = (units.enter(0..2), units.now());
        let Step::Begin(fetch, _) = units.step(reader, 0, since) else { panic!("{units:?}") };
        assert!(!units.is_at_rest());
        units.bring(fetch, 0..2);
        units.end(fetch);
        assert!(!units.is_at_rest(), "it is not the local file yet");
        units.end_publishing();
        assert!(units.is_at_rest());
    }

    #[test]
    fn a_far_range_does_not_wait_for_all_before_it() {
        let mut units = Units::new(100);
        let (whole, part) = (units.enter(0..100), units.enter(50..52));
        let since = units.now();
        assert!(matches!(units.step(whole, 0, since), Step::Begin(..)));
        let Step::Begin(fetch, range) = units.step(part, 50, since) else { panic!() };
        assert_eq!(range, 50..52);
        units.bring(fetch, 50..52);
        units.end(fetch);
        assert_eq!(units.step(part, 51, since), Step::Here);
        // The reader of everything fetches around it when it gets there.
        assert!(matches!(units.step(whole, 40, since), Step::Begin(_, range) if range == (40..50)));
    }

    #[test]
    fn what_only_one_needed_goes_with_that_one() {
        let mut units = Units::new(10);
        let (first, second) = (units.enter(0..10), units.enter(2..4));
        let since = units.now();
        let Step::Begin(fetch, _) = units.step(first, 0, since) else { panic!() };
        assert!(units.is_needed(fetch));
        units.leave(first);
        assert!(!units.is_needed(fetch), "the other wants later units");
        units.bring(fetch, 0..2);
        assert!(units.is_needed(fetch));
        units.advance(second, 4);
        assert!(units.is_needed(fetch) == (2..4).contains(&4));
    }

    #[test]
    fn a_reader_ahead_of_the_disk_keeps_the_fetch_and_what_came_whole_needs_nobody() {
        let mut units = Units::new(4);
        let reader = units.enter(0..4);
        let since = units.now();
        let Step::Begin(fetch, _) = units.step(reader, 0, since) else { panic!() };
        units.set_verified(fetch, 2);
        units.advance(reader, 2);
        assert!(units.is_needed(fetch), "it wants the third, though the first is not written");
        assert!(units.is_wanted(&(1..3)) && !units.is_wanted(&(0..2)));
        units.leave(reader);
        assert!(!units.is_needed(fetch));
        units.set_verified(fetch, 4);
        units.set_verified(fetch, 3);
        assert!(units.is_needed(fetch), "all of it came");
        units.end(fetch);
        assert!(!units.is_needed(fetch));
    }

    #[test]
    fn a_failure_is_told_to_those_who_waited_and_not_to_those_who_come() {
        let mut units = Units::new(3);
        let reader = units.enter(0..3);
        let since = units.now();
        let Step::Begin(fetch, _) = units.step(reader, 0, since) else { panic!() };
        units.bring(fetch, 0..1);
        units.fail(fetch);
        assert_eq!(units.step(reader, 0, since), Step::Here);
        assert_eq!(units.step(reader, 1, since), Step::Failed);
        let later = units.now();
        assert!(matches!(units.step(reader, 1, later), Step::Begin(_, range) if range == (1..3)));
    }

    /// An empty fetch was begun over and over.
    #[test]
    fn what_a_far_fetch_has_verified_is_waited_for() {
        let mut units = Units::new(100);
        let (whole, part) = (units.enter(0..100), units.enter(50..52));
        let since = units.now();
        let Step::Begin(fetch, _) = units.step(whole, 0, since) else { panic!() };
        units.set_verified(fetch, 51);
        assert_eq!(units.step(part, 50, since), Step::Wait, "it is on its way into the file");
        assert!(matches!(units.step(part, 51, since), Step::Begin(_, range) if range == (51..52)));
    }

    #[test]
    fn fetches_at_once_are_few() {
        let mut units = Units::new(1000);
        let since = units.now();
        let steps: Vec<_> = (0..6)
            .map(|number| {
                let reader = units.enter(number * 100..number * 100 + 1);
                units.step(reader, number * 100, since)
            })
            .collect();
        assert_eq!(steps.iter().filter(|step| **step == Step::Wait).count(), 2);
    }
}
