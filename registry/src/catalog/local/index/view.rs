//! The index with pending changes on top.

use std::ops::{Bound, ControlFlow};

use super::source::{Fault, Source, Visit};
use super::store::{Change, Changes, Index};
use super::value::Payload;

/// A view of the index. Reads see its changes first. In the end the changes become the batch to apply.
#[derive(Debug)]
pub(crate) struct View<'a> {
    index: &'a Index,
    changes: Changes,
    /// The state before each write, newest last.
    undo: Vec<(Vec<u8>, Met)>,
}

/// The pending change of a key before a write.
#[derive(Debug)]
enum Met {
    /// There was none.
    Nothing,
    /// This payload, or a removal.
    Payload(Option<Payload>),
}

/// A point to roll back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollbackPoint(usize);

impl<'a> View<'a> {
    /// A view without changes.
    pub(crate) fn new(index: &'a Index) -> Self {
        View { index, changes: Changes::new(), undo: Vec::new() }
    }

    /// Sets a key.
    pub(crate) fn put(&mut self, key: Vec<u8>, payload: Payload) -> Result<(), Fault> {
        self.change(key, Some(payload))
    }

    /// Sets a key that the index is known not to have, which saves the lookup.
    pub(crate) fn put_new(&mut self, key: Vec<u8>, payload: Payload) -> Result<(), Fault> {
        if self.changes.contains_key(&key) {
            return self.put(key, payload);
        }
        self.undo.push((key.clone(), Met::Nothing));
        self.changes.insert(key, Change { before: None, now: Some(payload) });
        Ok(())
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, key: Vec<u8>) -> Result<(), Fault> {
        self.change(key, None)
    }

    fn change(&mut self, key: Vec<u8>, now: Option<Payload>) -> Result<(), Fault> {
        if let Some(change) = self.changes.get_mut(&key) {
            let previous = std::mem::replace(&mut change.now, now);
            self.undo.push((key, Met::Payload(previous)));
            return Ok(());
        }
        let before = self.index.get_with_checksum(&key)?.map(|(checksum, _)| checksum);
        self.undo.push((key.clone(), Met::Nothing));
        self.changes.insert(key, Change { before, now });
        Ok(())
    }

    /// Marks the current state.
    pub(crate) fn rollback_point(&self) -> RollbackPoint {
        RollbackPoint(self.undo.len())
    }

    /// Undoes all changes since `point`.
    pub(crate) fn roll_back(&mut self, point: RollbackPoint) {
        while self.undo.len() > point.0
            && let Some((key, met)) = self.undo.pop()
        {
            match (met, self.changes.get_mut(&key)) {
                (Met::Payload(previous), Some(change)) => change.now = previous,
                _ => drop(self.changes.remove(&key)),
            }
        }
    }

    /// Number of changed keys.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The changes, as a batch.
    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }
}

impl Source for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Payload>, Fault> {
        match self.changes.get(key) {
            Some(change) => Ok(change.now.clone()),
            None => self.index.get(key),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Fault> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut changed = self
            .changes
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let mut stopped = false;
        self.index.scan(prefix, after, &mut |key, payload| {
            while let Some((new_key, change)) = changed.next_if(|(new_key, _)| new_key.as_slice() <= key) {
                let replaces = new_key == key;
                if let Some(now) = &change.now
                    && visit(new_key, now)?.is_break()
                {
                    stopped = true;
                    return Ok(ControlFlow::Break(()));
                }
                if replaces {
                    return Ok(ControlFlow::Continue(()));
                }
            }
            let flow = visit(key, payload)?;
            stopped = flow.is_break();
            Ok(flow)
        })?;
        if stopped {
            return Ok(());
        }
        for (key, change) in changed {
            if let Some(now) = &change.now
                && visit(key, now)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }
}
