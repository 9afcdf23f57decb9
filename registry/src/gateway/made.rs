//! Sectors made from content: a base sector is written when it is asked for, the others are stretches of the file.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use portal::{Sector, SectorSource, SourceFile, Stretch};
use storage_backends::backend::{UNIT, UnitRoot};
use storage_backends::fs::StoreError;
use storage_backends::skynet::canonical::{self, Form};
use storage_backends::skynet::profile::Profile;
use storage_backends::skynet::sector::SectorRoot;
use tokio::runtime::Handle;

use super::records::{Record, Records};
use crate::oci::Digest;
use crate::placement;
use crate::service::{Blob, Registry};

/// The sectors of all content that anybody may read and that is here.
#[derive(Debug)]
pub(super) struct Made {
    registry: Arc<Registry>,
    records: Records,
    profile: Profile,
    runtime: Handle,
}

impl Made {
    pub(super) fn new(registry: Arc<Registry>, records: Records, profile: Profile, runtime: Handle) -> Self {
        Made { registry, records, profile, runtime }
    }

    /// The content, if it may be served and is here.
    fn content(&self, record: &Record) -> io::Result<Option<Blob>> {
        // Asked each time: it may have been deleted, or its last public repository may be private now.
        if !self.registry.catalog().is_public(&record.digest).map_err(io::Error::other)? {
            return Ok(None);
        }
        match self.registry.open_here(&record.digest, record.length) {
            Ok(blob) => Ok(Some(blob)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error @ (StoreError::WrongLength { .. } | StoreError::Corrupt { .. })) => {
                self.put_aside(record.digest.clone(), error);
                Ok(None)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// What a pull does with a damaged file. Nobody waits for it here.
    fn put_aside(&self, digest: Digest, error: StoreError) {
        let registry = Arc::clone(&self.registry);
        self.runtime.spawn(async move {
            let _ = registry.damaged(&digest, error).await;
        });
    }

    /// The roots of the sectors beside the base sector; `None` if they are not known any more.
    fn fanout(&self, record: &Record) -> io::Result<Option<Arc<[UnitRoot]>>> {
        if let Some(unit) = record.unit {
            return Ok(Some([unit].into()));
        }
        placement::unit_roots(&self.registry, &record.digest).map_err(io::Error::other)
    }
}

impl SectorSource for Made {
    fn find(&self, base: &SectorRoot) -> io::Result<Option<Arc<dyn SourceFile>>> {
        let Some(record) = self.records.get(base)? else { return Ok(None) };
        let Some(blob) = self.content(&record)? else { return Ok(None) };
        let Record { digest, length, .. } = &record;
        let (head, fanout) = match Form::of(digest, *length, self.profile) {
            Form::Small => (canonical::small_head(digest, *length), None),
            Form::Large => {
                let Some(roots) = self.fanout(&record)? else { return Ok(None) };
                let made = canonical::large(digest, *length, self.profile, &roots).map_err(io::Error::other)?;
                if made.root() != *base {
                    tracing::warn!(%digest, sector.root = %base, "a record of the gateway is wrong");
                    return Ok(None);
                }
                (made.into_bytes(), Some(roots))
            }
        };
        let bytes = match blob {
            Blob::Bytes(bytes) => Place::Memory(bytes),
            Blob::File(file, _) => Place::File(Arc::new(file)),
        };
        Ok(Some(Arc::new(MadeFile {
            base: *base,
            head: head.into(),
            fanout,
            bytes,
            length: *length,
            profile: self.profile,
        })))
    }
}

#[derive(Debug)]
enum Place {
    /// Read whole and verified.
    Memory(Bytes),
    /// Open: a deletion meanwhile does not cut the client.
    File(Arc<std::fs::File>),
}

/// The sectors of one piece of content.
#[derive(Debug)]
struct MadeFile {
    base: SectorRoot,
    /// The base sector as far as it is not content.
    head: Bytes,
    /// The roots of the content's units, where they are sectors of their own.
    fanout: Option<Arc<[UnitRoot]>>,
    bytes: Place,
    length: u64,
    profile: Profile,
}

impl MadeFile {
    /// Some of the content behind the head.
    fn sector(&self, head: &Bytes, start: u64, length: u64) -> io::Result<Sector> {
        let size = self.profile.sector_size();
        match &self.bytes {
            Place::File(file) => {
                Sector::made(size, head.clone(), Some(Stretch { file: Arc::clone(file), start, length }))
            }
            Place::Memory(bytes) => {
                let part = bytes.get(start as usize..(start + length) as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
                Sector::made(size, [&head[..], part].concat().into(), None)
            }
        }
    }
}

impl SourceFile for MadeFile {
    fn open(&self, root: &SectorRoot) -> io::Result<Option<Sector>> {
        if *root == self.base {
            return match self.fanout {
                Some(_) => Sector::made(self.profile.sector_size(), self.head.clone(), None).map(Some),
                None => self.sector(&self.head, 0, self.length).map(Some),
            };
        }
        // Units of one root have the same bytes.
        let unit = self.fanout.iter().flat_map(|roots| roots.iter()).position(|unit| unit == root);
        let Some(start) = unit.map(|unit| unit as u64 * UNIT) else { return Ok(None) };
        self.sector(&Bytes::new(), start, UNIT.min(self.length - start)).map(Some)
    }
}
