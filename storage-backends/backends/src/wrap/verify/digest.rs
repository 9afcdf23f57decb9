//! A read of everything whose last piece waits for the digest.

use bytes::Bytes;
use content_store::hasher::Hasher;
use futures_util::{StreamExt as _, stream};
use tokio::task::{JoinHandle, spawn_blocking};

use super::ended;
use crate::{BackendError, ByteStream, Content};

/// Pieces shorter than this are hashed at once: handing them to a thread would take longer.
const SHORT: usize = 64 * 1024;

/// Bytes that are hashed as they pass. A piece does not wait for its own hash, so it stays in memory for a while after
/// it was returned.
pub(super) struct Digested {
    open: ByteStream,
    content: Content,
    position: u64,
    hashing: Hashing,
    /// The piece that reaches the end.
    held: Option<Bytes>,
}

enum Hashing {
    Idle(Box<Hasher>),
    Busy(JoinHandle<Box<Hasher>>),
    /// It failed, or was taken.
    Over,
}

impl Digested {
    /// All bytes of the content, or an error instead of the last piece.
    pub(super) fn stream(open: ByteStream, content: Content) -> ByteStream {
        let hashing = Hashing::Idle(Box::new(Hasher::new(content.algorithm())));
        let state = Digested { open, content, position: 0, hashing, held: None };
        stream::try_unfold(state, Digested::next).boxed()
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        let length = self.content.length();
        while let Some(bytes) = self.open.next().await.transpose()? {
            if bytes.is_empty() {
                continue;
            }
            self.position += bytes.len() as u64;
            if self.position > length {
                return Err(BackendError::Corrupt { start: length, end: self.position });
            }
            self.hash(bytes.clone()).await?;
            if self.position < length {
                return Ok(Some((bytes, self)));
            }
            self.held = Some(bytes);
        }
        let Some(last) = self.held.take() else {
            // The end was returned before, unless it has not arrived.
            let over = self.position == length;
            return if over { Ok(None) } else { Err(BackendError::Corrupt { start: 0, end: length }) };
        };
        let sound = self.idle().await?.finish() == *self.content.digest();
        if sound { Ok(Some((last, self))) } else { Err(BackendError::Corrupt { start: 0, end: length }) }
    }

    async fn hash(&mut self, bytes: Bytes) -> Result<(), BackendError> {
        let mut hasher = self.idle().await?;
        self.hashing = if bytes.len() < SHORT {
            hasher.update(&bytes);
            Hashing::Idle(hasher)
        } else {
            Hashing::Busy(spawn_blocking(move || {
                hasher.update(&bytes);
                hasher
            }))
        };
        Ok(())
    }

    /// The hash of all bytes that have passed.
    async fn idle(&mut self) -> Result<Box<Hasher>, BackendError> {
        match std::mem::replace(&mut self.hashing, Hashing::Over) {
            Hashing::Idle(hasher) => Ok(hasher),
            Hashing::Busy(hashing) => hashing.await.map_err(ended),
            Hashing::Over => Err(BackendError::Unavailable { retry_after: None, cause: "the hash is gone".into() }),
        }
    }
}
