//! Sending large content to a portal: a TUS upload that resumes at the acknowledged offset.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::Skylink;

use super::canonical::metadata;
use super::client::Client;
use super::content::checked_bytes;
use super::problem::{PortalError, Problem};
use super::tus::{self, TusId};
use crate::{BackendError, Progress, ResumeToken, Source};

/// Approximate bytes per request: enough that the pauses between requests do not matter. skyd accepts whole chunks
/// only.
const PART: u64 = 64 * 1024 * 1024;

/// True if the portal answered, and its answer is the error.
fn is_answer(error: &BackendError) -> bool {
    match error {
        BackendError::Unavailable { cause, .. } => {
            let problem = cause.downcast_ref::<PortalError>().map(|error| &error.problem);
            !matches!(problem, Some(Problem::Transport(_)))
        }
        _ => true,
    }
}

/// One piece of content at one portal.
pub(super) struct Large<'a> {
    pub(super) client: &'a Client,
    pub(super) chunk_size: u64,
    pub(super) source: Arc<dyn Source>,
    /// The roots of its units.
    pub(super) units: Arc<[SectorRoot]>,
    pub(super) skylink: Skylink,
}

/// An upload in progress.
struct Session {
    id: TusId,
    offset: u64,
}

/// What became of an upload of which a part failed.
enum Found {
    /// The portal lost it, or cannot go on with it.
    Lost,
    /// The portal has more of it than was known.
    At(u64),
    Unchanged,
}

impl Large<'_> {
    /// Sends the missing bytes, and returns the skylink in the portal's answer.
    pub(super) async fn send(&self, progress: &dyn Progress) -> Result<Skylink, BackendError> {
        let length = self.source.content().length();
        let (mut part, mut renewed, mut moved) = (self.part(), false, false);
        let mut session = match self.take_up(progress).await? {
            Some(session) => session,
            None => self.begin(progress).await?,
        };
        while session.offset < length {
            let end = length.min((session.offset / part + 1) * part);
            let error = match self.send_part(&session, end).await {
                Ok(reached) => {
                    session.offset = reached;
                    continue;
                }
                Err(error) => error,
            };
            match self.look_again(&session, &error).await {
                Found::At(offset) if !moved => {
                    moved = true;
                    session.offset = offset;
                }
                // Once, and in the smallest parts: perhaps it was lost because a part took too long.
                Found::Lost if !renewed => {
                    tracing::info!(portal = %self.client.name(), %error, "beginning an upload anew");
                    renewed = true;
                    part = self.chunk_size;
                    session = self.begin(progress).await?;
                }
                _ => return Err(error),
            }
        }
        let skylink = self.ask_skylink(&session.id).await?;
        if skylink != self.skylink {
            // This prevents an attempt to resume it.
            progress.keep(ResumeToken::try_from(String::new()).expect("it is short")).await;
        }
        Ok(skylink)
    }

    fn part(&self) -> u64 {
        (PART / self.chunk_size).max(1) * self.chunk_size
    }

    /// What became of the upload after an error.
    async fn look_again(&self, session: &Session, error: &BackendError) -> Found {
        // skyd resumes only at whole chunks, and says so. A portal that said nothing, because it was restarted for
        // example, has the upload still.
        let stuck = !session.offset.is_multiple_of(self.chunk_size) && is_answer(error);
        let refused = matches!(error, BackendError::Refused { .. });
        match error {
            BackendError::NotFound => return Found::Lost,
            // The portal will continue: the request of a killed process may just be ending.
            BackendError::Unavailable { retry_after: Some(_), .. } => return Found::Unchanged,
            BackendError::Unavailable { .. } => {}
            BackendError::Refused { .. } if stuck => {}
            _ => return Found::Unchanged,
        }
        match tus::state(self.client, &session.id).await {
            // skyd forgets an idle upload even while it works on a part of it, and its answers then differ.
            Err(BackendError::NotFound) => Found::Lost,
            // The request of a killed process ended after the portal had been asked for the offset.
            Ok(state) if refused && (session.offset + 1..=self.source.content().length()).contains(&state.offset) => {
                Found::At(state.offset)
            }
            _ if stuck => Found::Lost,
            _ => Found::Unchanged,
        }
    }

    /// The unfinished upload of the token, if the portal still has it and it is of this content.
    async fn take_up(&self, progress: &dyn Progress) -> Result<Option<Session>, BackendError> {
        let Some(id) = progress.last().and_then(|token| self.read_token(&token)) else { return Ok(None) };
        let length = self.source.content().length();
        match tus::state(self.client, &id).await {
            // The portal has just said that the content is not there, so it has lost what it finished.
            Ok(state) if state.skylink.is_some() => Ok(None),
            Ok(state) if state.offset <= length && state.length.is_none_or(|found| found == length) => {
                Ok(Some(Session { id, offset: state.offset }))
            }
            Ok(_) | Err(BackendError::NotFound | BackendError::Refused { .. } | BackendError::Misbehaves { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, progress: &dyn Progress) -> Result<Session, BackendError> {
        let content = self.source.content();
        let metadata = metadata(content.digest(), content.length());
        let id = tus::create(self.client, content.length(), &content.digest().file_name(), &metadata).await?;
        let token = format!("{} {id}", self.skylink);
        progress.keep(ResumeToken::try_from(token).expect("a skylink and a name are short")).await;
        Ok(Session { id, offset: 0 })
    }

    /// The upload in a token; a token of other content is useless.
    fn read_token(&self, token: &ResumeToken) -> Option<TusId> {
        let (skylink, id) = token.as_str().split_once(' ')?;
        if skylink == self.skylink.to_string() { id.parse().ok() } else { None }
    }

    async fn send_part(&self, session: &Session, end: u64) -> Result<u64, BackendError> {
        let bytes = checked_bytes(Arc::clone(&self.source), Arc::clone(&self.units), session.offset, end);
        // The sender of the body only reports that it broke off; the reason is kept here.
        let failure = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&failure);
        let bytes = bytes.map(move |item| {
            item.map_err(|error| {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                BackendError::Unavailable { retry_after: None, cause: "the source failed".into() }
            })
        });
        let sent = tus::patch(self.client, &session.id, session.offset, end - session.offset, bytes).await;
        let failed = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(sent, Err)
    }

    async fn ask_skylink(&self, id: &TusId) -> Result<Skylink, BackendError> {
        let client = self.client;
        let state = tus::state(client, id).await?;
        match state.skylink {
            Some(skylink) => Ok(skylink),
            None if client.is_bare() => tus::skylink_of_bare(client, id).await,
            None => Err(client.error("end an upload", Problem::Malformed("skylink")).unavailable(None)),
        }
    }
}
