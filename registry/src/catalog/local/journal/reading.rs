//! Reads files that may be partly unreadable, since disks lose single sectors.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes given up at a time. The kernel reads no less than a page.
pub(super) const PAGE: usize = 4096;

/// The readable bytes of a file. Unreadable bytes are zeros, which are never part of a valid frame.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) bytes: Vec<u8>,
    /// The unreadable parts in ascending order, with readable bytes between them.
    pub(super) unreadable: Vec<Range<usize>>,
}

impl Loaded {
    fn give_up(&mut self, page: Range<usize>) {
        match self.unreadable.last_mut() {
            Some(last) if last.end == page.start => last.end = page.end,
            _ => self.unreadable.push(page),
        }
    }
}

/// True for errors that mean that these bytes are lost, but others may be readable.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    // EIO of most disks and file systems, ENODATA of a medium error, EILSEQ of dm-integrity, EBADMSG and EUCLEAN of
    // checksums.
    let errors = [libc::EIO, libc::ENODATA, libc::EILSEQ, libc::EBADMSG, libc::EUCLEAN];
    error.raw_os_error().is_some_and(|error| errors.contains(&error))
}

/// Reads the first `limit` bytes of a file, skipping unreadable pages.
pub(super) fn load(path: &Path, limit: u64) -> io::Result<Loaded> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(limit) as usize;
    let mut loaded = Loaded { bytes: vec![0; length], unreadable: Vec::new() };
    let (mut offset, mut end) = (0, length);
    while offset < length {
        match read_at(&file, &mut loaded.bytes[offset..end], offset as u64) {
            // The file was truncated meanwhile.
            Ok(0) => {
                loaded.bytes.truncate(offset);
                break;
            }
            Ok(read) => (offset, end) = (offset + read, length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_unreadable(&error) => {
                let page_end = (offset + 1).next_multiple_of(PAGE).min(length);
                if end > page_end {
                    // A long read may fail because of a sector far from its start, so retry a single page.
                    end = page_end;
                } else {
                    loaded.bytes[offset..page_end].fill(0);
                    loaded.give_up(offset..page_end);
                    (offset, end) = (page_end, length);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(loaded)
}

/// A file read from its beginning.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    offset: u64,
}

impl Input {
    pub(super) fn new(file: File) -> Self {
        Input { file, offset: 0 }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_at(&self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(test)]
    let buffer = faults::check(file, buffer, offset)?;
    file.read_at(buffer, offset)
}

/// Simulates unreadable sectors, for the current thread.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::RefCell;
    use std::fs::{self, File};
    use std::io;
    use std::ops::Range;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    thread_local! {
        static PLAN: RefCell<Vec<(u64, Range<u64>)>> = const { RefCell::new(Vec::new()) };
    }

    /// Makes bytes of the file at `path` unreadable from now on, even if it is renamed.
    pub(in super::super) fn plan(path: &Path, bytes: Range<u64>) {
        let inode = fs::metadata(path).unwrap().ino();
        PLAN.with_borrow_mut(|plan| plan.push((inode, bytes)));
    }

    /// The readable start of the buffer.
    pub(super) fn check<'a>(file: &File, buffer: &'a mut [u8], offset: u64) -> io::Result<&'a mut [u8]> {
        let inode = file.metadata()?.ino();
        let mut length = buffer.len() as u64;
        PLAN.with_borrow(|plan| {
            for (_, bytes) in plan.iter().filter(|(planned, _)| *planned == inode) {
                if bytes.contains(&offset) {
                    return Err(io::Error::from_raw_os_error(libc::EIO));
                }
                if offset < bytes.start {
                    length = length.min(bytes.start - offset);
                }
            }
            Ok(())
        })?;
        Ok(&mut buffer[..length as usize])
    }
}
