//! Adding bytes to an upload. Frames of a request's body pass through a bounded channel to one blocking thread, which
//! writes them, and if possible stores them ahead.

use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use content_store::UploadId;
use content_store::staging;
use futures_util::{Stream, StreamExt, stream};
use serving::{BodyError, Frames, Holder, Incomplete, pass_on};

use super::concatenation::Concatenation;
use super::record::Record;
use super::session::{Ahead, Held, Session};
use super::{Status, TusError, Uploads};

impl Uploads {
    /// PATCH: adds the bytes from `offset` on. `length` is that of the body, if the request states one. If the body
    /// breaks off, the received bytes stay. If it goes beyond the upload, none stay. The last bytes finish the upload.
    pub(crate) async fn append<B>(
        self: &Arc<Self>,
        holder: Holder,
        id: &UploadId,
        offset: u64,
        length: Option<u64>,
        body: &mut B,
    ) -> Result<Status, TusError>
    where
        B: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let session = self.sessions.find(id)?;
        if let Concatenation::Final(_) = session.concatenation {
            return Err(TusError::ModifyFinal);
        }
        let mut held = session.try_hold()?;
        let at = session.view().offset;
        if offset != at {
            return Err(TusError::WrongOffset(at));
        }
        // A repeated closing request has no missing bytes. Like other servers, this one ignores its body.
        if !session.is_complete() {
            if length.is_some_and(|length| length > session.length - at) {
                return Err(TusError::BeyondLength(session.length));
            }
            held = self.receive(holder, &session, held, body).await?;
        }
        if session.is_to_be_finished() {
            self.finish_held(&session, held).await?;
        }
        Ok(self.status_of(&session))
    }

    async fn receive<B>(
        self: &Arc<Self>,
        holder: Holder,
        session: &Arc<Session>,
        mut held: Held,
        body: &mut B,
    ) -> Result<Held, TusError>
    where
        B: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let permit = self.bodies.take(holder).await?;
        let mut ahead = self.ahead_at(holder, session, held.take());
        let (uploads, written) = (Arc::clone(self), Arc::clone(session));
        let frames = stream::unfold((body, &mut ahead), async |(body, ahead)| {
            let frame = body.next().await?;
            if let Ok(data) = &frame {
                go_ahead(ahead, data).await;
            }
            Some((frame, (body, ahead)))
        });
        // If this future is dropped, the thread treats the body as broken off.
        let writer = |frames| {
            self.tasks.spawn_blocking(move || {
                let _permit = permit;
                let result = uploads.write(&written, frames);
                (held, result)
            })
        };
        let (ended, failure) = pass_on(&mut pin!(frames), writer).await;
        let (mut held, result) = ended?;
        *held = ahead.filter(|ahead| ahead.writer.length() == session.view().offset);
        match (result, failure) {
            (Err(TusError::Body(_)), Some(failure)) => Err(TusError::Body(failure)),
            (result, _) => result.map(|()| held),
        }
    }

    /// The content to store ahead from here: the content so far, or a whole upload from its first byte on. Parts cannot
    /// be stored ahead, because the content before them is not known yet.
    fn ahead_at(&self, holder: Holder, session: &Session, so_far: Option<Ahead>) -> Option<Ahead> {
        let offset = session.view().offset;
        if let Some(ahead) = so_far.filter(|ahead| ahead.writer.length() == offset) {
            return Some(ahead);
        }
        if offset > 0 || session.concatenation != Concatenation::None {
            return None;
        }
        let permit = self.ahead.try_take(holder).ok()?;
        // This is no failure: without a permit now, the upload is stored from its file at the end.
        let writer = self.skyfiles.taker(holder).ok()?;
        Some(Ahead { writer, _permit: permit })
    }

    pub(super) fn write(&self, session: &Session, frames: Frames) -> Result<(), TusError> {
        let mut staged = self.staging.open(&session.id)?.ok_or(TusError::Unknown)?;
        let start = staged.offset();
        let expected = session.view().offset;
        let outcome = match start == expected {
            true => append_all(&mut staged, session.length, frames),
            // The file has lost bytes since.
            false => Err(TusError::WrongOffset(start)),
        };
        let kept = match outcome {
            Err(TusError::BeyondLength(_)) => staged.cut(start).and_then(|_| staged.sync_if_behind()),
            _ if staged.offset() == start => Ok(()),
            _ => staged.sync_point(),
        };
        let mut view = session.view();
        view.offset = staged.synced();
        view.last_activity = SystemTime::now();
        // The first error is the one with the reason.
        outcome.and(kept.map_err(TusError::from))
    }
}

fn append_all(staged: &mut staging::Session<Record>, length: u64, mut frames: Frames) -> Result<(), TusError> {
    while let Some(data) = frames.read().map_err(|Incomplete| TusError::Body(BodyError::Broken))? {
        if data.len() as u64 > length - staged.offset() {
            return Err(TusError::BeyondLength(length));
        }
        staged.append(&data)?;
    }
    Ok(())
}

async fn go_ahead(ahead: &mut Option<Ahead>, data: &Bytes) {
    if let Some(Ahead { writer, .. }) = ahead
        && let Err(error) = writer.write(data.clone()).await
    {
        // The upload continues without it; the end reports the error if it persists.
        tracing::warn!(%error, "the content of an upload cannot go ahead into the store");
        *ahead = None;
    }
}
