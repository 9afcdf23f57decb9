//! The state of a registry, and how an answered operation changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::reading::Reading;

pub type Bytes = Arc<[u8]>;

/// Number of closed sessions remembered for a repeated close (row 71).
const REMEMBERED: usize = 64;

/// The repositories of one group, which are checked together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub repos: BTreeMap<String, Repo>,
    pub sessions: BTreeMap<u32, Session>,
    /// Sessions that became blobs, oldest first.
    pub closed: Vec<Closed>,
    /// The registry may have content of other runs, so an anonymous mount may succeed at any time.
    pub crowded: bool,
    /// True if Skyberth's own policy does not apply.
    pub others: bool,
}

/// One repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repo {
    /// True once it has had a blob or manifest.
    pub exists: bool,
    pub blobs: BTreeMap<String, Bytes>,
    pub manifests: BTreeMap<String, Manifest>,
    pub tags: BTreeMap<String, String>,
    /// Sessions whose id no client learned.
    pub ghosts: Ghosts,
}

/// Whether a repository has open sessions that no client can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ghosts {
    #[default]
    None,
    Maybe,
    Some,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub bytes: Bytes,
    pub reading: Reading,
}

/// An open upload.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub repo: String,
    pub bytes: Vec<u8>,
    /// Bytes that may have arrived when the server died. The next status tells.
    pub tail: Vec<u8>,
}

/// An upload that became a blob.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    pub slot: u32,
    pub repo: String,
    pub digest: String,
    /// True if the server may have forgotten it.
    pub vague: bool,
}

impl Ghosts {
    /// Records that one more session may be open.
    pub fn doubt(&mut self) {
        if *self == Ghosts::None {
            *self = Ghosts::Maybe;
        }
    }
}

/// The effect of an operation, by its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Nothing,
    AddBlob {
        repo: String,
        digest: String,
        bytes: Bytes,
    },
    RemoveBlob {
        repo: String,
        digest: String,
    },
    Open {
        slot: u32,
        repo: String,
    },
    Append {
        slot: u32,
        bytes: Vec<u8>,
    },
    /// The session ends without a blob.
    End {
        slot: u32,
    },
    /// The session becomes a blob.
    Finish {
        slot: u32,
        digest: String,
        bytes: Bytes,
    },
    PutManifest {
        repo: String,
        digest: String,
        manifest: Manifest,
        tags: Vec<String>,
    },
    RemoveManifest {
        repo: String,
        digest: String,
    },
    RemoveTag {
        repo: String,
        tag: String,
    },
}

impl State {
    pub fn new<'a>(repos: impl IntoIterator<Item = &'a String>) -> Self {
        State { repos: repos.into_iter().map(|name| (name.clone(), Repo::default())).collect(), ..State::default() }
    }

    /// The repository, if this group has it.
    pub fn repo(&self, name: &str) -> Option<&Repo> {
        self.repos.get(name)
    }

    /// The session of a slot, if it belongs to that repository (row 62).
    pub fn session(&self, slot: u32, repo: &str) -> Option<&Session> {
        self.sessions.get(&slot).filter(|session| session.repo == repo)
    }

    pub fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::AddBlob { repo, digest, bytes } => self.add_blob(repo, digest, bytes),
            Effect::RemoveBlob { repo, digest } => {
                self.change(repo).blobs.remove(&digest);
            }
            Effect::Open { slot, repo } => {
                self.sessions.insert(slot, Session { repo, bytes: Vec::new(), tail: Vec::new() });
            }
            Effect::Append { slot, bytes } => {
                if let Some(session) = self.sessions.get_mut(&slot) {
                    session.bytes.extend_from_slice(&bytes);
                }
            }
            Effect::End { slot } => {
                self.sessions.remove(&slot);
            }
            Effect::Finish { slot, digest, bytes } => self.finish(slot, digest, bytes),
            Effect::PutManifest { repo, digest, manifest, tags } => {
                let repo = self.change(repo);
                repo.exists = true;
                repo.manifests.insert(digest.clone(), manifest);
                repo.tags.extend(tags.into_iter().map(|tag| (tag, digest.clone())));
            }
            Effect::RemoveManifest { repo, digest } => {
                let repo = self.change(repo);
                repo.manifests.remove(&digest);
                repo.tags.retain(|_, target| *target != digest);
            }
            Effect::RemoveTag { repo, tag } => {
                self.change(repo).tags.remove(&tag);
            }
        }
    }

    fn change(&mut self, repo: String) -> &mut Repo {
        self.repos.entry(repo).or_default()
    }

    fn add_blob(&mut self, repo: String, digest: String, bytes: Bytes) {
        let repo = self.change(repo);
        repo.exists = true;
        repo.blobs.insert(digest, bytes);
    }

    fn finish(&mut self, slot: u32, digest: String, bytes: Bytes) {
        let Some(session) = self.sessions.remove(&slot) else { return };
        self.closed.push(Closed { slot, repo: session.repo.clone(), digest: digest.clone(), vague: false });
        if self.closed.len() > REMEMBERED {
            self.closed.remove(0);
        }
        self.add_blob(session.repo, digest, bytes);
    }

    /// The states that a collection without grace may leave. Each repository without an open session loses every blob
    /// that none of its manifests references. There are several states only if it is unknown whether a session is open.
    pub fn collected(&self) -> Vec<State> {
        let mut out = vec![self.clone()];
        for name in self.repos.keys() {
            let ghosts = self.repos[name].ghosts;
            if ghosts == Ghosts::Some || self.sessions.values().any(|session| session.repo == *name) {
                continue;
            }
            let kept = if ghosts == Ghosts::Maybe { out.clone() } else { Vec::new() };
            for state in &mut out {
                state.repos.get_mut(name).expect("the name is one of its own").collect();
            }
            out.extend(kept.into_iter().map(|mut state| {
                state.repos.get_mut(name).expect("the name is one of its own").ghosts = Ghosts::Some;
                state
            }));
        }
        out
    }

    /// Records bytes that may have arrived before the server died.
    pub fn tail(&mut self, slot: u32, bytes: &[u8]) {
        if let Some(session) = self.sessions.get_mut(&slot) {
            session.tail = bytes.to_vec();
        }
    }

    /// After a restart the server may have forgotten which sessions were closed.
    pub fn restarted(&mut self) {
        for closed in &mut self.closed {
            closed.vague = true;
        }
    }
}

impl Repo {
    /// Every digest that a manifest references.
    pub fn referenced(&self) -> BTreeSet<&str> {
        self.manifests.values().flat_map(|m| m.reading.needs.iter().map(|need| need.digest.as_str())).collect()
    }

    pub fn is_referenced(&self, digest: &str) -> bool {
        self.manifests.values().any(|m| m.reading.needs.iter().any(|need| need.digest == digest))
    }

    /// The digest that a tag or digest resolves to here, with its manifest.
    pub fn resolve<'a>(&'a self, reference: &'a str) -> Option<(&'a str, &'a Manifest)> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        self.manifests.get(digest).map(|manifest| (digest, manifest))
    }

    fn collect(&mut self) {
        let held: BTreeSet<String> = self.referenced().into_iter().map(str::to_owned).collect();
        self.blobs.retain(|digest, _| held.contains(digest));
        self.ghosts = Ghosts::None;
    }
}
