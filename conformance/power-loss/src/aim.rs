//! Chooses where recorded runs are cut: anywhere, but mostly where much is at stake.

use std::collections::BTreeMap;

use harness::random::Random;
use harness::scale::Scale;

use super::recording::Plan;
use super::replay::Answered;
use super::trace::{Arg, Call, Step, Trace};

/// Steps of one client in each of the two phases of a recording.
const STEPS: usize = 16;
/// Manifests of one client. Together with those of the others they fill 16 MiB of the journal, so that it compacts.
const BULK: usize = 1050;

/// This many of a recording's first changes of names and syncs belong to the creation of the node.
const BIRTHS: usize = 40;

/// The aim of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Any step, but answers, syncs and changes of names more often.
    Anywhere,
    /// The creation of the node: in turn, the first steps that change or sync names.
    Birth,
    /// Changes of names in the journal: segments and snapshots.
    Journal,
}

/// A recording, and its number of cuts.
#[derive(Clone, Debug)]
pub struct Batch {
    pub name: &'static str,
    pub plan: Plan,
    pub aims: Vec<(Aim, usize)>,
}

/// The recordings of a scale. `states` is the number of cuts anywhere.
pub fn batches(scale: Scale, states: usize) -> Vec<Batch> {
    let usual = scale.pick(1, 3, 20).clamp(1, states.max(1));
    let plan = Plan { steps: STEPS, bulk: 0, given: true };
    let mut batches: Vec<Batch> = (0..usual)
        .map(|number| {
            let share = states / usual + usize::from(number < states % usual);
            Batch { name: "a node at work", plan, aims: vec![(Aim::Anywhere, share)] }
        })
        .collect();
    batches[0].aims.push((Aim::Birth, scale.pick(4, 12, 100)));
    let plan = Plan { steps: 1, bulk: 0, given: false };
    let aims = vec![(Aim::Anywhere, scale.pick(1, 3, 20))];
    batches.push(Batch { name: "a node that makes its data directory", plan, aims });
    if scale != Scale::Quick {
        let plan = Plan { steps: 4, bulk: BULK, given: true };
        let aims = vec![(Aim::Journal, scale.pick(0, 8, 80)), (Aim::Anywhere, scale.pick(0, 2, 20))];
        batches.push(Batch { name: "a journal that compacts", plan, aims });
    }
    batches
}

/// The steps of a recording that matter, each as the number of steps done.
#[derive(Debug)]
pub struct Points {
    all: usize,
    calls: Vec<usize>,
    births: Vec<usize>,
    journal: Vec<usize>,
    answers: Vec<usize>,
}

impl Points {
    pub fn of(trace: &Trace, answers: &BTreeMap<String, Answered>) -> Self {
        let (mut calls, mut births, mut journal) = (Vec::new(), Vec::new(), Vec::new());
        for (at, step) in trace.steps.iter().enumerate() {
            let Step::End(number) = step else { continue };
            let call = &trace.calls[*number];
            if !matches!(call.name.as_str(), "close" | "fcntl" | "write" | "lseek" | "accept4") {
                calls.push(at + 1);
            }
            if makes(call) {
                births.push(at + 1);
            }
            if names_journal(call) {
                journal.push(at + 1);
            }
        }
        let answers = answers.values().map(|answered| answered.done.min(trace.steps.len())).collect();
        Points { all: trace.steps.len(), calls, births, journal, answers }
    }

    /// Steps to cut at, in order.
    pub fn aimed(&self, aims: &[(Aim, usize)], random: &mut Random) -> Vec<usize> {
        let mut points = Vec::new();
        for (aim, count) in aims {
            points.extend((0..*count).map(|number| self.one(*aim, number, random).min(self.all)));
        }
        points.sort_unstable();
        points
    }

    fn one(&self, aim: Aim, number: usize, random: &mut Random) -> usize {
        match aim {
            Aim::Birth if !self.births.is_empty() => self.births[number % self.births.len().min(BIRTHS)],
            Aim::Journal if !self.journal.is_empty() => *random.pick(&self.journal) + random.below(12),
            _ => match random.below(20) {
                0..=4 => random.below(self.all + 1),
                5..=9 if !self.calls.is_empty() => *random.pick(&self.calls),
                _ if self.answers.is_empty() => random.below(self.all + 1),
                _ => *random.pick(&self.answers) + random.below(3),
            },
        }
    }
}

/// True for a call that creates a name, or syncs.
fn makes(call: &Call) -> bool {
    let creates = |arg: &Arg| matches!(arg, Arg::Text(text) if text.contains("O_CREAT"));
    call.result.is_some_and(|result| result >= 0)
        && (matches!(call.name.as_str(), "mkdir" | "rename" | "unlink" | "fsync" | "fdatasync")
            || call.args.iter().any(creates))
}

/// True if the journal was compacted in the recording.
pub fn compacted(trace: &Trace) -> bool {
    let is_snapshot = |arg: &Arg| match arg {
        Arg::Bytes(bytes) => String::from_utf8_lossy(bytes).contains("/journal/snapshot-"),
        Arg::Text(_) => false,
    };
    trace.calls.iter().any(|call| call.name == "rename" && call.args.iter().any(is_snapshot))
}

/// True for a call that creates, renames or removes a segment or snapshot.
fn names_journal(call: &Call) -> bool {
    let is_path = |arg: &Arg| match arg {
        Arg::Bytes(bytes) => String::from_utf8_lossy(bytes).contains("/journal/s"),
        Arg::Text(_) => false,
    };
    matches!(call.name.as_str(), "openat" | "rename" | "unlink") && call.args.iter().any(is_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_has_as_many_cuts_as_asked() {
        for (scale, states) in [(Scale::Quick, 20), (Scale::Ci, 60), (Scale::Full, 2000)] {
            let batches = batches(scale, states);
            let at_work = batches.iter().filter(|batch| batch.name == "a node at work");
            let cuts: usize = at_work.map(|batch| batch.aims[0].1).sum();
            assert_eq!(cuts, states);
        }
    }

    #[test]
    fn cuts_are_in_order_and_within_the_recording() {
        let points = Points { all: 50, calls: vec![10], births: vec![3, 5], journal: vec![49], answers: vec![40] };
        let aims = [(Aim::Anywhere, 30), (Aim::Journal, 10), (Aim::Birth, 10)];
        let cuts = points.aimed(&aims, &mut Random::new(1));
        assert_eq!(cuts.len(), 50);
        assert!(cuts.is_sorted() && cuts.iter().all(|cut| *cut <= 50));
    }
}
