//! Resumable uploads over a real store, resumed from copies of their directory after each step.

mod concatenation;
mod kill;
mod model;
mod taking_over;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use content_store::UploadId;
use futures_util::{Stream, StreamExt};
use serving::{BodyError, Holder};
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::skylink::Skylink;

use super::skyfile_metadata::skyfile_metadata;
use super::{Status, TusError, UploadMetadata, Uploads};
use crate::PortalOptions;
use crate::blocklist::Blocklist;
use crate::pins::Pins;
use crate::sectors::SectorStore;
use crate::skyfile::Skyfiles;

/// A store in a temporary directory, and its uploads.
struct Fixture {
    directory: tempfile::TempDir,
    options: PortalOptions,
    skyfiles: Skyfiles,
    uploads: Arc<Uploads>,
}

impl Fixture {
    fn new() -> Self {
        Fixture::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut PortalOptions)) -> Self {
        let profile = Profile::new(SectorSize::new(4096).unwrap(), 1, 4).unwrap();
        let mut options = PortalOptions { profile, ..crate::options::for_tests() };
        change(&mut options);
        let directory = tempfile::tempdir().unwrap();
        let skyfiles = skyfiles(directory.path(), &options);
        let uploads = Arc::new(Uploads::open(directory.path(), skyfiles.clone(), &options).unwrap());
        Fixture { directory, options, skyfiles, uploads }
    }

    /// Resumes the uploads as after a restart.
    fn reopen(&mut self) {
        let uploads = Uploads::open(self.directory.path(), self.skyfiles.clone(), &self.options).unwrap();
        self.uploads = Arc::new(uploads);
    }

    /// A copy of the current state, opened by another process: what a kill right now would leave.
    fn killed(&self) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        copy(self.directory.path(), directory.path());
        let skyfiles = skyfiles(directory.path(), &self.options);
        let uploads = Arc::new(Uploads::open(directory.path(), skyfiles.clone(), &self.options).unwrap());
        Fixture { directory, options: self.options.clone(), skyfiles, uploads }
    }

    fn session(&self, id: &UploadId) -> PathBuf {
        self.directory.path().join("uploads").join(id.as_str())
    }

    async fn create(&self, length: usize) -> UploadId {
        self.uploads.create(Holder::SHARED, false, length as u64, metadata()).await.unwrap().id
    }

    async fn append(&self, id: &UploadId, offset: usize, bytes: &[u8]) -> Result<Status, TusError> {
        self.uploads.append(Holder::SHARED, id, offset as u64, Some(bytes.len() as u64), &mut body(bytes)).await
    }

    /// The offset and skylink that HEAD answers.
    async fn head(&self, id: &UploadId) -> Result<(u64, Option<Skylink>), TusError> {
        self.uploads.status(id).await.map(|(status, _)| (status.offset, status.skylink))
    }

    /// The skylink of content with the usual metadata.
    async fn skylink_of(&self, content: &[u8]) -> Skylink {
        // The id only matters without a file name.
        let id = UploadId::from_random([0; 16]);
        let metadata = skyfile_metadata(&metadata(), content.len() as u64, &id).unwrap();
        let mut writer = self.skyfiles.dry_writer().unwrap();
        writer.write(Bytes::copy_from_slice(content)).await.unwrap();
        writer.finish(metadata).await.unwrap()
    }

    async fn content(&self, skylink: &Skylink) -> Vec<u8> {
        let skyfile = self.skyfiles.open(skylink).await.unwrap().unwrap();
        let mut stream = skyfile.stream(0, skyfile.size());
        let mut content = Vec::new();
        while let Some(bytes) = stream.next().await {
            content.extend_from_slice(&bytes.unwrap());
        }
        content
    }
}

fn skyfiles(directory: &Path, options: &PortalOptions) -> Skyfiles {
    let sectors = SectorStore::open(directory, options.profile.sector_size(), options.disk_reserve).unwrap();
    Skyfiles::new(
        sectors,
        Pins::open(directory, options.disk_reserve).unwrap(),
        Blocklist::open(directory).unwrap(),
        options,
    )
}

fn metadata() -> UploadMetadata {
    UploadMetadata::parse("filename YS50eHQ=,filetype dGV4dC9wbGFpbg==").unwrap()
}

/// Bytes without a pattern that repeats.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A body in small pieces.
fn body(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, BodyError>> + Unpin + Send + use<> {
    let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures_util::stream::iter(pieces)
}

/// A body that stalls after these bytes; the receiver is notified when all of them were read.
fn stalling_after(
    bytes: &[u8],
) -> (impl Stream<Item = Result<Bytes, BodyError>> + Unpin + Send + use<>, tokio::sync::oneshot::Receiver<()>) {
    let (tell, taken) = tokio::sync::oneshot::channel();
    let silence = futures_util::stream::once(async move {
        let _ = tell.send(());
        std::future::pending().await
    });
    (body(bytes).chain(silence.boxed()), taken)
}

/// A body that breaks off after these bytes.
fn broken(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, BodyError>> + Unpin + Send + use<> {
    body(bytes).chain(futures_util::stream::iter([Err(BodyError::Broken)]))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), &target).unwrap()),
        }
    }
}
