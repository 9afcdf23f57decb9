//! The asynchronous side of an upload's content: pieces of any size, with bounded memory.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use skynet_formats::skylink::Skylink;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Admission;
use super::content::Content;
use super::destination::Destination;
use super::error::WriteError;
use super::restore::GivenBase;

/// Bytes that are passed to a thread at a time. As many more are buffered meanwhile.
const STEP: usize = 512 * 1024;

/// Content in flight to the store. Dropping it abandons the upload.
///
/// A thread is used only while there are bytes to hash and write: a slow client occupies none.
#[derive(Debug)]
pub(crate) struct SkyfileWriter {
    state: State,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    length: u64,
    limits: Limits,
    /// Each thread that works on the content keeps a clone, since it goes on after the client has left.
    admission: Arc<Admission>,
}

/// The limits of an upload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most bytes of content.
    pub(super) content: u64,
    /// Most bytes of metadata.
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
            admission: Arc::new(admission),
        }
    }

    /// Bytes received so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds the next bytes of the content.
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
            let admission = Arc::clone(&self.admission);
            self.state = State::Busy(spawn_blocking(move || {
                let _admission = admission;
                gathered.iter().try_for_each(|bytes| content.write(bytes))?;
                Ok(content)
            }));
        }
        Ok(())
    }

    /// Ends the content. The skyfile with this metadata, used unchanged, is durable and pinned when this returns.
    pub(crate) async fn finish(self, metadata: Vec<u8>) -> Result<Skylink, WriteError> {
        self.finish_taking_over(metadata, Vec::new()).await
    }

    /// Ends content that is in these files, one for each sector, each with its number of valid bytes. If this writer
    /// takes over files, they become sectors and must not be changed afterwards.
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

    /// Ends the content of a base sector made by the client. Both are durable and pinned when this returns, or neither
    /// is.
    pub(crate) async fn restore(mut self, base: GivenBase) -> Result<Skylink, WriteError> {
        self.end(move |content| content.restore(&base)).await
    }

    async fn end(
        &mut self,
        end: impl FnOnce(Content) -> Result<Skylink, WriteError> + Send + 'static,
    ) -> Result<Skylink, WriteError> {
        let mut content = self.idle().await?;
        let gathered = std::mem::take(&mut self.gathered);
        let admission = Arc::clone(&self.admission);
        let last = spawn_blocking(move || {
            let _admission = admission;
            gathered.iter().try_for_each(|bytes| content.write(bytes))?;
            end(*content)
        });
        last.await.unwrap_or(Err(WriteError::Failed))
    }

    /// The content once the thread has processed all earlier bytes.
    async fn idle(&mut self) -> Result<Box<Content>, WriteError> {
        if let State::Busy(step) = &mut self.state {
            // The panic hook logs a panicking step.
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
        // Abandoned content removes its files on a thread that may block. Without a runtime, that is done here.
        if let (State::Idle(content), Ok(runtime)) =
            (std::mem::replace(&mut self.state, State::Failed), tokio::runtime::Handle::try_current())
        {
            runtime.spawn_blocking(move || drop(content));
        }
    }
}
