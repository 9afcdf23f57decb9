//! The promises of the registry at each moment of a recording.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Answered;

/// A thing that clients can request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Blob { repo: String, digest: String },
    Manifest { repo: String, digest: String },
    Tag { repo: String, tag: String },
}

/// The expected state of a thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    There,
    Gone,
    /// A collection may have removed it.
    Unsure,
    /// The digest that a tag points to.
    Names(String),
}

#[derive(Clone, Debug)]
struct Change {
    value: Value,
    /// The id in the answer; empty if there was none.
    answer: String,
}

/// The changes of each thing, in order. The next change begins only after the previous one was answered.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    changes: BTreeMap<Key, Vec<Change>>,
    pub sessions: Vec<SessionPromise>,
}

/// An upload session, and the acknowledgements for it.
#[derive(Clone, Debug)]
pub struct SessionPromise {
    pub repo: String,
    pub path: String,
    /// All bytes to be pushed.
    pub bytes: Vec<u8>,
    /// Acknowledged offsets, each with the id of its answer.
    pub offsets: Vec<(usize, String)>,
    /// Number of bytes ever sent.
    pub sent: usize,
    /// Set if a close or cancel was begun: the id of the last answer before it.
    pub ending: Option<String>,
    /// The id of the answer to that.
    pub ended: Option<String>,
}

/// The expected state of a session after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFate {
    /// It exists with at least this many bytes.
    Open(usize),
    /// Nothing was promised: it may exist or not.
    Either,
    Ended,
}

/// The answers of a recording at the step of the power cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    pub answers: &'a BTreeMap<String, Answered>,
    pub step: usize,
}

impl Cut<'_> {
    /// True if the client has the answer.
    pub fn has(&self, answer: &str) -> bool {
        self.answers.get(answer).is_some_and(|answered| answered.done <= self.step)
    }

    /// True if the client may have the answer, and may have continued.
    pub fn may_have(&self, answer: &str) -> bool {
        self.answers.get(answer).is_some_and(|answered| answered.begun <= self.step)
    }
}

impl Promises {
    /// Records that a request is about to change `key`.
    pub fn begin(&mut self, key: Key, value: Value) {
        self.changes.entry(key).or_default().push(Change { value, answer: String::new() });
    }

    /// Records the answer to that request.
    pub fn answered(&mut self, key: &Key, answer: &str) {
        if let Some(change) = self.changes.get_mut(key).and_then(|changes| changes.last_mut()) {
            answer.clone_into(&mut change.answer);
        }
    }

    /// The state of a thing if nothing is lost.
    pub fn latest(&self, key: &Key) -> Value {
        self.changes.get(key).and_then(|changes| changes.last()).map_or(Value::Gone, |change| change.value.clone())
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.changes.keys()
    }

    pub fn extend(&mut self, other: Promises) {
        self.changes.extend(other.changes);
        self.sessions.extend(other.sessions);
    }

    /// All states that a thing may have after the cut.
    pub fn allowed(&self, key: &Key, cut: &Cut<'_>) -> BTreeSet<Value> {
        let mut allowed = BTreeSet::from([Value::Gone]);
        for change in self.changes.get(key).into_iter().flatten() {
            if cut.has(&change.answer) {
                allowed.clear();
            }
            allowed.insert(change.value.clone());
            if !cut.may_have(&change.answer) {
                // No answer, so later changes were not sent.
                break;
            }
        }
        allowed
    }

    /// An answer that a client got but the recording lacks. Without this check, later promises would be ignored.
    pub fn unrecorded<'a>(&'a self, answers: &BTreeMap<String, Answered>) -> Option<&'a str> {
        let changes = self.changes.values().flatten().map(|change| &change.answer);
        let offsets = self.sessions.iter().flat_map(|session| session.offsets.iter().map(|(_, answer)| answer));
        let ends = self.sessions.iter().flat_map(|session| session.ending.iter().chain(&session.ended));
        let mut known = changes.chain(offsets).chain(ends).filter(|answer| !answer.is_empty());
        known.find(|answer| !answers.contains_key(*answer)).map(String::as_str)
    }

    /// Number of changes that the clients know of.
    pub fn acknowledged(&self, cut: &Cut<'_>) -> usize {
        self.changes.values().flatten().filter(|change| cut.has(&change.answer)).count()
    }
}

impl SessionPromise {
    pub fn fate(&self, cut: &Cut<'_>) -> SessionFate {
        if self.ended.as_ref().is_some_and(|answer| cut.has(answer)) {
            return SessionFate::Ended;
        }
        if self.ending.as_ref().is_some_and(|answer| cut.may_have(answer)) {
            return SessionFate::Either;
        }
        match self.offsets.iter().rev().find(|(offset, answer)| *offset > 0 && cut.has(answer)) {
            Some((offset, _)) => SessionFate::Open(*offset),
            None => SessionFate::Either,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::Tag { repo: "r".to_owned(), tag: "t".to_owned() }
    }

    fn allowed(promises: &Promises, answers: &BTreeMap<String, Answered>, step: usize) -> Vec<Value> {
        promises.allowed(&key(), &Cut { answers, step }).into_iter().collect()
    }

    #[test]
    fn an_acknowledged_change_counts_and_the_next_may() {
        let mut promises = Promises::default();
        for (value, answer) in [(Value::Names("a".into()), "1"), (Value::Gone, "2"), (Value::Names("b".into()), "")] {
            promises.begin(key(), value);
            promises.answered(&key(), answer);
        }
        let answers = BTreeMap::from([
            ("1".to_owned(), Answered { begun: 10, done: 12 }),
            ("2".to_owned(), Answered { begun: 20, done: 21 }),
        ]);
        let a = Value::Names("a".into());
        assert_eq!(allowed(&promises, &answers, 9), [Value::Gone, a.clone()]);
        assert_eq!(allowed(&promises, &answers, 11), [Value::Gone, a.clone()]);
        assert_eq!(allowed(&promises, &answers, 15), [Value::Gone, a]);
        assert_eq!(allowed(&promises, &answers, 30), [Value::Gone, Value::Names("b".into())]);
        assert_eq!(promises.acknowledged(&Cut { answers: &answers, step: 30 }), 2);
    }

    #[test]
    fn a_recording_that_lacks_an_answer_is_noticed() {
        let mut promises = Promises::default();
        promises.begin(key(), Value::Gone);
        assert_eq!(promises.unrecorded(&BTreeMap::new()), None, "nobody got one");
        promises.answered(&key(), "1");
        assert_eq!(promises.unrecorded(&BTreeMap::new()), Some("1"));
        let answers = BTreeMap::from([("1".to_owned(), Answered { begun: 1, done: 2 })]);
        assert_eq!(promises.unrecorded(&answers), None);
    }

    #[test]
    fn a_session_is_owed_from_its_first_acknowledged_bytes_until_its_end_begins() {
        let mut session = SessionPromise {
            repo: "r".into(),
            path: "p".into(),
            bytes: Vec::new(),
            offsets: vec![(0, "1".into()), (5, "2".into()), (9, "3".into())],
            sent: 9,
            ending: None,
            ended: None,
        };
        let at = |step| Answered { begun: step, done: step };
        let answers: BTreeMap<String, Answered> = (1..5).map(|n| (n.to_string(), at(n * 10))).collect();
        let fate = |session: &SessionPromise, step| session.fate(&Cut { answers: &answers, step });
        assert_eq!(fate(&session, 15), SessionFate::Either);
        assert_eq!(fate(&session, 25), SessionFate::Open(5));
        assert_eq!(fate(&session, 99), SessionFate::Open(9));
        (session.ending, session.ended) = (Some("3".into()), Some("4".into()));
        assert_eq!(fate(&session, 35), SessionFate::Either);
        assert_eq!(fate(&session, 45), SessionFate::Ended);
    }
}
