//! Parsed metadata, shared by all readers of a skyfile.
//!
//! Parsed metadata takes several times the memory of its JSON, and parsing the largest takes a tenth of a second. So it
//! is parsed once, and kept within a budget of memory.

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use skynet_formats::metadata::{Metadata, MetadataError, Subfile};
use skynet_formats::skylink::Skylink;

/// Bytes of memory for kept metadata. Metadata that is only in use by readers does not count.
const BUDGET: usize = 32 << 20;

/// Metadata with more bytes of JSON is parsed by one reader at a time.
const LARGE: usize = 64 << 10;

/// Approximate bytes of a subfile besides its texts: the struct, its key and its part of a node of the map.
const SUBFILE: usize = size_of::<Subfile>() + 2 * size_of::<String>();

/// The metadata of a skyfile.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The JSON, byte for byte.
    pub(super) raw: Bytes,
    pub(super) metadata: Metadata,
}

/// The recently parsed metadata by skylink. It never changes, since the skylink commits to it.
#[derive(Debug, Default)]
pub(super) struct ParsedMetadata {
    kept: Mutex<Kept>,
    /// Locked while large metadata is parsed.
    parsing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    by_link: HashMap<Skylink, Arc<Parsed>>,
    /// The oldest first.
    order: VecDeque<Skylink>,
    bytes: usize,
}

impl ParsedMetadata {
    /// The metadata of a skylink. Unless it is kept, `read` reads its JSON of `length` bytes. Blocks.
    pub(super) fn get<E: From<MetadataError>>(
        &self,
        skylink: Skylink,
        length: u64,
        read: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Arc<Parsed>, E> {
        if let Some(known) = self.known(&skylink) {
            return Ok(known);
        }
        // Otherwise many readers of one skylink would each parse it, and each copy would take memory.
        let _parsing = (length > LARGE as u64).then(|| self.parsing.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(known) = self.known(&skylink) {
            return Ok(known);
        }
        let raw = read()?;
        let metadata = Metadata::parse(&raw)?;
        let parsed = Arc::new(Parsed { raw, metadata });
        self.kept().keep(skylink, &parsed, BUDGET);
        Ok(parsed)
    }

    fn known(&self, skylink: &Skylink) -> Option<Arc<Parsed>> {
        self.kept().by_link.get(skylink).map(Arc::clone)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // After a panic, metadata may be in only one of the two collections. It is then still found, or still evicted.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, skylink: Skylink, parsed: &Arc<Parsed>, budget: usize) {
        let size = parsed.memory();
        if size > budget || self.by_link.contains_key(&skylink) {
            return;
        }
        self.by_link.insert(skylink, Arc::clone(parsed));
        self.order.push_back(skylink);
        self.bytes += size;
        while self.bytes > budget
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.by_link.remove(&oldest).map_or(0, |evicted| evicted.memory());
        }
    }
}

impl Parsed {
    /// Approximate bytes of memory.
    fn memory(&self) -> usize {
        let Metadata { filename, subfiles, try_files, error_pages, .. } = &self.metadata;
        let texts = |file: &Subfile| 2 * file.filename.len() + file.content_type.len();
        let files: usize = subfiles.values().map(|file| SUBFILE + texts(file)).sum();
        let others = try_files.iter().chain(error_pages.values()).map(|text| size_of::<String>() + text.len());
        size_of::<Self>() + self.raw.len() + filename.len() + files + others.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(files: usize) -> Arc<Parsed> {
        let subfile = |n: usize| (n.to_string(), Subfile { filename: n.to_string(), ..Subfile::default() });
        let subfiles = (0..files).map(subfile).collect();
        let metadata = Metadata { filename: "a".to_owned(), subfiles, ..Metadata::default() };
        Arc::new(Parsed { raw: metadata.to_bytes().into(), metadata })
    }

    fn link(n: u8) -> Skylink {
        let bytes: Vec<u8> = [0, 0].into_iter().chain([n; 32]).collect();
        data_encoding::BASE64URL_NOPAD.encode(&bytes).parse().unwrap()
    }

    #[test]
    fn no_more_is_kept_than_the_budget_and_the_oldest_goes() {
        let (one, mut kept) = (parsed(100), Kept::default());
        let budget = 5 * one.memory() / 2;
        for n in 0..4 {
            kept.keep(link(n), &one, budget);
            kept.keep(link(n), &one, budget);
            assert!(kept.bytes <= budget);
        }
        assert_eq!(kept.order, [link(2), link(3)]);
        assert_eq!(kept.bytes, 2 * one.memory());
        kept.keep(link(9), &parsed(1000), budget);
        assert_eq!(kept.order, [link(2), link(3)], "what does not fit evicts nothing");
    }

    /// Each request read and parsed the metadata.
    #[test]
    fn metadata_is_read_and_parsed_once() {
        let (known, json) = (ParsedMetadata::default(), parsed(3000).raw.clone());
        assert!(json.len() > LARGE);
        let mut reads = 0;
        for _ in 0..3 {
            let read = || {
                reads += 1;
                Ok::<_, MetadataError>(json.clone())
            };
            assert_eq!(known.get(link(1), json.len() as u64, read).unwrap().raw, json);
        }
        assert_eq!(reads, 1);
    }
}
