//! The content of a test portal: skyfiles by skylink, and unfinished uploads.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use skynet_formats::base_sector::{AssembleError, BaseSector};
use skynet_formats::fanout::Fanout;
use skynet_formats::layout::Layout;
use skynet_formats::profile::Profile;
use tokio::time::Instant;

/// An unpin takes this long to take effect.
const UNPIN_TAKES: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Store {
    profile: Profile,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<String, File>,
    uploads: HashMap<String, Upload>,
    next_upload: u64,
    /// The paths at a bare skyd.
    paths: HashSet<String>,
}

#[derive(Debug)]
struct File {
    bytes: Bytes,
    sector: Vec<u8>,
    unpinned: Option<Instant>,
}

#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) length: u64,
    pub(super) metadata: Vec<u8>,
    pub(super) bytes: BytesMut,
    pub(super) locked: bool,
    pub(super) skylink: Option<String>,
}

impl Store {
    pub(super) fn new(profile: Profile) -> Self {
        Store { profile, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a skyfile, laid out as the profile says, and answers its skylink.
    pub(super) fn add(&self, metadata: &[u8], bytes: Bytes) -> Result<String, AssembleError> {
        let size = self.profile.sector_size();
        let sector = if Layout::SIZE + metadata.len() + bytes.len() <= size.bytes() {
            BaseSector::small(size, metadata, &bytes)?
        } else {
            let mut fanout = Fanout::new(self.profile);
            fanout.update(&bytes);
            BaseSector::large(self.profile, bytes.len() as u64, metadata, &fanout.finish())?
        };
        let skylink = sector.skylink().to_string();
        self.inner().files.insert(skylink.clone(), File { bytes, sector: sector.into_bytes(), unpinned: None });
        Ok(skylink)
    }

    pub(super) fn find(&self, skylink: &str) -> Option<Bytes> {
        let mut inner = self.inner();
        let gone = |file: &File| file.unpinned.is_some_and(|since| since.elapsed() >= UNPIN_TAKES);
        if inner.files.get(skylink).is_some_and(gone) {
            inner.files.remove(skylink);
        }
        inner.files.get(skylink).map(|file| file.bytes.clone())
    }

    pub(super) fn base_sector(&self, skylink: &str) -> Option<Vec<u8>> {
        self.inner().files.get(skylink).map(|file| file.sector.clone())
    }

    /// Whether it is pinned; `None` if it is not there.
    pub(super) fn is_pinned(&self, skylink: &str) -> Option<bool> {
        self.find(skylink)?;
        self.inner().files.get(skylink).map(|file| file.unpinned.is_none())
    }

    pub(super) fn pin(&self, skylink: &str) -> bool {
        let mut inner = self.inner();
        let Some(file) = inner.files.get_mut(skylink) else { return false };
        file.unpinned = None;
        true
    }

    pub(super) fn unpin(&self, skylink: &str) -> bool {
        let mut inner = self.inner();
        let Some(file) = inner.files.get_mut(skylink) else { return false };
        file.unpinned.get_or_insert_with(Instant::now);
        true
    }

    /// Takes a path of a bare skyd; false if it is taken.
    pub(super) fn take_path(&self, path: &str) -> bool {
        self.inner().paths.insert(path.to_owned())
    }

    pub(super) fn begin(&self, length: u64, metadata: Vec<u8>) -> String {
        let mut inner = self.inner();
        inner.next_upload += 1;
        let id = format!("upload-{}", inner.next_upload);
        let upload = Upload { length, metadata, bytes: BytesMut::new(), locked: false, skylink: None };
        inner.uploads.insert(id.clone(), upload);
        id
    }

    pub(super) fn with_upload<T>(&self, id: &str, change: impl FnOnce(&mut Upload) -> T) -> Option<T> {
        self.inner().uploads.get_mut(id).map(change)
    }

    pub(super) fn lose_uploads(&self) {
        self.inner().uploads.clear();
    }

    /// Keeps the whole chunks of an ended or interrupted part, as skyd does.
    pub(super) fn end_part(&self, id: &str) {
        let chunk = self.profile.chunk_size() as usize;
        let complete = self.with_upload(id, |upload| {
            upload.locked = false;
            let complete = upload.bytes.len() as u64 == upload.length;
            if !complete {
                upload.bytes.truncate(upload.bytes.len() / chunk * chunk);
            }
            complete.then(|| (upload.metadata.clone(), Bytes::copy_from_slice(&upload.bytes)))
        });
        if let Some((metadata, bytes)) = complete.flatten() {
            let skylink = self.add(&metadata, bytes).ok();
            self.with_upload(id, |upload| upload.skylink = skylink);
        }
    }
}
