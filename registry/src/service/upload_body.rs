//! Moves a request body into an upload: frames go through a bounded channel to one blocking thread that hashes and writes.

use bytes::Bytes;
use content_store::{ContentStore, Upload};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::Error;
use super::error::Progress;

/// Frames between the socket and the disk, each of at most 128 KiB: enough that the one is read while the other is hashed
/// and written. Two more are in flight, at either end.
const CHANNEL_DEPTH: usize = 2;

/// How often the free space is looked at.
const SPACE_CHECK_EVERY: u64 = 4 * 1024 * 1024;

/// What is known of a body before it comes, and what to do when it breaks off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The bytes of a ranged chunk: exactly so many must come. `None` for a stream.
    pub(super) exactly: Option<u64>,
    /// The largest blob; 0 = no limit.
    pub(super) max_blob_size: u64,
    /// Bytes to leave free on the disk.
    pub(super) reserve: u64,
    /// Make the new end durable before returning. Not needed where the session is closed next.
    pub(super) sync: bool,
}

enum Piece {
    Data(Bytes),
    End,
}

/// Appends the whole body to the upload that `slot` holds, or leaves it as `plan` says. The slot comes back in any case but
/// a panic, also when this future is dropped: then the thread sees the channel close and treats the body as broken off.
pub(super) async fn receive<S, B>(
    store: &ContentStore,
    mut slot: S,
    plan: Plan,
    body: &mut B,
) -> (Option<S>, Result<u64, Error>)
where
    S: AsMut<Upload> + Send + 'static,
    B: Stream<Item = Result<Bytes, Error>> + Unpin + Send,
{
    let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH);
    let store = store.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let result = write(&store, slot.as_mut(), plan, receiver);
        (slot, result)
    });
    let mut failure = None;
    loop {
        let piece = match body.next().await {
            Some(Ok(data)) => Piece::Data(data),
            Some(Err(error)) => {
                failure = Some(error);
                break;
            }
            None => Piece::End,
        };
        let end = matches!(piece, Piece::End);
        // A closed channel means that the writer has failed; its result says how.
        if sender.send(piece).await.is_err() || end {
            break;
        }
    }
    drop(sender);
    match writer.await {
        Ok((slot, Err(Error::BodyBroken))) => (Some(slot), Err(failure.unwrap_or(Error::BodyBroken))),
        Ok((slot, result)) => (Some(slot), result),
        Err(_) => (None, Err(Error::Internal("the upload's thread panicked"))),
    }
}

fn write(
    store: &ContentStore,
    upload: &mut Upload,
    plan: Plan,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<u64, Error> {
    let mark = upload.mark();
    let start = upload.offset();
    match append_all(store, upload, plan, &mut pieces) {
        Ok(()) => {}
        // What came of a ranged chunk is kept: GET and 416 tell the client where to go on.
        Err(Error::BodyBroken) if plan.exactly.is_some() => {
            upload.sync_point()?;
            return Err(Error::BodyBroken);
        }
        Err(error) => {
            upload.roll_back(mark)?;
            return Err(error);
        }
    }
    if plan.sync && upload.offset() > start {
        upload.sync_point()?;
    }
    Ok(upload.offset() - start)
}

fn append_all(
    store: &ContentStore,
    upload: &mut Upload,
    plan: Plan,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<(), Error> {
    let start = upload.offset();
    let mut next_space_check = start;
    loop {
        let data = match pieces.blocking_recv() {
            Some(Piece::Data(data)) => data,
            Some(Piece::End) => break,
            None => return Err(Error::BodyBroken),
        };
        let end = upload.offset() + data.len() as u64;
        if plan.max_blob_size > 0 && end > plan.max_blob_size {
            return Err(Error::BlobTooLarge { limit: plan.max_blob_size });
        }
        if let Some(exactly) = plan.exactly
            && end - start > exactly
        {
            return Err(wrong_length(upload, start, exactly));
        }
        if upload.offset() >= next_space_check {
            next_space_check = upload.offset() + SPACE_CHECK_EVERY;
            if store.free_space()? < plan.reserve.saturating_add(data.len() as u64) {
                return Err(Error::DiskFull);
            }
        }
        upload.append(&data)?;
    }
    match plan.exactly {
        Some(exactly) if upload.offset() - start != exactly => Err(wrong_length(upload, start, exactly)),
        _ => Ok(()),
    }
}

/// The session goes back to where the chunk began, and that is what the client is told.
fn wrong_length(upload: &Upload, start: u64, exactly: u64) -> Error {
    let progress = Progress { id: upload.id().clone(), offset: start };
    Error::ChunkSizeInvalid {
        why: format!("Content-Range says {exactly} bytes, the body has another length"),
        progress,
    }
}
