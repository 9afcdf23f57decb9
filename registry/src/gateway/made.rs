//! Makes sectors from content. A base sector is built on request; other sectors are ranges of the content's file.

use std::io;
use std::sync::Arc;

use backends::skynet::canonical::{self, Form};
use bytes::Bytes;
use content_store::StoreError;
use portal::{Piece, Sector, SectorSource, SourceFile, Stretch};
use skynet_formats::profile::Profile;
use skynet_formats::sector::{LEAF_SIZE, SectorRoot};
use tokio::runtime::Handle;

use super::Gateway;
use super::learn::data_roots;
use super::records::Skyfile;
use crate::oci::Digest;
use crate::service::Blob;

/// The sectors of all local content that anonymous clients may read.
#[derive(Debug)]
pub(super) struct Made {
    gateway: Gateway,
    runtime: Handle,
}

impl Made {
    pub(super) fn new(gateway: Gateway, runtime: Handle) -> Self {
        Made { gateway, runtime }
    }

    /// The content, if it is public and has a local file.
    fn content(&self, record: &Skyfile) -> io::Result<Option<Blob>> {
        // Checked each time: the content may have been deleted, or its last public repository may now be private.
        if !self.gateway.registry.catalog().is_public(&record.digest).map_err(io::Error::other)? {
            return Ok(None);
        }
        match self.gateway.registry.open_here(&record.digest, record.length) {
            Ok(blob) => Ok(Some(blob)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error @ (StoreError::WrongLength { .. } | StoreError::Corrupt { .. })) => {
                self.put_aside(record.digest.clone(), error);
                Ok(None)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Quarantines a damaged file, as a pull does. No caller waits for it.
    fn put_aside(&self, digest: Digest, error: StoreError) {
        let registry = Arc::clone(&self.gateway.registry);
        self.runtime.spawn(async move {
            let _ = registry.content.damaged(&digest, error).await;
        });
    }

    /// The skyfile with this base sector.
    fn file(&self, base: &SectorRoot) -> io::Result<Option<MadeFile>> {
        let profile = self.gateway.profile;
        let Some(record) = self.gateway.records.get(base)? else { return Ok(None) };
        let Some(blob) = self.content(&record)? else { return Ok(None) };
        let Skyfile { digest, length, .. } = &record;
        let (head, fanout) = match Form::of(digest, *length, profile) {
            Form::Small => (canonical::small_head(digest, *length), None),
            Form::Large => {
                let known = self.gateway.known_fanout(digest, *length).map_err(io::Error::other)?;
                let Some(roots) = known else { return Ok(None) };
                let made = canonical::large(digest, *length, profile, &roots).map_err(io::Error::other)?;
                if made.root() != *base {
                    tracing::warn!(%digest, sector.root = %base, "a record of the gateway names the wrong content");
                    return Ok(None);
                }
                (made.into_bytes(), Some(roots))
            }
        };
        let bytes = match blob {
            Blob::Bytes(bytes) => OpenContent::Memory(bytes),
            Blob::File(file, _) => OpenContent::File(Arc::new(file)),
        };
        Ok(Some(MadeFile { base: *base, head: head.into(), fanout, bytes, length: *length, profile }))
    }
}

impl SectorSource for Made {
    fn find(&self, base: &SectorRoot) -> io::Result<Option<Arc<dyn SourceFile>>> {
        Ok(self.file(base)?.map(|file| Arc::new(file) as Arc<dyn SourceFile>))
    }

    fn find_data(&self, root: &SectorRoot) -> io::Result<Option<Sector>> {
        // Some skyfiles may be removed or private. One readable skyfile is enough.
        for base in self.gateway.records.sectors.of(root)? {
            if let Some(sector) = self.file(&base)?.map(|file| file.data(root)).transpose()?.flatten() {
                return Ok(Some(sector));
            }
        }
        Ok(None)
    }
}

#[derive(Debug)]
enum OpenContent {
    /// Read whole and verified.
    Memory(Bytes),
    /// An open file, so that a deletion does not interrupt the reader.
    File(Arc<std::fs::File>),
}

/// The sectors of one piece of content.
#[derive(Debug)]
struct MadeFile {
    base: SectorRoot,
    /// The base sector without the content that it includes.
    head: Bytes,
    /// The roots of the pieces, if the content has sectors of its own.
    fanout: Option<Arc<[SectorRoot]>>,
    bytes: OpenContent,
    length: u64,
    profile: Profile,
}

impl MadeFile {
    /// The base sector.
    fn base(&self) -> io::Result<Sector> {
        let size = self.profile.sector_size();
        match &self.bytes {
            _ if self.fanout.is_some() => Sector::made(size, self.head.clone(), None),
            OpenContent::File(file) => Sector::made(size, self.head.clone(), Some(stretch(file, 0, self.length))),
            OpenContent::Memory(bytes) => Sector::made(size, [&self.head[..], bytes].concat().into(), None),
        }
    }

    /// A sector with content. Sectors with parity are not served, since their readers can compute them.
    fn data(&self, root: &SectorRoot) -> io::Result<Option<Sector>> {
        let Some(fanout) = &self.fanout else { return Ok(None) };
        // Pieces with the same root have the same bytes.
        let Some(position) = data_roots(self.profile, fanout).position(|other| other == root) else { return Ok(None) };
        let (size, pieces) = (self.profile.sector_size(), self.profile.data_pieces());
        let (chunk, piece) = (position as u64 / u64::from(pieces), (position % usize::from(pieces)) as u8);
        let start = chunk * self.profile.chunk_size();
        let length = self.profile.chunk_size().min(self.length.saturating_sub(start));
        match &self.bytes {
            OpenContent::File(file) if pieces == 1 => {
                Sector::made(size, Bytes::new(), Some(stretch(file, start, length))).map(Some)
            }
            OpenContent::File(file) => {
                Ok(Some(Sector::piece(size, Piece::new(stretch(file, start, length), piece, pieces))))
            }
            OpenContent::Memory(bytes) => {
                let chunk = bytes.get(start as usize..(start + length) as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
                let segments = chunk.chunks(LEAF_SIZE).skip(usize::from(piece)).step_by(usize::from(pieces));
                Sector::made(size, segments.flatten().copied().collect(), None).map(Some)
            }
        }
    }
}

fn stretch(file: &Arc<std::fs::File>, start: u64, length: u64) -> Stretch {
    Stretch { file: Arc::clone(file), start, length }
}

impl SourceFile for MadeFile {
    fn open(&self, root: &SectorRoot) -> io::Result<Option<Sector>> {
        if *root == self.base { self.base().map(Some) } else { self.data(root) }
    }

    fn content(&self) -> Option<Stretch> {
        match &self.bytes {
            OpenContent::File(file) if self.fanout.is_some() => Some(stretch(file, 0, self.length)),
            _ => None,
        }
    }
}
