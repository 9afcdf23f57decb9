//! From a complete upload to a skyfile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use serving::Holder;
use skynet_formats::skylink::Skylink;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, Take};

use super::concatenation::Concatenation;
use super::session::{Held, Session};
use super::skyfile_metadata::skyfile_metadata;
use super::{TusError, Uploads};
use crate::skyfile::{SkyfileWriter, WriteError};

/// Bytes read at a time from staged files.
const READ_STEP: usize = 512 * 1024;
/// Pause before the store is asked again for a permit; other uploads end meanwhile.
const STORE_RETRY: Duration = Duration::from_millis(500);
const STORE_RETRIES: usize = 120;

impl Uploads {
    /// Finishes a complete upload, unless that is done. If another task is finishing it, this waits for that task.
    pub(super) async fn finish(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), TusError> {
        let held = session.hold().await?;
        self.finish_held(session, held).await
    }

    /// Finishes a complete upload for the owner of its lock. The work continues even if the caller stops waiting.
    pub(super) async fn finish_held(self: &Arc<Self>, session: &Arc<Session>, held: Held) -> Result<(), TusError> {
        if session.view().skylink.is_some() {
            return Ok(());
        }
        let (uploads, session) = (Arc::clone(self), Arc::clone(session));
        let work = self.tasks.spawn(async move {
            let result = uploads.store(&session, held).await;
            if let Err(error) = &result {
                tracing::warn!(upload.id = %session.id, %error, "an upload cannot be finished");
            }
            result
        });
        work.await?
    }

    async fn store(self: &Arc<Self>, session: &Arc<Session>, mut held: Held) -> Result<(), TusError> {
        let (uploads, id) = (Arc::clone(self), session.id.clone());
        let record = self.blocking(move || Ok(uploads.staging.read(&id)?)).await?.ok_or(TusError::Unknown)?;
        let metadata = skyfile_metadata(&record.metadata, session.length, &session.id)?;
        let writer = match held.take() {
            Some(ahead) if ahead.writer.length() == session.length => ahead.writer,
            _ => self.staged_content(session).await?,
        };
        // A crash before this: nothing of it is pinned, and all staged bytes are still there.
        let skylink = match session.concatenation {
            Concatenation::None => {
                let files = self.staging.files(&session.id, session.length);
                writer.finish_taking_over(metadata, files).await?
            }
            _ => writer.finish(metadata).await?,
        };
        let (uploads, session) = (Arc::clone(self), Arc::clone(session));
        self.blocking(move || {
            uploads.mark_finished(&session, skylink)?;
            // A crash here, or a failure: the next start continues with the parts.
            for part in uploads.sessions.parts(&session) {
                if let Err(error) = uploads.mark_finished(&part, skylink) {
                    tracing::error!(upload.id = %part.id, %error, "a part that was used cannot be dropped");
                }
            }
            drop(held);
            Ok(())
        })
        .await
    }

    /// The content of an upload, or of its parts, read from its staged files.
    async fn staged_content(&self, session: &Session) -> Result<SkyfileWriter, TusError> {
        let mut writer = self.place_in_store(session).await?;
        for (path, length) in self.sources(session)? {
            let file = File::open(&path).await.map_err(TusError::io("open", &path))?;
            let mut source = file.take(length);
            while source.limit() > 0 {
                let bytes = read_some(&mut source).await.map_err(TusError::io("read", &path))?;
                if bytes.is_empty() {
                    return Err(TusError::Damaged(path));
                }
                writer.write(bytes.freeze()).await?;
            }
        }
        Ok(writer)
    }

    fn sources(&self, session: &Session) -> Result<Vec<(PathBuf, u64)>, TusError> {
        let Concatenation::Final(wanted) = &session.concatenation else {
            return Ok(self.staging.files(&session.id, session.length));
        };
        let parts = self.sessions.parts(session);
        if parts.len() != wanted.len() || !parts.iter().all(|part| part.is_complete()) {
            return Err(TusError::PartIncomplete);
        }
        Ok(parts.iter().flat_map(|part| self.staging.files(&part.id, part.length)).collect())
    }

    async fn place_in_store(&self, session: &Session) -> Result<SkyfileWriter, TusError> {
        let mut retries = 0;
        loop {
            let writer = match session.concatenation {
                Concatenation::None => self.skyfiles.taker(Holder::SHARED),
                // Sectors do not begin where parts begin.
                _ => self.skyfiles.writer(),
            };
            match writer {
                Err(WriteError::UsedUp(_)) if retries < STORE_RETRIES => {
                    retries += 1;
                    #[cfg(test)]
                    self.waits_for_store.notify_one();
                    tokio::time::sleep(STORE_RETRY).await;
                }
                writer => return Ok(writer?),
            }
        }
    }

    /// Marks parts of finished uploads as finished where a crash prevented it. Blocks.
    pub(super) fn finish_parts_of_finished(&self) -> Result<(), TusError> {
        let all: Vec<Arc<Session>> = self.sessions.lock().values().cloned().collect();
        for whole in all {
            let Some(skylink) = whole.view().skylink else { continue };
            for part in self.sessions.parts(&whole) {
                if part.view().skylink.is_none() {
                    self.mark_finished(&part, skylink)?;
                }
            }
        }
        Ok(())
    }

    /// Records the skylink of an upload, whose bytes are no longer needed. Blocks.
    fn mark_finished(&self, session: &Session, skylink: Skylink) -> Result<(), TusError> {
        let mut record = self.staging.read(&session.id)?.ok_or(TusError::Unknown)?;
        record.skylink = Some(skylink);
        record.last_activity = SystemTime::now();
        self.staging.end(&session.id, &record)?;
        let mut view = session.view();
        view.skylink = Some(skylink);
        view.last_activity = record.last_activity;
        view.claimed_by = None;
        Ok(())
    }
}

async fn read_some(source: &mut Take<File>) -> std::io::Result<BytesMut> {
    let mut bytes = BytesMut::with_capacity(READ_STEP);
    source.read_buf(&mut bytes).await?;
    Ok(bytes)
}
