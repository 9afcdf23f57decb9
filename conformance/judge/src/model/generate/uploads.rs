//! Generates uploads: sessions in and out of order, single posts, mounts.

use harness::site::digest;

use crate::model::content::Content;
use crate::model::generate::Generator;
use crate::model::op::Op;
use crate::model::state::State;

/// Number of sessions of one repository that are kept open.
const OPEN: usize = 3;

impl Generator {
    pub(super) fn start(&mut self, repo: &str) -> Op {
        let slot = self.slot();
        let algorithm = self.plans[&slot].1;
        let announced = match self.random.below(20) {
            0 => Some("foo".to_owned()),
            1..5 => Some(algorithm.to_owned()),
            _ => None,
        };
        Op::StartUpload { repo: repo.to_owned(), slot, algorithm: announced, junk: self.random.chance(5) }
    }

    fn slot(&mut self) -> u32 {
        self.next_slot += 1;
        let algorithm = self.algorithm();
        let content = self.content();
        self.plans.insert(self.next_slot, (content, algorithm));
        while self.plans.len() > 64 {
            self.plans.pop_first();
        }
        self.next_slot
    }

    /// An open session of the repository, or sometimes another one.
    fn pick_slot(&mut self, state: &State, repo: &str) -> Option<u32> {
        if self.random.chance(4) && self.next_slot > 0 {
            return Some(self.next_slot - self.random.below(self.next_slot.min(8) as usize) as u32);
        }
        let open: Vec<u32> = state.sessions.iter().filter(|(_, s)| s.repo == repo).map(|(slot, _)| *slot).collect();
        if open.is_empty() { None } else { Some(*self.random.pick(&open)) }
    }

    pub(super) fn patch(&mut self, state: &State, repo: &str) -> Op {
        let Some(slot) = self.pick_slot(state, repo) else { return self.start(repo) };
        let offset = state.sessions.get(&slot).map_or(0, |session| session.bytes.len());
        let bytes = self.next_part(slot, offset);
        let range = if self.random.chance(60) { Some(self.content_range(offset, bytes.len())) } else { None };
        let chunked = self.random.chance(25);
        Op::Patch { repo: repo.to_owned(), slot, bytes, range, chunked }
    }

    /// The rest of the planned content, or a part of it.
    fn next_part(&mut self, slot: u32, offset: usize) -> Content {
        let Some((Content::Seeded(seed, _, end), _)) = self.plans.get(&slot).cloned() else {
            return Content::whole(1);
        };
        let left = (end as usize).saturating_sub(offset);
        let take = if left > 1 && self.random.chance(50) { self.random.below(left) } else { left };
        let from = end - left as u32;
        Content::Seeded(seed, from, from + take as u32)
    }

    /// Mostly the right range; sometimes a gap, an overlap, a wrong length or nonsense.
    fn content_range(&mut self, offset: usize, length: usize) -> String {
        let right = |offset: usize| format!("{offset}-{}", (offset + length).saturating_sub(1));
        match self.random.below(20) {
            0 => right(offset + 1 + self.random.below(100)),
            1 => right(offset.saturating_sub(1)),
            2 => format!("{offset}-{}", offset + length + self.random.below(5)),
            3 => (*self.random.pick(&["a-b", "5-1", "-", "7", "0-"])).to_owned(),
            _ => right(offset),
        }
    }

    pub(super) fn close(&mut self, state: &State, repo: &str) -> Op {
        let closed = state.closed.iter().rfind(|closed| closed.repo == repo);
        if let Some(closed) = closed.filter(|_| self.random.chance(5)) {
            let digest = Some(closed.digest.clone());
            return Op::CloseUpload { repo: repo.to_owned(), slot: closed.slot, digest, bytes: None, range: None };
        }
        let Some(slot) = self.pick_slot(state, repo) else { return self.start(repo) };
        let session = state.sessions.get(&slot);
        let offset = session.map_or(0, |session| session.bytes.len());
        let (planned, algorithm) = self.plans.get(&slot).cloned().unwrap_or((Content::whole(1), "sha256"));
        let left = planned.len().saturating_sub(offset);
        let rest = if let Content::Seeded(seed, _, end) = planned {
            (left > 0 || self.random.chance(5)).then(|| Content::Seeded(seed, end - left as u32, end))
        } else {
            None
        };
        let sent = rest.as_ref().map(Content::bytes).unwrap_or_default();
        let all = [session.map(|s| &s.bytes[..]).unwrap_or_default(), &sent].concat();
        let digest = match self.random.below(20) {
            0 => None,
            1 => Some(self.nonsense()),
            2 => Some(self.content().digest(algorithm)),
            _ => Some(digest(algorithm, &all)),
        };
        let range = (rest.is_some() && self.random.chance(30)).then(|| self.content_range(offset, sent.len()));
        Op::CloseUpload { repo: repo.to_owned(), slot, digest, bytes: rest, range }
    }

    pub(super) fn status(&mut self, state: &State, repo: &str) -> Op {
        let Some(slot) = self.pick_slot(state, repo) else { return self.start(repo) };
        let foreign = self.random.chance(10);
        let repo = if foreign { self.random.pick(&self.repos).clone() } else { repo.to_owned() };
        Op::UploadStatus { repo, slot }
    }

    pub(super) fn cancel(&mut self, state: &State, repo: &str) -> Op {
        let open = state.sessions.values().filter(|session| session.repo == repo).count();
        if open < OPEN && self.random.chance(50) {
            return self.status(state, repo);
        }
        let Some(slot) = self.pick_slot(state, repo) else { return self.start(repo) };
        Op::CancelUpload { repo: repo.to_owned(), slot }
    }

    pub(super) fn post_blob(&mut self, repo: &str) -> Op {
        let (bytes, algorithm) = (self.content(), self.algorithm());
        let digest = match self.random.below(20) {
            0 => self.nonsense(),
            1 => self.content().digest("sha256"),
            _ => bytes.digest(algorithm),
        };
        Op::PostBlob { repo: repo.to_owned(), bytes, digest, chunked: self.random.chance(20) }
    }

    pub(super) fn mount(&mut self, repo: &str) -> Op {
        let (content, algorithm) = (self.content(), self.algorithm());
        let from = match self.random.below(20) {
            0..13 => Some(self.random.pick(&self.repos).clone()),
            13..16 if !self.foreign.is_empty() => Some(self.random.pick(&self.foreign).clone()),
            16 => Some("no/such".to_owned()),
            _ => None,
        };
        let nonsense = self.random.chance(4);
        let digest = if nonsense { self.nonsense() } else { content.digest(algorithm) };
        let bytes = (!nonsense).then_some(content);
        Op::Mount { repo: repo.to_owned(), slot: self.slot(), digest, from, bytes }
    }
}
