//! A multipart upload: its parts are the subfiles, one after the other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use multer::{Field, Multipart};
use serving::{BodyError, RequestBody};
use skynet_formats::metadata::{Metadata, Subfile};

use super::disposition::Disposition;
use super::params::parse_mode;
use crate::http::error::HttpError;
use crate::skyfile::{SkyfileWriter, WriteError};

/// Most bytes between two parts, including headers of the next one. The library would buffer any number of them.
const MAX_BETWEEN: usize = 64 * 1024;
/// Approximate bytes of a subfile in the metadata besides its texts.
const SUBFILE_OVERHEAD: usize = 64;

/// Reads all parts, and adds them to the metadata.
pub(super) async fn receive(
    body: &mut RequestBody,
    boundary: String,
    max_metadata: usize,
    metadata: &mut Metadata,
    writer: &mut SkyfileWriter,
) -> Result<(), HttpError> {
    let between = Arc::new(AtomicUsize::new(0));
    let mut parts = Multipart::new(Paced { body, between: Arc::clone(&between), yielded: false }, boundary);
    let mut texts = 0;
    while let Some(part) = parts.next_field().await.map_err(|error| wrong_form(&error))? {
        let subfile = receive_part(part, &between, writer).await?;
        texts += 2 * subfile.filename.len() + subfile.content_type.len() + SUBFILE_OVERHEAD;
        if texts > max_metadata {
            return Err(WriteError::MetadataTooLarge { limit: max_metadata }.into());
        }
        let name = subfile.filename.clone();
        if metadata.subfiles.insert(name.clone(), subfile).is_some() {
            return Err(HttpError::bad_request(format!("two files have the same name {name:?}")));
        }
    }
    drop(parts);
    read_epilogue(body).await?;
    if metadata.subfiles.is_empty() {
        return Err(HttpError::bad_request("could not find multipart file"));
    }
    // Browsers and curl name only the part.
    if let (true, 1, Some(name)) =
        (metadata.filename.is_empty(), metadata.subfiles.len(), metadata.subfiles.keys().next())
    {
        metadata.filename.clone_from(name);
    }
    metadata.length = writer.length();
    Ok(())
}

/// Reads the rest after the last boundary, so that the connection can be used again.
async fn read_epilogue(body: &mut RequestBody) -> Result<(), HttpError> {
    let mut left = MAX_BETWEEN;
    while let Some(bytes) = body.next().await {
        left = left
            .checked_sub(bytes?.len())
            .ok_or_else(|| HttpError::bad_request("unable to read multipart body: bytes behind the last boundary"))?;
    }
    Ok(())
}

async fn receive_part(
    mut part: Field<'_>,
    between: &AtomicUsize,
    writer: &mut SkyfileWriter,
) -> Result<Subfile, HttpError> {
    between.store(0, Ordering::Relaxed);
    let header = |name| part.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let disposition = Disposition::parse(&header(CONTENT_DISPOSITION.as_str()).unwrap_or_default())
        .ok_or_else(|| HttpError::bad_request("failed to parse media type for subfile"))?;
    if !["file", "files[]"].contains(&disposition.name.as_str()) {
        return Err(HttpError::bad_request(
            "multipart file submitted under an illegal form name, allowed values are 'files[]' and 'file'",
        ));
    }
    if disposition.filename.is_empty() {
        return Err(HttpError::bad_request("no filename provided"));
    }
    let mode = parse_mode(&header("mode").unwrap_or_default())
        .ok_or_else(|| HttpError::bad_request("failed to parse file mode: expected integer"))?;
    let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let offset = writer.length();
    while let Some(bytes) = part.chunk().await.map_err(|error| wrong_form(&error))? {
        between.store(0, Ordering::Relaxed);
        writer.write(bytes).await?;
    }
    Ok(Subfile { mode, filename: disposition.filename, content_type, offset, len: writer.length() - offset })
}

/// A body that yields one piece per poll, because the library buffers everything it can get at once. It fails if too
/// many bytes arrive without completing a piece.
struct Paced<'a> {
    body: &'a mut RequestBody,
    /// Bytes since the last piece of a part.
    between: Arc<AtomicUsize>,
    yielded: bool,
}

/// The reason why the body was stopped.
#[derive(Debug, thiserror::Error)]
enum PacedError {
    #[error(transparent)]
    Body(BodyError),
    #[error("the headers of a part are too long")]
    TooLong,
}

impl Stream for Paced<'_> {
    type Item = Result<Bytes, PacedError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.yielded) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The last bytes may be content of any length.
        if self.between.load(Ordering::Relaxed) > MAX_BETWEEN {
            return Poll::Ready(Some(Err(PacedError::TooLong)));
        }
        let polled = Pin::new(&mut *self.body).poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.yielded = true;
            self.between.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        polled.map_err(PacedError::Body)
    }
}

fn wrong_form(error: &multer::Error) -> HttpError {
    if let multer::Error::StreamReadFailed(cause) = error
        && let Some(PacedError::Body(cause)) = cause.downcast_ref::<PacedError>()
    {
        return (*cause).into();
    }
    HttpError::bad_request(format!("unable to read multipart body: {error}"))
}
