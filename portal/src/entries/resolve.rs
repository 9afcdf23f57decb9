//! Following a resolver skylink over the entries of the store.

use storage_backends::skynet::entry::EntryId;
use storage_backends::skynet::resolver::{ResolveError, Resolved, resolve};
use storage_backends::skynet::skylink::Skylink;

use super::{EntryStore, EntryStoreError};

/// Why a skylink does not resolve here.
#[derive(Debug, thiserror::Error)]
pub enum ResolveLinkError {
    /// An entry on the way is not here. In skyd's words.
    #[error("registry entry not found")]
    Unknown(EntryId),
    /// The entries lead nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EntryStoreError),
}

impl EntryStore {
    /// The v1 skylink at the end of the way, and the entries on it: the proof. Blocks.
    pub fn resolve(&self, skylink: Skylink) -> Result<Resolved, ResolveLinkError> {
        resolve(skylink, |id| self.get(&id)?.ok_or(ResolveLinkError::Unknown(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, entry};
    use super::*;
    use storage_backends::skynet::entry::SignedEntry;
    use storage_backends::skynet::proof::{proof_header, verify_proof};

    const V1: &str = "XABvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg";

    fn v1() -> Skylink {
        V1.parse().unwrap()
    }

    fn link(entry: &SignedEntry) -> Skylink {
        Skylink::v2(*entry.id().as_bytes())
    }

    fn pointer(name: &str, revision: u64, target: Skylink) -> SignedEntry {
        entry(1, name, revision, &target.to_bytes())
    }

    #[test]
    fn a_way_over_two_entries_comes_with_its_proof() {
        let fixture = Fixture::new();
        let second = pointer("second", 0, v1());
        let first = pointer("first", 0, link(&second));
        let zeroth = pointer("zeroth", 0, link(&first));
        for entry in [&first, &second, &zeroth] {
            fixture.store.put(entry).unwrap();
        }
        let resolved = fixture.store.resolve(link(&first)).unwrap();
        assert_eq!(resolved, Resolved { skylink: v1(), passed: vec![first.clone(), second] });
        let header = proof_header(&resolved.passed).unwrap();
        assert_eq!(verify_proof(link(&first), &header).unwrap(), resolved);
        let deeper = fixture.store.resolve(link(&zeroth));
        assert!(matches!(deeper, Err(ResolveLinkError::Resolve(ResolveError::TooDeep))));
        assert_eq!(fixture.store.resolve(v1()).unwrap(), Resolved { skylink: v1(), passed: vec![] });
    }

    #[test]
    fn a_pointer_is_followed_to_what_it_says_now() {
        let fixture = Fixture::new();
        let asked = link(&pointer("tag", 0, v1()));
        assert!(matches!(fixture.store.resolve(asked), Err(ResolveLinkError::Unknown(_))));
        fixture.store.put(&pointer("tag", 0, v1())).unwrap();
        assert_eq!(fixture.store.resolve(asked).unwrap().skylink, v1());
        let other = "AACDPHoC2DCV_kLGUdpdRJr3CcxCmKadLGPi6OAMl7d48w".parse().unwrap();
        fixture.store.put(&pointer("tag", 1, other)).unwrap();
        assert_eq!(fixture.store.resolve(asked).unwrap().skylink, other);
        fixture.store.put(&entry(1, "tag", 2, &[0; 34])).unwrap();
        let deleted = fixture.store.resolve(asked);
        assert!(matches!(deleted, Err(ResolveLinkError::Resolve(ResolveError::Deleted))));
        fixture.store.put(&entry(1, "tag", 3, b"no skylink")).unwrap();
        let lost = fixture.store.resolve(asked);
        assert!(matches!(lost, Err(ResolveLinkError::Resolve(ResolveError::NotAPointer(_)))));
    }

    #[test]
    fn a_failing_disk_is_not_an_unknown_entry() {
        let fixture = Fixture::new();
        let entry = pointer("tag", 0, v1());
        std::fs::create_dir_all(fixture.store.place(&entry.id()).1).unwrap();
        assert!(matches!(fixture.store.resolve(link(&entry)), Err(ResolveLinkError::Store(_))));
    }
}
