//! The archive: a tar file with a header entry first, and a checksum of all entries last.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

/// The format that this program reads and writes.
pub(super) const FORMAT: u32 = 1;
/// The first entry.
pub(super) const HEAD: &str = "skyberth-backup.json";
/// The users in the data directory, under the name of their file there.
pub(super) const USERS: &str = "access/users";
/// The names of the endpoints with copies, under the name of their file there. Without them the restored node, until it has asked
/// its portals, would call missing what they have.
pub(super) const ENDPOINTS: &str = "endpoints.json";
/// The last entry.
pub(super) const END: &str = "skyberth-backup-end.json";

/// Longest first or last entry accepted.
const MAX_JSON: u64 = 64 << 10;
/// Longest name of an entry, with its zero byte: `blobs/sha512/` and a digest, or a file of the journal.
const MAX_NAME: u64 = 512;
/// Bytes copied at a time.
const STEP: usize = 256 << 10;

/// Selects the content in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Content {
    /// Content without a copy elsewhere, by the records. Without portals, all content.
    #[default]
    Needed,
    /// All content with a local file.
    All,
    /// No content: only names, tags, links, and records of copies.
    None,
}

/// The first entry: describes the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    /// The version of the program that made it.
    pub(super) program: String,
    /// Milliseconds since the Unix epoch.
    pub(super) time: u64,
    /// The journal's id.
    pub(super) journal: String,
    /// Number of the last record in the journal.
    pub(super) sequence: u64,
    /// The selected content.
    pub(super) content: Content,
}

/// The last entry: checksum and counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// BLAKE3 of all entries before. Each contributes its name, a zero byte, its length in 8 bytes, and its bytes.
    pub(super) blake3: String,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

/// Counts of the content in an archive, and of the content left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Files of content in the archive.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Content not in the archive that has a copy elsewhere, by the records.
    pub(super) elsewhere: u64,
    pub(super) elsewhere_bytes: u64,
    /// Content that is neither in the archive nor elsewhere.
    pub(super) missing: u64,
    pub(super) missing_bytes: u64,
}

/// Writes an archive.
pub(super) struct ArchiveWriter<W: Write> {
    tar: Builder<W>,
    sum: blake3::Hasher,
    time: u64,
}

impl<W: Write> ArchiveWriter<W> {
    pub(super) fn begin(output: W, head: &Head) -> io::Result<Self> {
        let mut writer =
            ArchiveWriter { tar: Builder::new(output), sum: blake3::Hasher::new(), time: head.time / 1000 };
        let text = serde_json::to_vec(head)?;
        writer.add(HEAD, text.len() as u64, &mut &text[..])?;
        Ok(writer)
    }

    /// Adds the next entry.
    ///
    /// Errors: `UnexpectedEof` if the source has fewer than `length` bytes.
    pub(super) fn add(&mut self, name: &str, length: u64, source: &mut dyn Read) -> io::Result<()> {
        begin_entry(&mut self.sum, name, length);
        let mut source = Summed { source, left: length, sum: &mut self.sum };
        append(&mut self.tar, name, length, self.time, &mut source)
    }

    pub(super) fn finish(mut self, counts: Counts) -> io::Result<W> {
        let end = End { blake3: self.sum.finalize().to_hex().to_string(), counts };
        let text = serde_json::to_vec(&end)?;
        append(&mut self.tar, END, text.len() as u64, self.time, &mut &text[..])?;
        self.tar.into_inner()
    }
}

fn append<W: Write>(tar: &mut Builder<W>, name: &str, length: u64, time: u64, source: &mut dyn Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    header.set_mtime(time);
    header.set_entry_type(EntryType::Regular);
    tar.append_data(&mut header, name, source)
}

fn begin_entry(sum: &mut blake3::Hasher, name: &str, length: u64) {
    sum.update(name.as_bytes()).update(&[0]).update(&length.to_le_bytes());
}

/// Reads exactly `left` bytes and hashes them.
struct Summed<'a> {
    source: &'a mut dyn Read,
    left: u64,
    sum: &'a mut blake3::Hasher,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.sum.update(&buffer[..read]);
        Ok(read)
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("this is not a backup: it does not begin with {HEAD}")]
    NoBackup,
    #[error("the backup has format {0}; this program reads {FORMAT}")]
    Newer(u32),
    #[error("the backup is cut off: it does not end with {END}")]
    CutOff,
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    #[error("the backup cannot be read")]
    Read(#[source] io::Error),
}

/// Takes one entry between head and end: its name, its length, and its bytes, which must be read to the end.
pub(super) type Take<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> anyhow::Result<()> + 'a;

/// Reads a whole archive, and gives each entry to `take`. The checksum is compared only at the end. After an error the
/// caller must discard everything taken.
pub(super) fn read(input: impl Read, take: &mut Take<'_>) -> anyhow::Result<(Head, End)> {
    let mut archive = Archive::new(input);
    let (mut head, mut end, mut sum, mut long_name) = (None, None, blake3::Hasher::new(), None);
    // Raw entries: otherwise tar would read long names and attributes into memory, whatever their length.
    for entry in archive.entries().map_err(Refused::Read)?.raw(true) {
        let mut entry = entry.map_err(|error| broken(error, head.is_none()))?;
        let length = entry.size();
        if entry.header().entry_type() == EntryType::GNULongName && long_name.is_none() && end.is_none() {
            long_name = Some(self::long_name(&mut entry, length)?);
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let name = String::from_utf8(name).map_err(|_| damaged("a name is not UTF-8"))?;
        if end.is_some() || entry.header().entry_type() != EntryType::Regular {
            return Err(damaged(format!("unexpected entry {name:?}")).into());
        }
        if name == END {
            end = Some(json::<End>(&mut entry, length)?);
            continue;
        }
        begin_entry(&mut sum, &name, length);
        let mut bytes = Summed { source: &mut entry, left: length, sum: &mut sum };
        if head.is_none() {
            if name != HEAD {
                return Err(Refused::NoBackup.into());
            }
            head = Some(self::head(&mut bytes, length)?);
            continue;
        }
        take(&name, length, &mut bytes)?;
        if bytes.left > 0 {
            return Err(damaged(format!("{name:?} was not read to its end")).into());
        }
    }
    let head = head.ok_or(Refused::NoBackup)?;
    let end = end.ok_or(Refused::CutOff)?;
    if end.blake3 != sum.finalize().to_hex().as_str() {
        return Err(damaged("its checksum does not match").into());
    }
    Ok((head, end))
}

/// Checks the format first, since another format may have other members.
fn head(bytes: &mut dyn Read, length: u64) -> Result<Head, Refused> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let head: serde_json::Value = json(bytes, length)?;
    let wrong = |error: serde_json::Error| damaged(error.to_string());
    match Format::deserialize(&head).map_err(wrong)?.format {
        FORMAT => Head::deserialize(&head).map_err(wrong),
        other => Err(Refused::Newer(other)),
    }
}

/// The name of the next entry, if it is too long for a header.
fn long_name(entry: &mut dyn Read, length: u64) -> Result<Vec<u8>, Refused> {
    if length > MAX_NAME {
        return Err(damaged(format!("a name of {length} bytes")));
    }
    let mut name = Vec::new();
    entry.take(MAX_NAME).read_to_end(&mut name).map_err(|error| broken(error, false))?;
    if name.len() as u64 != length {
        return Err(Refused::CutOff);
    }
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn damaged(why: impl Into<String>) -> Refused {
    Refused::Damaged(why.into())
}

/// Classifies an error of the tar reader, which marks a damaged header only by the error's kind.
fn broken(error: io::Error, is_first: bool) -> Refused {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Refused::CutOff,
        _ if is_first => Refused::NoBackup,
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => damaged(error.to_string()),
        _ => Refused::Read(error),
    }
}

fn json<T: for<'a> Deserialize<'a>>(bytes: &mut dyn Read, length: u64) -> Result<T, Refused> {
    let mut text = Vec::new();
    bytes.take(MAX_JSON).read_to_end(&mut text).map_err(|error| broken(error, false))?;
    if text.len() as u64 != length {
        return Err(Refused::CutOff);
    }
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

/// Copies all bytes, up to [`STEP`] at a time.
pub(super) fn copy(source: &mut dyn Read, mut step: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut buffer = vec![0; STEP];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => step(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error, false).into()),
        }
    }
}
