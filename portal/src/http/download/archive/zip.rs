//! ZIP, written without seeking: sizes and checksums follow each file's content.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use ::zip::write::{SimpleFileOptions, StreamWriter};
use ::zip::{CompressionMethod, ZipWriter};

use super::{Entry, Writer};

/// Content of at least this many bytes gets the 64-bit fields. Shorter content stays within 32 bits even if it is
/// incompressible.
const LARGE: u64 = 4_000_000_000;

/// The fast level: archives are made while a client waits, and most of the web is already compressed.
const LEVEL: i64 = 1;

/// An archive; the writer is gone once it is finished.
pub(super) struct ZipFile {
    writer: Option<ZipWriter<StreamWriter<Buffer>>>,
    buffer: Buffer,
}

/// The output of the writer, which does not give its sink away.
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
        // Deflated even if that saves nothing: a reader from a pipe finds the end of stored content only by its length,
        // which follows it. The time is the earliest of the format, so that archives are reproducible.
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
