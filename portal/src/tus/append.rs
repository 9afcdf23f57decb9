//! Adding bytes to an upload. Frames of a request's body pass through a bounded channel to one blocking thread, which
//! writes them, and if possible stores them ahead.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use content_store::{UploadId, free_space};
use futures_util::{Stream, StreamExt};
use serving::BodyError;
use tokio::sync::mpsc;

use super::concatenation::Concatenation;
use super::session::{Ahead, Held, Session};
use super::staging::Staging;
use super::{Status, TusError, Uploads};

/// Frames between the socket and the disk, each of at most 128 KiB.
const CHANNEL_DEPTH: usize = 2;
/// Bytes between two checks of the free space.
const SPACE_CHECK_EVERY: u64 = 4 * 1024 * 1024;

enum Piece {
    Data(Bytes),
    End,
}

impl Uploads {
    /// PATCH: adds the bytes from `offset` on. `length` is that of the body, if the request states one. If the body
    /// breaks off, the received bytes stay. If it goes beyond the upload, none stay. The last bytes finish the upload.
    pub(crate) async fn append<B>(
        self: &Arc<Self>,
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
            held = self.receive(&session, held, body).await?;
        }
        if session.is_to_be_finished() {
            self.finish_held(&session, held).await?;
        }
        Ok(self.status_of(&session))
    }

    async fn receive<B>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        mut held: Held,
        body: &mut B,
    ) -> Result<Held, TusError>
    where
        B: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let permit = Arc::clone(&self.bodies).try_acquire_owned().map_err(|_| TusError::TooMany)?;
        let mut ahead = self.ahead_at(session, held.take());
        let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH);
        let (uploads, written) = (Arc::clone(self), Arc::clone(session));
        // If this future is dropped, the thread sees the channel close and treats the body as broken off.
        let writer = self.tasks.spawn_blocking(move || {
            let _permit = permit;
            let result = uploads.write(&written, receiver);
            (held, result)
        });
        let mut failure = None;
        loop {
            let piece = match body.next().await {
                Some(Ok(data)) => {
                    go_ahead(&mut ahead, &data).await;
                    Piece::Data(data)
                }
                Some(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                None => Piece::End,
            };
            let end = matches!(piece, Piece::End);
            // A closed channel means that the thread has failed; its result has the reason.
            if sender.send(piece).await.is_err() || end {
                break;
            }
        }
        drop(sender);
        let (mut held, result) = writer.await.map_err(|_| TusError::Panicked)?;
        *held = ahead.filter(|ahead| ahead.writer.length() == session.view().offset);
        match (result, failure) {
            (Err(TusError::Body(_)), Some(failure)) => Err(TusError::Body(failure)),
            (result, _) => result.map(|()| held),
        }
    }

    /// The content to store ahead from here: the content so far, or a whole upload from its first byte on. Parts cannot
    /// be stored ahead, because the content before them is not known yet.
    fn ahead_at(&self, session: &Session, so_far: Option<Ahead>) -> Option<Ahead> {
        let offset = session.view().offset;
        if let Some(ahead) = so_far.filter(|ahead| ahead.writer.length() == offset) {
            return Some(ahead);
        }
        if offset > 0 || session.concatenation != Concatenation::None {
            return None;
        }
        let permit = Arc::clone(&self.ahead).try_acquire_owned().ok()?;
        // This is no failure: without a permit now, the upload is stored from its file at the end.
        let writer = self.skyfiles.taker().ok()?;
        Some(Ahead { writer, _permit: permit })
    }

    fn write(&self, session: &Session, pieces: mpsc::Receiver<Piece>) -> Result<(), TusError> {
        let mut staging = self.directory.open(&session.id)?.ok_or(TusError::Unknown)?;
        let start = staging.record().offset;
        let expected = session.view().offset;
        let outcome = match start == expected {
            true => self.append_all(&mut staging, pieces),
            // The file has lost bytes since.
            false => Err(TusError::WrongOffset(start)),
        };
        let kept = match outcome {
            Err(TusError::BeyondLength(_)) => staging.roll_back(start),
            _ if staging.record().offset == start => Ok(()),
            _ => staging.sync_point(),
        };
        let mut view = session.view();
        view.offset = staging.recorded();
        view.last_activity = SystemTime::now();
        // The first error is the one with the reason.
        outcome.and(kept)
    }

    fn append_all(&self, staging: &mut Staging, mut pieces: mpsc::Receiver<Piece>) -> Result<(), TusError> {
        let mut next_space_check = 0;
        loop {
            let data = match pieces.blocking_recv() {
                Some(Piece::Data(data)) => data,
                Some(Piece::End) => return Ok(()),
                None => return Err(TusError::Body(BodyError::Broken)),
            };
            let (offset, length) = (staging.record().offset, staging.record().length);
            if data.len() as u64 > length - offset {
                return Err(TusError::BeyondLength(length));
            }
            if offset >= next_space_check {
                next_space_check = offset + SPACE_CHECK_EVERY;
                let path = self.directory.path();
                let free = free_space(path).map_err(TusError::io("ask for the free space of", path))?;
                if free < self.limits.reserve.saturating_add(data.len() as u64) {
                    return Err(TusError::DiskFull);
                }
            }
            staging.append(&data)?;
        }
    }
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
