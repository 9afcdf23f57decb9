//! Writes a request body into an upload, on a blocking thread that hashes and writes.

use bytes::Bytes;
use content_store::{Mark, Upload};
use futures_util::Stream;
use serving::{Frames, Incomplete, pass_on};
use tokio::task::JoinError;

use super::Error;
use super::error::Progress;
use super::sync_turns::ClientTurns;
use super::yielding::Stage;

/// Limits of a body, and what to do if it ends early.
pub(super) struct Plan {
    /// Exact bytes of a ranged chunk; `None` for a stream.
    pub(super) exactly: Option<u64>,
    /// Most bytes of the blob; 0: no limit.
    pub(super) max_blob_size: u64,
    /// Sync the new end before returning, on a turn of the client. Not needed if the session is closed next.
    pub(super) sync: Option<ClientTurns>,
    /// Counts bytes as staged before they are written.
    pub(super) stage: Stage,
}

/// Appends the whole body to the upload in `slot`, or else leaves it as `plan` says. Returns the slot unless the thread
/// panics. If this future is dropped, the thread treats the body as ended early.
pub(super) async fn receive<S, B>(mut slot: S, plan: Plan, body: &mut B) -> Result<(S, Result<(), Error>), JoinError>
where
    S: AsMut<Upload> + Send + 'static,
    B: Stream<Item = Result<Bytes, Error>> + Unpin + Send,
{
    let writer = |frames| {
        tokio::task::spawn_blocking(move || {
            let result = write(slot.as_mut(), &plan, frames);
            (slot, result)
        })
    };
    let (written, failure) = pass_on(body, writer).await;
    match written? {
        (slot, Err(Error::BodyBroken)) => Ok((slot, Err(failure.unwrap_or(Error::BodyBroken)))),
        written => Ok(written),
    }
}

fn write(upload: &mut Upload, plan: &Plan, frames: Frames) -> Result<(), Error> {
    let (mark, start) = (upload.mark(), upload.offset());
    let mut synced = mark.clone();
    match append_all(upload, plan, frames, &mut synced) {
        Ok(()) => {}
        // A client or a stop may end a body anywhere. The received part of a ranged chunk is kept; of a stream, as much
        // as after a crash. GET and 416 tell the client where to continue.
        Err(Error::BodyBroken) => {
            if plan.exactly.is_some() {
                let _turn = plan.sync.as_ref().map(ClientTurns::take);
                upload.sync_point()?;
            } else {
                upload.roll_back(synced)?;
            }
            return Err(Error::BodyBroken);
        }
        Err(error) => {
            upload.roll_back(mark)?;
            return Err(error);
        }
    }
    if let Some(turns) = &plan.sync
        && upload.offset() > start
    {
        let _turn = turns.take();
        upload.sync_point()?;
    }
    Ok(())
}

/// Appends the whole body. `synced` is set to each sync point on the way.
fn append_all(upload: &mut Upload, plan: &Plan, mut frames: Frames, synced: &mut Mark) -> Result<(), Error> {
    let start = upload.offset();
    while let Some(data) = frames.read().map_err(|Incomplete| Error::BodyBroken)? {
        let end = upload.offset() + data.len() as u64;
        if plan.max_blob_size > 0 && end > plan.max_blob_size {
            return Err(Error::BlobTooLarge { limit: plan.max_blob_size });
        }
        if let Some(exactly) = plan.exactly
            && end - start > exactly
        {
            return Err(wrong_length(upload, start, exactly));
        }
        (plan.stage)(data.len() as u64)?;
        upload.append(&data)?;
        if upload.is_synced() {
            *synced = upload.mark();
        }
    }
    match plan.exactly {
        Some(exactly) if upload.offset() - start != exactly => Err(wrong_length(upload, start, exactly)),
        _ => Ok(()),
    }
}

/// The error for a wrong length. The session returns to the start of the chunk, as the error reports.
fn wrong_length(upload: &Upload, start: u64, exactly: u64) -> Error {
    let progress = Progress { id: upload.id().clone(), offset: start };
    Error::ChunkSizeInvalid {
        why: format!("Content-Range states {exactly} bytes, but the body has another length"),
        progress,
    }
}

#[cfg(test)]
mod tests {
    use content_store::{ContentStore, UploadId};

    use super::*;

    const MIB: usize = 1 << 20;

    /// A stop, or a client that left, threw away what a crash would have kept.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_stream_that_ends_early_keeps_the_bytes_up_to_its_last_sync_point() {
        let place = tempfile::tempdir().unwrap();
        let store = ContentStore::open(place.path()).unwrap();
        let upload = store.create_upload(&UploadId::from_random([7; 16]), "a", None).unwrap();
        let plan = || Plan { exactly: None, max_blob_size: 0, sync: None, stage: Box::new(|_| Ok(())) };
        let sent = (0..70).map(|_| Ok(Bytes::from(vec![7; MIB]))).chain([Err(Error::BodyBroken)]);
        let (upload, outcome) = receive(Box::new(upload), plan(), &mut futures_util::stream::iter(sent)).await.unwrap();
        assert!(matches!(outcome, Err(Error::BodyBroken)), "{outcome:?}");
        assert_eq!(upload.offset(), 64 * MIB as u64);
        // Without a further sync point, the stream is as the request found it.
        let sent = [Ok(Bytes::from_static(b"more")), Err(Error::BodyBroken)];
        let (upload, _) = receive(upload, plan(), &mut futures_util::stream::iter(sent)).await.unwrap();
        assert_eq!(upload.offset(), 64 * MIB as u64);
        let rest = [Ok(Bytes::from(vec![7; MIB]))];
        let (upload, outcome) = receive(upload, plan(), &mut futures_util::stream::iter(rest)).await.unwrap();
        outcome.unwrap();
        let whole = crate::oci::Digest::of(crate::oci::Algorithm::Sha256, &vec![7; 65 * MIB]);
        assert!((*upload).finish(&whole).is_ok(), "the hash covers the kept bytes only");
    }
}
