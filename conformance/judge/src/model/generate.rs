//! Generates operations over few names, so that they affect each other.

mod manifests;
mod uploads;

use std::collections::BTreeMap;

use harness::random::Random;

use crate::model::content::{ALGORITHMS, Content, SHARED};
use crate::model::op::Op;
use crate::model::others::is_asked;
use crate::model::state::{Repo, State};

/// Number of contents that only one group uses, and number that all use.
const OWN: usize = 9;
const COMMON: usize = 3;

/// Number of manifest digests remembered for later requests.
const REMEMBERED: usize = 48;

/// With more manifests than this a repository gets more deletes.
const CROWD: usize = 12;

pub const TAGS: [&str; 8] = ["latest", "v1", "v1.0", "A", "_x", "b-2", "sha256-00.sig", "z"];

const ARTIFACT_TYPES: [&str; 3] = ["application/x.one", "application/x.two", "application/x.config"];

/// A group's generator. Its operations depend on its seed and on the given state.
#[derive(Debug)]
pub struct Generator {
    pub random: Random,
    repos: Vec<String>,
    foreign: Vec<String>,
    contents: Vec<Content>,
    next_slot: u32,
    /// The planned content of each upload.
    plans: BTreeMap<u32, (Content, &'static str)>,
    /// Digests of generated manifests, newest last.
    made: Vec<String>,
}

impl Generator {
    /// A generator for one group's repositories. `foreign` are those of other groups, to mount from.
    pub fn new(random: Random, group: usize, repos: Vec<String>, foreign: Vec<String>) -> Self {
        let own = (0..OWN).map(|i| Content::whole((group * OWN + i) as u32));
        let common = (0..COMMON).map(|i| Content::whole(SHARED + 3 + i as u32));
        let contents = own.chain(common).collect();
        Generator { random, repos, foreign, contents, next_slot: 0, plans: BTreeMap::new(), made: Vec::new() }
    }

    /// The next operation.
    pub fn next(&mut self, state: &State) -> Op {
        let repo = self.random.pick(&self.repos).clone();
        self.next_in(state, &repo)
    }

    /// The next operation, in this repository if it names one. For other registries it is one whose answer the
    /// specification decides.
    pub fn next_in(&mut self, state: &State, repo: &str) -> Op {
        loop {
            let op = self.any_in(state, repo);
            if !state.others || is_asked(state, &op) {
                return op;
            }
        }
    }

    fn any_in(&mut self, state: &State, repo: &str) -> Op {
        let crowded = state.repo(repo).is_some_and(|here| here.manifests.len() > CROWD);
        if crowded && self.random.chance(12) {
            let reference = self.manifest_digest(state.repo(repo));
            return Op::DeleteManifest { repo: repo.to_owned(), reference };
        }
        match self.random.below(100) {
            0..7 => self.start(repo),
            7..20 => self.patch(state, repo),
            20..29 => self.close(state, repo),
            29..32 => self.status(state, repo),
            32..34 => self.cancel(state, repo),
            34..43 => self.post_blob(repo),
            43..49 => self.mount(repo),
            49..59 => self.get_blob(state, repo),
            59..63 => self.delete_blob(state, repo),
            63..78 => self.put_manifest(state, repo),
            78..88 => self.get_manifest(state, repo),
            88..92 => self.delete_manifest(state, repo),
            92..96 => self.tags(repo),
            96..97 => Op::Catalog { n: self.random.chance(50).then_some(2) },
            _ => self.referrers(state, repo),
        }
    }

    fn algorithm(&mut self) -> &'static str {
        if self.random.chance(80) { ALGORITHMS[0] } else { ALGORITHMS[1 + self.random.below(2)] }
    }

    fn content(&mut self) -> Content {
        self.random.pick(&self.contents).clone()
    }

    fn tag(&mut self) -> String {
        (*self.random.pick(&TAGS)).to_owned()
    }

    /// A digest that exists, that may exist, or an invalid one.
    fn blob_digest(&mut self, state: &State, repo: &str) -> String {
        let held: Vec<&String> = state.repo(repo).into_iter().flat_map(|repo| repo.blobs.keys()).collect();
        match self.random.below(20) {
            0..12 if !held.is_empty() => (*self.random.pick(&held)).clone(),
            12 => self.nonsense(),
            13 if !self.made.is_empty() && !state.others => self.random.pick(&self.made).clone(),
            _ => {
                let algorithm = self.algorithm();
                self.content().digest(algorithm)
            }
        }
    }

    fn nonsense(&mut self) -> String {
        let good = self.content().digest("sha256");
        match self.random.below(5) {
            0 => {
                format!("sha256:{}", good["sha256:".len()..].to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"))
            }
            1 => good[..good.len() - 1].to_owned(),
            2 => format!("{good}0"),
            3 => format!("sha384:{}", "0".repeat(96)),
            _ => "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        }
    }

    fn get_blob(&mut self, state: &State, repo: &str) -> Op {
        const RANGES: [&str; 9] = [
            "bytes=0-0",
            "bytes=5-",
            "bytes=-7",
            "bytes=3-50",
            "bytes=9-2",
            "bytes=100000-",
            "bytes=-0",
            "lines=1-2",
            "bytes=-100000",
        ];
        let range = self.random.chance(30).then(|| (*self.random.pick(&RANGES)).to_owned());
        let digest = self.blob_digest(state, repo);
        Op::GetBlob { repo: repo.to_owned(), digest, head: self.random.chance(40), range }
    }

    fn delete_blob(&mut self, state: &State, repo: &str) -> Op {
        Op::DeleteBlob { repo: repo.to_owned(), digest: self.blob_digest(state, repo) }
    }

    fn tags(&mut self, repo: &str) -> Op {
        const COUNTS: [&str; 8] = ["0", "1", "2", "3", "100", "-1", "x", "99999999999999999999999"];
        let n = self.random.chance(50).then(|| (*self.random.pick(&COUNTS)).to_owned());
        let last = self.random.chance(40).then(|| if self.random.chance(80) { self.tag() } else { "m".to_owned() });
        Op::Tags { repo: repo.to_owned(), n, last }
    }

    fn referrers(&mut self, state: &State, repo: &str) -> Op {
        let subjects = state.repo(repo).into_iter().flat_map(|repo| repo.manifests.values());
        let subjects: Vec<_> = subjects.filter_map(|m| m.reading.subject.as_ref()).map(|s| &s.digest).collect();
        let digest = match self.random.below(10) {
            0 => "sha256:short".to_owned(),
            1 => format!("sha384:{}", "0".repeat(96)),
            2..9 if !subjects.is_empty() => (*self.random.pick(&subjects)).clone(),
            _ => self.manifest_digest(state.repo(repo)),
        };
        let artifact_type = self.random.chance(40).then(|| (*self.random.pick(&ARTIFACT_TYPES)).to_owned());
        Op::Referrers { repo: repo.to_owned(), digest, artifact_type, n: self.random.chance(30).then_some(1) }
    }

    fn manifest_digest(&mut self, repo: Option<&Repo>) -> String {
        let held: Vec<&String> = repo.into_iter().flat_map(|repo| repo.manifests.keys()).collect();
        match self.random.below(10) {
            0..7 if !held.is_empty() => (*self.random.pick(&held)).clone(),
            7 | 8 if !self.made.is_empty() => self.random.pick(&self.made).clone(),
            9 => self.nonsense(),
            _ => self.content().digest("sha256"),
        }
    }
}
