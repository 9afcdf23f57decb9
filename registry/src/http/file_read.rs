//! Reads files into a reused buffer that is never cleared. One function never waits for the disk, the other does.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use bytes::BytesMut;

/// Appends up to `length` bytes at `offset` from the page cache, so it needs no thread. `None` if it would have to wait
/// for the disk, or if the file system cannot tell.
pub(super) fn read_cached(file: &File, buffer: &mut BytesMut, length: usize, offset: u64) -> io::Result<Option<usize>> {
    match read_once(file, buffer, length, offset, libc::RWF_NOWAIT) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => Ok(Some(read)),
        // Interrupted; not cached; unsupported by this file system; unsupported by this kernel.
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Appends exactly `length` bytes at `offset`. Blocks.
pub(super) fn read_exactly(file: &File, buffer: &mut BytesMut, length: usize, offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        match read_once(file, buffer, length - done, offset + done as u64, 0) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[expect(unsafe_code, reason = "std has no preadv2, and no stable reads into uninitialized memory")]
fn read_once(file: &File, buffer: &mut BytesMut, length: usize, offset: u64, flags: i32) -> io::Result<usize> {
    buffer.reserve(length);
    let room = &mut buffer.spare_capacity_mut()[..length];
    let vector = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: the descriptor is open and the vector describes memory that is ours to write, both for the whole call.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, offset as i64, flags) };
    let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel has initialized exactly this many bytes after the current length.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file() -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        file
    }

    #[test]
    fn bytes_are_appended_from_where_they_stand() {
        let mut buffer = BytesMut::from(&b"x"[..]);
        read_exactly(&file(), &mut buffer, 4, 3).unwrap();
        assert_eq!(&buffer[..], b"x3456");
    }

    #[test]
    fn what_was_just_written_is_read_without_waiting_or_not_at_all() {
        let mut buffer = BytesMut::new();
        match read_cached(&file(), &mut buffer, 100, 6).unwrap() {
            Some(read) => assert_eq!((read, &buffer[..]), (4, &b"6789"[..])),
            None => assert!(buffer.is_empty()),
        }
    }

    #[test]
    fn a_file_that_has_shrunk_is_an_error() {
        let error = read_exactly(&file(), &mut BytesMut::new(), 5, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let cached = read_cached(&file(), &mut BytesMut::new(), 5, 10);
        assert!(matches!(&cached, Ok(None)) || cached.is_err_and(|e| e.kind() == io::ErrorKind::UnexpectedEof));
    }
}
