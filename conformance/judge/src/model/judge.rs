//! Tracks the states that the answers so far allow, and reports when none is left.

use harness::client::Response;

use crate::model::answer::{answer, unanswered};
use crate::model::op::Op;
use crate::model::state::{Session, State};

/// Most possible states at once. Beyond that the run is undecidable.
const STATES: usize = 512;

/// An answer that no possible state allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    pub what: String,
    pub why: String,
}

/// One request with its answer; `None` if the server was killed first.
#[derive(Debug)]
pub struct Exchange {
    pub op: Op,
    pub response: Option<Response>,
}

/// The possible states of one group of repositories. Mostly there is only one.
#[derive(Clone, Debug)]
pub struct Judge {
    states: Vec<State>,
}

impl Judge {
    pub fn new(state: State) -> Self {
        Judge { states: vec![state] }
    }

    /// One of the possible states, for generating the next operation.
    pub fn state(&self) -> &State {
        &self.states[0]
    }

    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// Processes one answered operation.
    pub fn take(&mut self, op: &Op, response: &Response) -> Result<(), Disagreement> {
        if let [state] = &mut self.states[..] {
            let mut fits = answer(state, op, false);
            fits.retain(|answer| answer.compare(response, op.is_head()).is_ok());
            if let [one] = &mut fits[..] {
                state.apply(std::mem::replace(&mut one.effect, crate::model::state::Effect::Nothing));
                return Ok(());
            }
        }
        let next = self.states.iter().flat_map(|state| after(state, op, Some(response), false)).collect();
        self.narrow(next, |states| explain(states, op, response))
    }

    /// Processes operations that ran at the same time. Some order of them must explain all answers.
    pub fn take_together(&mut self, exchanges: &[Exchange]) -> Result<(), Disagreement> {
        let mut next = Vec::new();
        for state in &self.states {
            orders(state, &exchanges.iter().collect::<Vec<_>>(), exchanges, &mut next);
        }
        self.narrow(next, |_| Disagreement {
            what: exchanges.iter().map(|x| format!("{:?}", x.op)).collect::<Vec<_>>().join("\n"),
            why: format!("no order of these explains the answers {}", statuses(exchanges)),
        })
    }

    /// Processes a collection without grace.
    pub fn collected(&mut self) {
        self.states = distinct(self.states.iter().flat_map(State::collected).collect());
    }

    /// Processes a restart of the server, which may have forgotten some state.
    pub fn restarted(&mut self) {
        self.states.iter_mut().for_each(State::restarted);
    }

    /// Processes the offset that a session reports after a restart. Bytes of an unanswered request may have been kept.
    pub fn take_offset(&mut self, op: &Op, response: &Response) -> Result<(), Disagreement> {
        let Some(slot) = op.slot() else { return self.take(op, response) };
        let mut next = Vec::new();
        for state in &self.states {
            for grown in grown(state, slot, response) {
                next.extend(after(&grown, op, Some(response), false));
            }
        }
        self.narrow(next, |states| explain(states, op, response))
    }

    /// The slots open in any of the possible states, with their repositories.
    pub fn open_slots(&self) -> Vec<(u32, String)> {
        let all = self.states.iter().flat_map(|state| &state.sessions);
        let mut slots: Vec<_> = all.map(|(slot, session)| (*slot, session.repo.clone())).collect();
        slots.sort();
        slots.dedup();
        slots
    }

    fn narrow(&mut self, next: Vec<State>, error: impl Fn(&[State]) -> Disagreement) -> Result<(), Disagreement> {
        let next = distinct(next);
        if next.is_empty() {
            return Err(error(&self.states));
        }
        if next.len() > STATES {
            let what = format!("{} states are possible", next.len());
            return Err(Disagreement { what, why: "the model cannot follow so many".to_owned() });
        }
        self.states = next;
        Ok(())
    }
}

/// The states allowed by a session's uncertain tail and its reported offset. `0-0` means no byte or one.
fn grown(state: &State, slot: u32, response: &Response) -> Vec<State> {
    let Some(Session { bytes, tail, .. }) = state.sessions.get(&slot) else { return vec![state.clone()] };
    let end = response.header("Range").and_then(|range| range.strip_prefix("0-")?.parse::<usize>().ok());
    let reported = end.map_or(vec![bytes.len()], |end| if end == 0 { vec![0, 1] } else { vec![end + 1] });
    let lengths = reported.iter().filter_map(|total| total.checked_sub(bytes.len())).filter(|n| *n <= tail.len());
    lengths
        .map(|length| {
            let mut next = state.clone();
            if let Some(session) = next.sessions.get_mut(&slot) {
                let tail = std::mem::take(&mut session.tail);
                session.bytes.extend_from_slice(&tail[..length]);
            }
            next
        })
        .collect()
}

fn after(state: &State, op: &Op, response: Option<&Response>, contended: bool) -> Vec<State> {
    let Some(response) = response else { return unanswered(state, op) };
    let fits = answer(state, op, contended).into_iter().filter(|answer| answer.compare(response, op.is_head()).is_ok());
    let next = fits.map(|answer| {
        let mut next = state.clone();
        next.apply(answer.effect);
        next
    });
    next.collect()
}

/// Adds every state that results from some order of the exchanges.
fn orders(state: &State, left: &[&Exchange], all: &[Exchange], out: &mut Vec<State>) {
    if left.is_empty() {
        if !out.contains(state) {
            out.push(state.clone());
        }
        return;
    }
    for (at, exchange) in left.iter().enumerate() {
        let others: Vec<_> = left.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, x)| *x).collect();
        let slot = exchange.op.slot();
        let contended = slot.is_some() && all.iter().filter(|other| other.op.slot() == slot).count() > 1;
        for next in after(state, &exchange.op, exchange.response.as_ref(), contended) {
            orders(&next, &others, all, out);
        }
    }
}

fn distinct(states: Vec<State>) -> Vec<State> {
    let mut out: Vec<State> = Vec::new();
    for state in states {
        if !out.contains(&state) {
            out.push(state);
        }
    }
    out
}

fn explain(states: &[State], op: &Op, response: &Response) -> Disagreement {
    let allowed = answer(&states[0], op, false);
    let why: Vec<_> = allowed.iter().filter_map(|answer| answer.compare(response, op.is_head()).err()).collect();
    let body: String = response.text().chars().take(300).collect();
    Disagreement { what: format!("{op:?}"), why: format!("{}; got {} {body:?}", why.join("; or "), response.status) }
}

fn statuses(exchanges: &[Exchange]) -> String {
    let each = exchanges.iter().map(|x| x.response.as_ref().map_or("none".to_owned(), |r| r.status.to_string()));
    each.collect::<Vec<_>>().join(", ")
}
