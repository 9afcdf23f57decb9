//! ZIP, written without going back: sizes and checksums stand behind each file's content.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use ::zip::write::{SimpleFileOptions, StreamWriter};
use ::zip::{CompressionMethod, ZipWriter};

use super::{Entry, Writer};

/// Content from here on gets the fields of 64 bits; below, even incompressible bytes stay within 32.
const LARGE: u64 = 4_000_000_000;

/// Fast: archives are made while a client waits, and most of the web is compressed already.
const LEVEL: i64 = 1;

/// An archive; the writer is gone once it is finished.
pub(super) struct ZipFile {
    writer: Option<ZipWriter<StreamWriter<Buffer>>>,
    buffer: Buffer,
}

/// What the writer, which keeps its sink to itself, has written.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ZipFile {
    pub(super) fn new() -> Self {
        let buffer = Buffer::default();
        ZipFile { writer: Some(ZipWriter::new_stream(buffer.clone())), buffer }
    }

    fn writer(&mut self) -> io::Result<&mut ZipWriter<StreamWriter<Buffer>>> {
        self.writer.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Writer for ZipFile {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        // Deflated even where that saves nothing: one who reads from a pipe finds the end of stored content only by
        // its length, which comes behind it. The time is that of the format's beginning, so that archives are alike.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .large_file(entry.length() >= LARGE)
            .unix_permissions(entry.permissions());
        Ok(self.writer()?.start_file(entry.name.as_str(), options)?)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer()?.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.buffer.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
