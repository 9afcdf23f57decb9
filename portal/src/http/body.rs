//! Small request bodies, which are read whole.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::StatusCode;
use serving::RequestBody;

use super::error::HttpError;

/// The whole body, if it is at most `limit` bytes long.
pub(super) async fn read_whole(body: &mut RequestBody, limit: usize) -> Result<Bytes, HttpError> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > limit {
            let message = format!("the body exceeds the limit of {limit} bytes");
            return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}
