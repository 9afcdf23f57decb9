//! TAR (POSIX pax), plain or compressed.

use std::io::{self, Write};

use ::tar::{EntryType, Header};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Entry, Writer};

/// An archive consists of blocks of this many bytes.
const BLOCK: u64 = 512;

/// ASCII names up to this length, in bytes, fit the header itself.
const SHORT_NAME: usize = 100;

/// An archive.
pub(super) struct TarWriter {
    sink: Sink,
    /// Length of the current file in bytes.
    length: u64,
}

enum Sink {
    Plain(Vec<u8>),
    Compressed(Box<GzEncoder<Vec<u8>>>),
    Finished(Vec<u8>),
}

impl TarWriter {
    pub(super) fn plain() -> Self {
        TarWriter { sink: Sink::Plain(Vec::new()), length: 0 }
    }

    pub(super) fn compressed() -> Self {
        TarWriter { sink: Sink::Compressed(Box::new(GzEncoder::new(Vec::new(), Compression::fast()))), length: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.sink {
            Sink::Plain(sink) => sink.write_all(bytes),
            Sink::Compressed(sink) => sink.write_all(bytes),
            Sink::Finished(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let over = length % BLOCK;
        if over == 0 { Ok(()) } else { self.put(&[0; BLOCK as usize][over as usize..]) }
    }

    /// Writes a name that does not fit the header: an extra file before the file, with the name as its content.
    fn put_long_name(&mut self, name: &str) -> io::Result<()> {
        let record = pax_record("path", name);
        let mut header = header("PaxHeaders.0", record.len() as u64, 0o644);
        header.set_entry_type(EntryType::XHeader);
        header.set_cksum();
        self.put(header.as_bytes())?;
        self.put(&record)?;
        self.pad(record.len() as u64)
    }
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
pub(super) fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length += 1;
    }
    format!("{length}{rest}").into_bytes()
}

/// The header of a plain file without owner, at the epoch. A longer name is cut.
fn header(name: &str, length: u64, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    let cut = &name.as_bytes()[..name.len().min(SHORT_NAME)];
    header.as_old_mut().name[..cut.len()].copy_from_slice(cut);
    header.set_entry_type(EntryType::Regular);
    header.set_size(length);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}

impl Writer for TarWriter {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.name.len() > SHORT_NAME || !entry.name.is_ascii() {
            self.put_long_name(&entry.name)?;
        }
        self.length = entry.length();
        self.put(header(&entry.name, self.length, entry.permissions()).as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        self.pad(self.length)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.put(&[0; 2 * BLOCK as usize])?;
        self.sink = match std::mem::replace(&mut self.sink, Sink::Finished(Vec::new())) {
            Sink::Plain(bytes) | Sink::Finished(bytes) => Sink::Finished(bytes),
            Sink::Compressed(encoder) => Sink::Finished(encoder.finish()?),
        };
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match &mut self.sink {
            Sink::Plain(bytes) | Sink::Finished(bytes) => bytes,
            Sink::Compressed(encoder) => encoder.get_mut(),
        })
    }
}
