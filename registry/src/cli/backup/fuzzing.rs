//! Targets for fuzzing: an archive that is restored.

use std::io::Read;

use super::archive::{self, ArchiveWriter, Content, Counts, FORMAT, Head};

/// Longest content that is read at once.
const STEP: u64 = 1 << 16;

/// An archive as it is. Another use of the same bytes is the content of a whole one, which must come back.
pub(crate) fn archive(bytes: &[u8]) {
    let _ = archive::read(bytes, &mut |name, length, source| {
        assert!(name.len() <= bytes.len());
        let mut content = Vec::new();
        source.take(STEP).read_to_end(&mut content)?;
        assert!(content.len() as u64 <= length);
        Ok(())
    });
    let (name, content) = bytes.split_at(bytes.len().min(usize::from(bytes.first().copied().unwrap_or(0))));
    let name = format!("blobs/a{}", String::from_utf8_lossy(name).replace(['\0', '/', '.'], "x"));
    let (journal, program) = ("0".repeat(32), "fuzzing".to_owned());
    let head = Head { format: FORMAT, program, time: 0, journal, sequence: 1, content: Content::All };
    let made = ArchiveWriter::begin(Vec::new(), &head).and_then(|mut writer| {
        writer.add(&name, content.len() as u64, &mut &*content)?;
        writer.finish(Counts::default())
    });
    // Names above the limit of the format are refused when they are read.
    let Ok(made) = made else { return };
    let mut found = Vec::new();
    let read = archive::read(&made[..], &mut |name, _, source| {
        let mut content = Vec::new();
        source.read_to_end(&mut content)?;
        found.push((name.to_owned(), content));
        Ok(())
    });
    if name.len() < 512 {
        assert_eq!(read.expect("an archive that was made here").0, head);
        assert_eq!(found, [(name, content.to_vec())]);
    }
}
