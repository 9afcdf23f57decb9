//! An upload's content as an asynchronous caller gives it: in any pieces, with bounded memory.

use std::path::PathBuf;

use bytes::Bytes;
use skynet_formats::skylink::Skylink;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Admission;
use super::content::Content;
use super::destination::Destination;
use super::error::WriteError;
use super::restore::GivenBase;

/// Bytes that are handed over to a thread at a time. As many again are gathered meanwhile.
const STEP: usize = 512 * 1024;

/// Content on its way into the store. Dropping it abandons the upload.
///
/// A thread is used only while there is something to hash and write: a slow client holds none.
#[derive(Debug)]
pub(crate) struct SkyfileWriter {
    state: State,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    length: u64,
    limits: Limits,
    _admission: Admission,
}

/// What an upload may be at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of content.
    pub(super) content: u64,
    /// Bytes of metadata.
    pub(super) metadata: usize,
}

#[derive(Debug)]
enum State {
    Idle(Box<Content>),
    Busy(JoinHandle<Result<Box<Content>, WriteError>>),
    /// A step failed.
    Failed,
}

impl SkyfileWriter {
    pub(super) fn new(destination: Destination, limits: Limits, admission: Admission) -> Self {
        SkyfileWriter {
            state: State::Idle(Box::new(Content::new(destination))),
            gathered: Vec::new(),
            gathered_bytes: 0,
            length: 0,
            limits,
            _admission: admission,
        }
    }

    /// Bytes taken so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes of the content.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        self.length += bytes.len() as u64;
        if self.length > self.limits.content {
            self.state = State::Failed;
            return Err(WriteError::TooLarge { limit: self.limits.content });
        }
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes >= STEP {
            let mut content = self.idle().await?;
            self.gathered_bytes = 0;
            let gathered = std::mem::take(&mut self.gathered);
            self.state = State::Busy(spawn_blocking(move || {
                gathered.iter().try_for_each(|bytes| content.write(bytes))?;
                Ok(content)
            }));
        }
        Ok(())
    }

    /// Ends the content: the skyfile with this metadata, which is taken as it is, is durable and pinned afterwards.
    pub(crate) async fn finish(self, metadata: Vec<u8>) -> Result<Skylink, WriteError> {
        self.finish_taking_over(metadata, Vec::new()).await
    }

    /// The same for content that stands in these files, one for each sector, with the number of bytes that count of it.
    /// They become sectors if it is for that, and nobody may change them any more.
    pub(crate) async fn finish_taking_over(
        mut self,
        metadata: Vec<u8>,
        files: Vec<(PathBuf, u64)>,
    ) -> Result<Skylink, WriteError> {
        if metadata.len() > self.limits.metadata {
            return Err(WriteError::MetadataTooLarge { limit: self.limits.metadata });
        }
        self.end(move |content| content.finish(&metadata, &files)).await
    }

    /// Ends the content of a base sector that the client made. Both are durable and pinned afterwards, or neither is.
    pub(crate) async fn restore(mut self, base: GivenBase) -> Result<Skylink, WriteError> {
        self.end(move |content| content.restore(&base)).await
    }

    async fn end(
        &mut self,
        end: impl FnOnce(Content) -> Result<Skylink, WriteError> + Send + 'static,
    ) -> Result<Skylink, WriteError> {
        let mut content = self.idle().await?;
        let gathered = std::mem::take(&mut self.gathered);
        let last = spawn_blocking(move || {
            gathered.iter().try_for_each(|bytes| content.write(bytes))?;
            end(*content)
        });
        last.await.unwrap_or(Err(WriteError::Failed))
    }

    /// The content when the thread is done with what it was given before.
    async fn idle(&mut self) -> Result<Box<Content>, WriteError> {
        if let State::Busy(step) = &mut self.state {
            // A panicking step is logged by the panic hook.
            let done = step.await.unwrap_or(Err(WriteError::Failed));
            self.state = State::Failed;
            return done;
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(content) => Ok(content),
            State::Busy(_) | State::Failed => Err(WriteError::Failed),
        }
    }
}

impl Drop for SkyfileWriter {
    fn drop(&mut self) {
        // Abandoned content removes its files, which is work for a thread that may block; without a runtime it is done here.
        if let (State::Idle(content), Ok(runtime)) =
            (std::mem::replace(&mut self.state, State::Failed), tokio::runtime::Handle::try_current())
        {
            runtime.spawn_blocking(move || drop(content));
        }
    }
}
