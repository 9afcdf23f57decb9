//! Resumable uploads as Skynet portals offer them (TUS 1.0), free of HTTP.
//!
//! Bytes are staged in a session of the content store per upload, in pieces of any size. `upload_metadata` and
//! `concatenation` are the client's description of an upload. `record` is the state on disk, `session` that in memory.
//! `create`, `append`, `finish` and `expire` are the operations.
//!
//! **When is an upload finished?** The closing request is the last PATCH, the POST of a final upload, or a POST without
//! bytes. Its answer is sent when the skylink is durable. skynet-js asks once, by HEAD, right after that answer, and
//! fails for good if there is no skylink then. The roots of the content are computed while its bytes arrive. Bytes are
//! staged in files of one sector each, which the store takes over unchanged. So the end usually has little left to do,
//! and nothing is written twice.
//!
//! A closing request may take long after a restart, with parts, with several data pieces, or with many uploads at once.
//! tus-js-client waits without a limit; a proxy does not, and after its 504 the client asks by HEAD. So finishing is
//! work of the portal, not of the request, and continues when the client leaves. A HEAD waits a while for it and then
//! answers 423. This is the only answer after which tus-js-client asks again (after 5, 15, 60, 300 and 600 s with the
//! settings of skynet-js). After any other failure it sends everything again. A HEAD answered 200 with all bytes always
//! has the skylink, unless the upload is a part.
//!
//! A repeated POST of the same final upload finds the first one, even if its answer was lost. The id of a final upload
//! is derived from its parts and metadata.
//!
//! Order of durable steps: bytes synced -> record of their offset -> answer to a PATCH; all bytes recorded -> skyfile
//! durable and pinned -> record of the skylink -> the same for parts -> staged bytes dropped -> answer. After a crash
//! anywhere before the record of the skylink, the next request finishes the upload again, to the same skylink.

mod append;
mod concatenation;
mod create;
mod error;
mod expire;
mod finish;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod record;
mod session;
mod skyfile_metadata;
mod upload_metadata;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use content_store::{UploadId, make_directory, staging, sync_directory};
use serving::Pool;
use skynet_formats::skylink::Skylink;
use tokio_util::task::TaskTracker;

pub(crate) use concatenation::Concatenation;
pub(crate) use error::TusError;
pub(crate) use record::Record;
pub(crate) use upload_metadata::UploadMetadata;

use crate::skyfile::Skyfiles;
use crate::{PortalOptions, Resource};
use session::{Session, Sessions};

/// Longest wait of a HEAD for an upload to be finished: less than proxies allow for an answer.
const FINISHING_WAIT: Duration = Duration::from_secs(20);

/// All resumable uploads of a portal.
#[derive(Debug)]
pub(crate) struct Uploads {
    staging: staging::Sessions<Record>,
    sessions: Sessions,
    skyfiles: Skyfiles,
    limits: Limits,
    /// Permits for bodies that arrive at once; each has a thread.
    bodies: Arc<Pool>,
    /// Permits for uploads whose content is stored ahead.
    ahead: Arc<Pool>,
    tasks: TaskTracker,
    /// Notified each time a complete upload gets no permit of the store, and waits for one.
    #[cfg(test)]
    waits_for_store: tokio::sync::Notify,
}

/// The operator's limits.
#[derive(Clone, Debug)]
struct Limits {
    max_upload: u64,
    max_metadata: usize,
    expiry: Duration,
    /// See [`FINISHING_WAIT`].
    wait: Duration,
}

/// The state of an upload.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) id: UploadId,
    /// Received bytes.
    pub(crate) offset: u64,
    /// The skylink, if it is finished.
    pub(crate) skylink: Option<Skylink>,
    /// The time at which it expires unless more bytes arrive; `None` once it is finished.
    pub(crate) expires: Option<SystemTime>,
}

impl Uploads {
    /// Opens the uploads below `root`, and resumes existing ones. Blocks.
    pub(crate) fn open(root: &Path, skyfiles: Skyfiles, options: &PortalOptions) -> Result<Self, TusError> {
        let path = root.join("uploads");
        make_directory(&path).map_err(TusError::io("make", &path))?;
        sync_directory(root).map_err(TusError::io("sync", root))?;
        // Segments have the length of a sector, so that the store can take files over unchanged.
        let segment = options.profile.sector_size().bytes() as u64;
        let staging = staging::Sessions::new(&path, segment, options.uploads_reserve());
        let patience = options.permit_patience;
        let places = Pool::new(Resource::ResumableUploads.name(), options.max_resumable_uploads, patience);
        let sessions = Sessions::new(staging.list(|_, _| Ok(false))?, places);
        let limits = Limits {
            max_upload: options.max_upload,
            max_metadata: options.max_metadata,
            expiry: options.upload_expiry,
            wait: FINISHING_WAIT,
        };
        // Each occupies one of the store's uploads, most of which shall be left to others.
        let ahead = Pool::new(Resource::Ahead.name(), options.max_uploads / 4, patience);
        let bodies = Pool::new(Resource::Bodies.name(), options.max_uploads, patience);
        let tasks = TaskTracker::new();
        let uploads = Uploads {
            staging,
            sessions,
            skyfiles,
            limits,
            bodies,
            ahead,
            tasks,
            #[cfg(test)]
            waits_for_store: tokio::sync::Notify::new(),
        };
        uploads.finish_parts_of_finished()?;
        Ok(uploads)
    }

    /// The state of an upload, with its record. A complete upload is finished first.
    pub(crate) async fn status(self: &Arc<Self>, id: &UploadId) -> Result<(Status, Record), TusError> {
        let session = self.sessions.find(id)?;
        if session.is_to_be_finished() {
            let finished = tokio::time::timeout(self.limits.wait, self.finish(&session)).await;
            finished.unwrap_or(Err(TusError::Finishing))?;
        }
        let (uploads, wanted) = (Arc::clone(self), id.clone());
        let record = self.blocking(move || Ok(uploads.staging.read(&wanted)?)).await?.ok_or(TusError::Unknown)?;
        Ok((self.status_of(&session), record))
    }

    /// The skylink of a complete upload.
    pub(crate) async fn skylink(self: &Arc<Self>, id: &UploadId) -> Result<Option<Skylink>, TusError> {
        Ok(self.status(id).await?.0.skylink)
    }

    /// Longest upload in bytes.
    pub(crate) fn max_upload(&self) -> u64 {
        self.limits.max_upload
    }

    /// The permits for bodies. Bodies that hold one must come at a least rate while they are short.
    pub(crate) fn bodies(&self) -> &Arc<Pool> {
        &self.bodies
    }

    fn status_of(&self, session: &Session) -> Status {
        let view = session.view();
        let expires = view.skylink.is_none().then(|| view.last_activity + self.limits.expiry);
        Status { id: session.id.clone(), offset: view.offset, skylink: view.skylink, expires }
    }

    /// Runs file work on a blocking thread. It runs to its end even if the caller stops waiting.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, TusError> + Send + 'static,
    ) -> Result<T, TusError> {
        self.tasks.spawn_blocking(work).await?
    }
}
