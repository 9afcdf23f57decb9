//! Audits the copies of one piece of content, and records what is missing and what was found again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backends::{Backend, BackendError, Content, Identity};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::catalog::Placement;
use crate::catalog::command::Command;
use crate::catalog::fact::Locator;
use crate::content::{Error, LocalContent};
use crate::oci::Digest;
use crate::placement::Remote;
use crate::placement::worker::read_whole;

/// Longest wait for an endpoint to say whether it has content.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// How thorough an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The endpoint says that it has all of it.
    Presence,
    /// All of it is read.
    Whole,
}

/// What an endpoint showed of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    There,
    /// It is not there, or is wrong, and the endpoint has proven who it is.
    Lost,
    /// It is not clearly there, although the endpoint answers.
    Doubtful,
    /// The endpoint does not answer.
    Silent,
}

/// What an audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Copies are there, or recorded as missing. Silent endpoints are left out.
    Clear,
    /// A copy is not clearly there.
    Unclear,
}

/// An audit of any number of pieces of content.
pub(super) struct Audit<'a> {
    here: &'a Arc<LocalContent>,
    remote: &'a Arc<Remote>,
    depth: Depth,
    only_at: Option<&'a str>,
    at_last: bool,
    /// Endpoints that did not answer. They are not asked again.
    silent: BTreeSet<String>,
    lost: u64,
    bytes: u64,
}

impl<'a> Audit<'a> {
    pub(super) fn new(here: &'a Arc<LocalContent>, remote: &'a Arc<Remote>, depth: Depth) -> Self {
        Audit { here, remote, depth, only_at: None, at_last: false, silent: BTreeSet::new(), lost: 0, bytes: 0 }
    }

    /// Asks only this endpoint.
    pub(super) fn only_at(self, endpoint: &'a str) -> Self {
        Audit { only_at: Some(endpoint), ..self }
    }

    /// Takes what is not clearly there for missing.
    pub(super) fn at_last(self) -> Self {
        Audit { at_last: true, ..self }
    }

    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    pub(super) fn is_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    pub(super) fn was_silent(&self, endpoint: &str) -> bool {
        self.silent.contains(endpoint)
    }

    /// Bytes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// True if the endpoints to be asked may have a copy.
    pub(super) fn concerns(&self, digest: &Digest) -> Result<bool, Error> {
        let names: Vec<String> = self.endpoints().into_iter().map(|(name, _)| name).collect();
        let placements = self.placements(digest)?;
        Ok(placements.iter().any(|placement| names.iter().any(|name| placement.locator.endpoints.contains(name))))
    }

    /// Audits all copies of a piece of content.
    pub(super) async fn of(&mut self, digest: &Digest) -> Result<Outcome, Error> {
        let Some(size) = self.here.catalog.referenced_size(digest)? else { return Ok(Outcome::Clear) };
        let Ok(content) = Content::new(digest.clone(), size) else { return Ok(Outcome::Clear) };
        let mut outcome = Outcome::Clear;
        for placement in self.placements(digest)? {
            if self.of_one(&content, &placement).await? == Outcome::Unclear {
                outcome = Outcome::Unclear;
            }
        }
        Ok(outcome)
    }

    /// The records to audit. Placement itself reads copies that a removal may still take.
    fn placements(&self, digest: &Digest) -> Result<Vec<Placement>, Error> {
        let mut placements = self.here.catalog.placements(digest)?;
        let wanted = self.remote.wanted_now();
        placements.retain(|placement| {
            !placement.unpin_pending && placement.after_unpin.is_none() && wanted.is_mine(&placement.locator)
        });
        Ok(placements)
    }

    fn endpoints(&self) -> Vec<(String, Arc<dyn Backend>)> {
        let mut endpoints = self.remote.endpoints();
        endpoints
            .retain(|(name, _)| self.only_at.is_none_or(|only| only == name.as_str()) && !self.silent.contains(name));
        endpoints
    }

    async fn of_one(&mut self, content: &Content, placement: &Placement) -> Result<Outcome, Error> {
        let (mut lost, mut found, mut outcome) = (Vec::new(), Vec::new(), Outcome::Clear);
        for (name, member) in self.endpoints() {
            let was_missing = placement.missing.contains(&name);
            if !was_missing && !placement.locator.endpoints.contains(&name) {
                continue;
            }
            let mut evidence = self.ask(&member, content, &placement.locator, self.depth).await;
            if was_missing && evidence == Evidence::There && self.depth == Depth::Presence {
                // It may be the damaged copy, which only its bytes tell.
                evidence = self.ask(&member, content, &placement.locator, Depth::Whole).await;
            }
            match evidence {
                Evidence::There if was_missing => found.push(name),
                Evidence::Lost if !was_missing => lost.push(name),
                Evidence::Doubtful if !was_missing && self.at_last => lost.push(name),
                Evidence::Doubtful if !was_missing => outcome = Outcome::Unclear,
                Evidence::Silent => drop(self.silent.insert(name)),
                Evidence::There | Evidence::Lost | Evidence::Doubtful => {}
            }
        }
        self.record(content.digest(), placement, lost, found).await?;
        Ok(outcome)
    }

    async fn record(
        &mut self,
        digest: &Digest,
        placement: &Placement,
        lost: Vec<String>,
        found: Vec<String>,
    ) -> Result<(), Error> {
        let at = |endpoints: Vec<String>| Locator { endpoints, ..placement.locator.clone() };
        if !lost.is_empty() {
            tracing::error!(%digest, endpoints = ?lost, "content is missing where it was acknowledged");
            self.lost += lost.len() as u64;
            self.here.metrics.copies_lost.inc_by(lost.len() as u64);
            let (digest, standing) = (digest.clone(), placement.sequence);
            let command = Command::RecordMissing { digest, locator: at(lost), standing };
            self.here.catalog.commit(vec![command]).await?;
        }
        if !found.is_empty() {
            tracing::info!(%digest, endpoints = ?found, "content was found again");
            let command = Command::RecordPlaced { digest: digest.clone(), locator: at(found) };
            self.here.catalog.commit(vec![command]).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, member: &Arc<dyn Backend>, content: &Content, locator: &Locator, depth: Depth) -> Evidence {
        if depth == Depth::Whole {
            // Afterwards it may be left alone for the failed read, and would seem silent for ever.
            let Ok(Ok(_)) = timeout(ANSWERS_WITHIN, member.identify()).await else { return Evidence::Silent };
            self.bytes += content.length();
            match read_whole(self.here, &**member, content, locator).await {
                Ok(true) => return Evidence::There,
                Ok(false) | Err(BackendError::Corrupt { .. }) => return Evidence::Lost,
                // A portal that finds damage while it sends cuts the answer. After that it does not have it.
                Err(_) => {}
            }
        }
        let stated = timeout(ANSWERS_WITHIN, member.stat(content, locator)).await;
        if matches!((depth, &stated), (Depth::Presence, Ok(Ok(_)))) {
            return Evidence::There;
        }
        // A proxy before an endpoint that is down also says that nothing is there.
        match (timeout(ANSWERS_WITHIN, member.identify()).await, stated) {
            (Ok(Ok(Identity::Proven(_))), Ok(Err(BackendError::NotFound | BackendError::Corrupt { .. }))) => {
                Evidence::Lost
            }
            (Ok(Ok(_)), _) => Evidence::Doubtful,
            // It answered before the read.
            _ if depth == Depth::Whole => Evidence::Doubtful,
            _ => Evidence::Silent,
        }
    }
}

/// What endpoints say just before a local file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::placement) enum Challenge {
    /// Enough of them have all of it.
    Passed,
    /// Too few have it. It is in doubt from now on.
    Failed,
    /// Too few of them answer.
    Silent,
}

/// Asks the endpoints that eviction relies on whether they still have the content.
pub(in crate::placement) async fn challenge(
    here: &LocalContent,
    remote: &Remote,
    digest: &Digest,
) -> Result<Challenge, Error> {
    let (Some(size), Some(wanted)) = (here.catalog.referenced_size(digest)?, here.catalog.wanted()) else {
        return Ok(Challenge::Failed);
    };
    let Ok(content) = Content::new(digest.clone(), size) else { return Ok(Challenge::Failed) };
    let (mut there, mut silent) = (0, false);
    for placement in here.catalog.standing_places(digest)? {
        let asked = remote.endpoints().into_iter().filter(|(name, _)| placement.locator.endpoints.contains(name));
        let mut members: Vec<Arc<dyn Backend>> = asked.map(|(_, member)| member).collect();
        if placement.locator.endpoints.is_empty() {
            members.push(Arc::clone(&remote.backend));
        }
        let answers = members.iter().map(|member| timeout(ANSWERS_WITHIN, member.stat(&content, &placement.locator)));
        for answer in join_all(answers).await {
            there += usize::from(matches!(answer, Ok(Ok(_))));
            silent |= !matches!(answer, Ok(Ok(_) | Err(BackendError::NotFound | BackendError::Corrupt { .. })));
        }
    }
    if there >= wanted.copies {
        return Ok(Challenge::Passed);
    }
    if silent {
        return Ok(Challenge::Silent);
    }
    remote.origin.suspects.add(digest);
    Ok(Challenge::Failed)
}
