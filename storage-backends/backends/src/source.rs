//! Bytes in flight to a backend: read by range, as often and in any order that the backend needs.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use content_store::digest::{Algorithm, Digest};
use futures_util::future::BoxFuture;

use super::{Content, ContentError, SourceError, UnitProof};

/// Most bytes of one read.
pub const MAX_READ: u64 = 1024 * 1024;

/// Content that can be read here.
pub trait Source: Debug + Send + Sync {
    /// The content.
    fn content(&self) -> &Content;

    /// Exactly these bytes, within the content and at most [`MAX_READ`]. They are not verified.
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>>;
}

/// Reads as much of `start..end` as fits into one read, exactly.
pub(crate) async fn read_piece(source: &dyn Source, start: u64, end: u64) -> Result<Bytes, SourceError> {
    let end = end.min(start + MAX_READ);
    let bytes = source.read(start..end).await?;
    if bytes.len() as u64 == end - start { Ok(bytes) } else { Err(SourceError::Damaged { start, end }) }
}

/// An open file as a source.
#[derive(Debug)]
pub struct FileSource {
    file: Arc<File>,
    content: Content,
}

impl FileSource {
    /// A source of this file, whose content must be exactly this.
    pub fn new(file: File, content: Content) -> Self {
        FileSource { file: Arc::new(file), content }
    }
}

impl Source for FileSource {
    fn content(&self) -> &Content {
        &self.content
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        let file = Arc::clone(&self.file);
        Box::pin(async move {
            let read = move || {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                file.read_exact_at(&mut bytes, range.start)?;
                Ok(Bytes::from(bytes))
            };
            // The thread fails to return only if it panicked or the runtime ends.
            tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
        })
    }
}

/// Bytes in memory as a source; for small content.
#[derive(Clone, Debug)]
pub struct BytesSource {
    bytes: Bytes,
    content: Content,
}

impl BytesSource {
    /// A source of these bytes, under their digest.
    pub fn new(algorithm: Algorithm, bytes: Bytes) -> Self {
        let content = Content::new(Digest::of(algorithm, &bytes), bytes.len() as u64);
        BytesSource { content: content.expect("the digest is of a known algorithm"), bytes }
    }

    /// A source of these bytes that claims to be this content.
    pub fn claiming(content: Content, bytes: Bytes) -> Self {
        BytesSource { bytes, content }
    }

    /// All bytes, even if they do not match the content.
    pub fn read_all(&self) -> Bytes {
        self.bytes.clone()
    }

    /// This source with a proof of its units.
    pub fn with_proof(self, proof: Arc<dyn UnitProof>) -> Result<Self, ContentError> {
        Ok(BytesSource { content: self.content.with_proof(proof)?, bytes: self.bytes })
    }
}

impl Source for BytesSource {
    fn content(&self) -> &Content {
        &self.content
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        let within = range.start <= range.end && range.end <= self.bytes.len() as u64;
        let bytes = within.then(|| self.bytes.slice(range.start as usize..range.end as usize));
        Box::pin(async move { bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn files_and_memory_give_exactly_the_range_or_an_error() {
        let bytes = Bytes::from_static(b"some bytes to be stored");
        let memory = BytesSource::new(Algorithm::Sha256, bytes.clone());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let file = FileSource::new(file, memory.content().clone());
        for source in [&memory as &dyn Source, &file] {
            assert_eq!(source.read(5..10).await.unwrap(), bytes.slice(5..10));
            assert!(source.read(3..3).await.unwrap().is_empty());
            assert!(matches!(source.read(20..24).await, Err(SourceError::Io(_))));
        }
    }
}
