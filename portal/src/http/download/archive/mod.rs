//! Several files as one stream: an archive that is made while it is sent, with only a buffer in memory.

mod tar;
mod zip;

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::HeaderValue;
use skynet_formats::metadata::Subfile;

use super::format::Format;
use crate::served::Piece;

/// Bytes that are compressed at once, which takes a millisecond or two.
const STEP: usize = 64 * 1024;

/// A file of an archive.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its path in the archive.
    pub(super) name: String,
    /// Permission bits; 0 for unknown ones.
    pub(super) mode: u32,
    /// The pieces of the skyfile with its bytes.
    pub(super) pieces: Vec<Piece>,
}

impl Entry {
    /// An entry for a subfile. Metadata is already checked for paths that leave the archive. It is not checked for
    /// readers that treat a backslash as a slash, so this does it.
    pub(super) fn new(file: &Subfile, pieces: Vec<Piece>) -> Self {
        let leaves = file.filename.split(['/', '\\']).any(|part| part == "..");
        let name = if leaves { file.filename.replace('\\', "_") } else { file.filename.clone() };
        Entry { name, mode: file.mode, pieces }
    }

    fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }

    /// The permission bits. Unknown ones become those of a plain file, because an unreadable file is useless.
    fn permissions(&self) -> u32 {
        match self.mode & 0o777 {
            0 => 0o644,
            mode => mode,
        }
    }
}

/// Writes an archive into its own buffer.
trait Writer: Send {
    /// Begins the next file.
    fn begin(&mut self, entry: &Entry) -> io::Result<()>;
    /// Writes the next bytes of the file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Ends the file.
    fn end(&mut self) -> io::Result<()>;
    /// Ends the archive.
    fn finish(&mut self) -> io::Result<()>;
    /// The bytes written since the last call.
    fn take(&mut self) -> Vec<u8>;
}

/// The media type of an archive format.
pub(super) fn media_type(format: Format) -> Option<HeaderValue> {
    let kind = match format {
        Format::Zip => "application/zip",
        Format::Tar => "application/x-tar",
        Format::TarGz => "application/gzip",
        Format::Unspecified | Format::Concat => return None,
    };
    Some(HeaderValue::from_static(kind))
}

/// An archive of these files; `open` reads bytes of the skyfile.
pub(super) fn archive<S>(
    format: Format,
    entries: Vec<Entry>,
    open: impl Fn(Piece) -> S + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
{
    let writer: Box<dyn Writer> = match format {
        Format::Tar => Box::new(tar::TarWriter::plain()),
        Format::TarGz => Box::new(tar::TarWriter::compressed()),
        Format::Zip | Format::Unspecified | Format::Concat => Box::new(zip::ZipFile::new()),
    };
    let state =
        Archive { writer, entries: entries.into_iter(), open, pieces: None, content: None, pending: Bytes::new() };
    stream::try_unfold(Some(state), |state| async move {
        let Some(mut state) = state else { return Ok(None) };
        loop {
            let more = state.step().await?;
            let written = Bytes::from(state.writer.take());
            if !more {
                return Ok(Some((written, None)));
            }
            if !written.is_empty() {
                return Ok(Some((written, Some(state))));
            }
        }
    })
}

struct Archive<S, O> {
    writer: Box<dyn Writer>,
    entries: std::vec::IntoIter<Entry>,
    open: O,
    /// The pieces of the current file that were not begun.
    pieces: Option<std::vec::IntoIter<Piece>>,
    /// The stream of the current piece, with its number of missing bytes.
    content: Option<(S, u64)>,
    /// Bytes that were read but not yet written.
    pending: Bytes,
}

impl<S, O> Archive<S, O>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    O: Fn(Piece) -> S,
{
    /// Writes a little; `false` at the end.
    async fn step(&mut self) -> io::Result<bool> {
        if !self.pending.is_empty() {
            let part = self.pending.split_to(self.pending.len().min(STEP));
            self.writer.write(&part)?;
        } else if let Some((content, missing)) = &mut self.content {
            match content.next().await.transpose()? {
                Some(bytes) => {
                    // The header already has the length.
                    *missing = missing.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
                    self.pending = bytes;
                }
                None if *missing == 0 => self.content = None,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        } else if let Some(pieces) = &mut self.pieces {
            if let Some(piece) = pieces.next() {
                self.content = Some(((self.open)(piece), piece.length));
            } else {
                self.writer.end()?;
                self.pieces = None;
            }
        } else if let Some(entry) = self.entries.next() {
            self.writer.begin(&entry)?;
            self.pieces = Some(entry.pieces.into_iter());
        } else {
            self.writer.finish()?;
            return Ok(false);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
