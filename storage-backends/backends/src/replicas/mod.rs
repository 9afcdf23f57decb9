//! Several backends of one kind and profile as one: placed on some of them, read from any.
//!
//! A put goes to one after the other, so that it uses the memory of one. A read continues at another one after a
//! failure, and also asks another one if one is slow.

mod asking;
mod reading;
mod tokens;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};

use super::{
    Answer, Backend, BackendError, ByteStream, Content, Deletion, EndpointState, Health, Identity, Listing, Locator,
    Progress, Put, Source, Stat, UnitProof, UnitProofs,
};
use reading::Anywhere;
use tokens::{MemberTokens, Tokens};

/// Backends that answer the same locators. Clones share them.
#[derive(Clone, Debug)]
pub struct Replicas {
    members: Arc<[Arc<dyn Backend>]>,
    copies: u32,
    patience: Duration,
}

impl Replicas {
    /// Places content on `copies` of them. If bytes of a read do not arrive within `patience`, another one is asked
    /// too.
    ///
    /// Errors: [`BackendError::Unsuitable`] if there are fewer members, or they are of several kinds or profiles.
    pub fn new(members: Vec<Arc<dyn Backend>>, copies: u32, patience: Duration) -> Result<Self, BackendError> {
        let unsuitable = |cause: &'static str| Err(BackendError::Unsuitable { cause: cause.into() });
        let [first, others @ ..] = &members[..] else { return unsuitable("there is none to place content on") };
        if others.iter().any(|other| (other.kind(), other.profile()) != (first.kind(), first.profile())) {
            return unsuitable("all of one backend must have one profile");
        }
        if copies == 0 || copies as usize > members.len() {
            return unsuitable("more copies than places for them, or none");
        }
        Ok(Replicas { members: members.into(), copies, patience })
    }

    /// The available members first, each group in its order. Distrusted members are left out.
    fn in_order(&self) -> Vec<usize> {
        let rank = |number: &usize| match self.members[*number].health() {
            health if health.is_available() => Some(0),
            health => health.endpoints.iter().any(|e| matches!(e.state, EndpointState::Resting(_))).then_some(1),
        };
        let mut ranked: Vec<(u8, usize)> =
            (0..self.members.len()).filter_map(|number| rank(&number).map(|rank| (rank, number))).collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, number)| number).collect()
    }

    async fn store(&self, source: Arc<dyn Source>, put: Put, progress: &dyn Progress) -> Result<Locator, BackendError> {
        let tokens = Tokens::new(progress);
        let mut placed: Option<Locator> = None;
        let mut copies = 0;
        let mut failure = None;
        for number in self.in_order() {
            let member = &self.members[number];
            let own = MemberTokens { all: &tokens, name: name(&**member) };
            match member.put(Arc::clone(&source), put, &own).await {
                Ok(locator) => {
                    progress.copied(locator.clone()).await;
                    placed = Some(joined(placed, locator)?);
                    copies += 1;
                    if copies == self.copies {
                        break;
                    }
                }
                Err(error) if error.concerns_backend_only() => failure = Some(worst_last(failure, error)),
                Err(error) => return Err(error),
            }
        }
        match placed {
            Some(locator) if copies == self.copies => Ok(locator),
            _ => Err(failure.unwrap_or_else(nobody)),
        }
    }
}

/// This place with the endpoints of both locators.
fn joined(placed: Option<Locator>, mut locator: Locator) -> Result<Locator, BackendError> {
    let Some(before) = placed else { return Ok(locator) };
    if !before.same_place(&locator) {
        return Err(BackendError::Misbehaves { cause: "two of one profile have different addresses".into() });
    }
    let new = std::mem::replace(&mut locator.endpoints, before.endpoints);
    for endpoint in new {
        if !locator.endpoints.contains(&endpoint) {
            locator.endpoints.push(endpoint);
        }
    }
    Ok(locator)
}

fn nobody() -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: "none of them is to be trusted".into() }
}

/// The one of two failures to report. A temporary failure comes before a permanent one. Absence comes last, since it is
/// true only if all members agree.
fn worst_last(before: Option<BackendError>, error: BackendError) -> BackendError {
    let rank = |error: &BackendError| match error {
        error if error.is_retryable() => 0,
        BackendError::NotFound => 2,
        _ => 1,
    };
    match before {
        Some(before) if rank(&before) <= rank(&error) => before,
        _ => error,
    }
}

fn name(member: &dyn Backend) -> String {
    member.health().endpoints.into_iter().next().map(|endpoint| endpoint.name).unwrap_or_default()
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Replicas {
    fn kind(&self) -> &str {
        self.members[0].kind()
    }

    fn profile(&self) -> &str {
        self.members[0].profile()
    }

    fn endpoint(&self) -> Option<String> {
        None
    }

    fn members(&self) -> Vec<Arc<dyn Backend>> {
        self.members.to_vec()
    }

    fn copies(&self) -> u32 {
        self.copies
    }

    fn verifies(&self) -> bool {
        self.members.iter().all(|member| member.verifies())
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut failure = None;
            let mut sound = 0;
            for result in join_all(self.members.iter().map(|member| member.check())).await {
                match result {
                    Ok(()) => sound += 1,
                    Err(error @ BackendError::Unsuitable { .. }) => return Err(error),
                    Err(error) => failure = Some(worst_last(failure, error)),
                }
            }
            // One available member is enough to begin with: the others may come up.
            if sound > 0 { Ok(()) } else { Err(failure.unwrap_or_else(nobody)) }
        })
    }

    /// One answer is enough, since together they are nobody. Their own identities are those of the members.
    fn identify(&self) -> Answer<'_, Identity> {
        Box::pin(async move {
            asking::first(self, Duration::ZERO, |member| member.identify()).await?;
            Ok(Identity::Unprovable)
        })
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        self.members[0].locate(source)
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, put: Put, progress: &'a dyn Progress) -> Answer<'a, Locator> {
        Box::pin(self.store(source, put, progress))
    }

    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            content.check_range(&range)?;
            if range.is_empty() {
                return Ok(stream::empty().boxed());
            }
            let anywhere = Anywhere::new(self, content, locator, range);
            // The first bytes show whether there are any.
            let first = anywhere.next().await?;
            let Some((bytes, anywhere)) = first else { return Ok(stream::empty().boxed()) };
            let others = stream::try_unfold(anywhere, Anywhere::next);
            Ok(stream::once(async move { Ok(bytes) }).chain(others).boxed())
        })
    }

    /// All are asked. Content is present if one has it, and absent if all say so.
    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat> {
        Box::pin(async move {
            let asked = self.in_order().into_iter().map(|number| self.members[number].stat(content, locator));
            let mut endpoints = Vec::new();
            let mut failure = None;
            let mut found = false;
            for result in join_all(asked).await {
                match result {
                    Ok(stat) => {
                        found = true;
                        endpoints.extend(stat.endpoints);
                    }
                    Err(error) => failure = Some(worst_last(failure, error)),
                }
            }
            match found {
                true => Ok(Stat { length: content.length(), endpoints }),
                false => Err(failure.unwrap_or_else(nobody)),
            }
        })
    }

    /// All are asked to delete. An unreachable one is an error even if it has nothing.
    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(async move {
            let told = self.members.iter().map(|member| member.delete(content, locator));
            let mut deletion = Deletion::Done;
            let mut failure = None;
            for result in join_all(told).await {
                match result {
                    Ok(Deletion::Done) => {}
                    Ok(Deletion::Accepted) => deletion = Deletion::Accepted,
                    Err(error) => failure = Some(worst_last(failure, error)),
                }
            }
            failure.map_or(Ok(deletion), Err)
        })
    }

    fn health(&self) -> Health {
        Health { endpoints: self.members.iter().flat_map(|member| member.health().endpoints).collect() }
    }

    fn unit_proofs(&self) -> Option<&dyn UnitProofs> {
        self.members.iter().any(|member| member.unit_proofs().is_some()).then_some(self as &dyn UnitProofs)
    }

    /// Each member has its own.
    fn listing(&self) -> Option<&dyn Listing> {
        None
    }
}

impl UnitProofs for Replicas {
    fn unit_proof<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<dyn UnitProof>>> {
        Box::pin(asking::first(self, self.patience, move |member| match member.unit_proofs() {
            Some(proofs) => proofs.unit_proof(content, locator),
            None => Box::pin(async { Ok(None) }),
        }))
    }
}
