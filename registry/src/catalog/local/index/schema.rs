//! The index's tables, each with a prefix of one byte, and the encoding of their keys.
//!
//! Names end in a zero byte, which sorts below any byte of a name. So a scan returns byte order, and no name is a
//! prefix of another one's keys. Digests of known algorithms are written as raw bytes, half the length of their text.
//! They sort like their text, since the algorithm's name and colon stay in front.

use crate::catalog::fact::Locator;
use crate::oci::{Algorithm, Digest, RepositoryName, Tag};

/// The sled tree with all tables. A change of the layout changes this name and causes a rebuild.
pub(crate) const TREE: &str = "index.v1";

/// The version expected in the meta record.
pub(crate) const VERSION: u32 = 1;

/// The table of a key: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    /// The one record about the index itself.
    Meta = 0,
    /// repository -> visibility
    Repository = 1,
    /// repository, digest -> size of a linked blob
    Blob = 2,
    /// repository, digest -> manifest record
    Manifest = 3,
    /// repository, tag -> digest
    Tag = 4,
    /// repository, digest, tag -> when it was set, or nothing: the tags of a manifest
    TagOf = 5,
    /// repository, target, manifest -> nothing: the manifests that reference the target
    Reference = 6,
    /// repository, subject, manifest -> nothing
    Referrer = 7,
    /// digest, kind, repository or digest -> nothing: the references to content, by kind
    Holder = 8,
    /// repository -> nothing, if it has a manifest
    Catalogued = 9,
    /// digest -> list of unit roots
    UnitRoots = 10,
    /// digest, locator -> placement
    Placement = 11,
    /// digest, locator -> nothing: placements with a pending unpin
    Unpin = 12,
}

/// The kind of a reference to content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum HolderKind {
    /// A blob link of a repository.
    Blob = 0,
    /// A manifest of a repository.
    Manifest = 1,
    /// The list of unit roots of other, referenced content.
    UnitRoots = 2,
}

/// Builds a key, or a prefix of keys, part by part.
#[derive(Clone, Debug)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    /// The key of the meta record.
    pub(crate) fn meta() -> Vec<u8> {
        Key::of(Table::Meta).bytes()
    }

    /// Starts a key of a table.
    pub(crate) fn of(table: Table) -> Self {
        let mut bytes = Vec::with_capacity(96);
        bytes.push(table as u8);
        Key(bytes)
    }

    /// Appends a name without zero bytes. To start a scan, any text will do.
    pub(crate) fn name(mut self, name: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self
    }

    /// Appends a repository.
    pub(crate) fn repository(self, name: &RepositoryName) -> Self {
        self.name(name.as_str())
    }

    /// Appends a tag.
    pub(crate) fn tag(self, tag: &Tag) -> Self {
        self.name(tag.as_str())
    }

    /// Appends a digest.
    pub(crate) fn digest(mut self, digest: &Digest) -> Self {
        let Some(algorithm) = digest.algorithm() else { return self.name(digest.as_str()) };
        self.0.extend_from_slice(algorithm.name().as_bytes());
        self.0.push(b':');
        self.0.extend(unhex(digest.encoded()));
        self
    }

    /// Appends the parts of a locator that identify a copy.
    pub(crate) fn locator(self, locator: &Locator) -> Self {
        self.name(&locator.kind).name(&locator.profile).name(&locator.address)
    }

    /// Appends the kind of a reference.
    pub(crate) fn kind(mut self, kind: HolderKind) -> Self {
        self.0.push(kind as u8);
        self
    }

    /// The key's bytes.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads the parts of a key after a prefix. `None` means that the key does not have its table's form.
#[derive(Debug)]
pub(crate) struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    /// Reads the key after `prefix`.
    pub(crate) fn after(prefix: &[u8], key: &'a [u8]) -> Option<Self> {
        key.strip_prefix(prefix).map(KeyReader)
    }

    fn name(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&self.0[..end]).ok()?;
        self.0 = &self.0[end + 1..];
        Some(name)
    }

    /// The next part as a repository.
    pub(crate) fn repository(&mut self) -> Option<RepositoryName> {
        self.name()?.parse().ok()
    }

    /// The next part as a tag.
    pub(crate) fn tag(&mut self) -> Option<Tag> {
        self.name()?.parse().ok()
    }

    /// The unread rest.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next part as the kind of a reference.
    pub(crate) fn kind(&mut self) -> Option<HolderKind> {
        let (kind, rest) = self.0.split_first()?;
        self.0 = rest;
        match kind {
            0 => Some(HolderKind::Blob),
            1 => Some(HolderKind::Manifest),
            2 => Some(HolderKind::UnitRoots),
            _ => None,
        }
    }

    /// The next part as a digest.
    pub(crate) fn digest(&mut self) -> Option<Digest> {
        let colon = self.0.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&self.0[..colon]).ok()?;
        let Some(algorithm) = Algorithm::from_name(name) else { return self.name()?.parse().ok() };
        let (hash, rest) = self.0[colon + 1..].split_at_checked(algorithm.hex_length() / 2)?;
        self.0 = rest;
        Some(Digest::from_hash(algorithm, hash))
    }
}

/// Decodes the hex of a digest. A known algorithm guarantees lower-case hex of even length.
fn unhex(hex: &str) -> impl Iterator<Item = u8> + '_ {
    let nibble = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
    hex.as_bytes().chunks_exact(2).map(move |pair| nibble(pair[0]) << 4 | nibble(pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        text.parse().unwrap()
    }

    #[test]
    fn every_part_comes_back() {
        let repository: RepositoryName = "a/b".parse().unwrap();
        let tag: Tag = "v1".parse().unwrap();
        for text in
            [format!("sha256:{}", "0f".repeat(32)), format!("sha512:{}", "a0".repeat(64)), "x+y:Ab=_-".to_string()]
        {
            let key = Key::of(Table::TagOf).repository(&repository).digest(&digest(&text)).tag(&tag).bytes();
            let mut reader = KeyReader::after(&[Table::TagOf as u8], &key).unwrap();
            assert_eq!(reader.repository().as_ref(), Some(&repository));
            assert_eq!(reader.digest(), Some(digest(&text)));
            assert_eq!(reader.tag().as_ref(), Some(&tag));
        }
    }

    #[test]
    fn keys_sort_as_names_and_digests_do() {
        let mut names = ["a", "a/b", "a-b", "a.b", "ab", "a0", "b"];
        names.sort_unstable();
        let keys: Vec<_> = names.iter().map(|name| Key::of(Table::Repository).name(name).bytes()).collect();
        assert!(keys.is_sorted());
        let digests = [
            digest("aes:z"),
            digest(&format!("blake3:{}", "ff".repeat(32))),
            digest("md5+b64:Kg=="),
            digest(&format!("sha256:{}", "00".repeat(32))),
            digest(&format!("sha256:{}", "01".repeat(32))),
            digest("sha256x:00"),
            digest("sha25:zz"),
            digest(&format!("sha512:{}", "00".repeat(64))),
        ];
        assert!(digests.is_sorted());
        let keys: Vec<_> = digests.iter().map(|digest| Key::of(Table::UnitRoots).digest(digest).bytes()).collect();
        assert!(keys.is_sorted());
    }

    #[test]
    fn a_cut_key_is_no_key() {
        let key = Key::of(Table::UnitRoots).digest(&digest(&format!("sha256:{}", "00".repeat(32)))).bytes();
        for length in 1..key.len() {
            let mut reader = KeyReader::after(&[Table::UnitRoots as u8], &key[..length]).unwrap();
            assert_eq!(reader.digest(), None, "{length}");
        }
    }
}
