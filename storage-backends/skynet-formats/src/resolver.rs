//! Entries as pointers: from a v2 skylink through its entries to a v1 skylink.

use thiserror::Error;

use super::entry::{Entry, EntryId, SignedEntry};
use super::skylink::{Skylink, SkylinkError, Target};

/// Most entries between a skylink and its v1 skylink, as in skyd's release builds.
pub const RESOLVE_DEPTH_LIMIT: usize = 2;

/// The data of a pointer after its target was removed. It would also be a v1 skylink, of a sector that cannot exist.
const DELETED: [u8; Skylink::SIZE] = [0; Skylink::SIZE];

/// The target of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// A skylink of any version.
    To(Skylink),
    /// The target was removed.
    Deleted,
}

/// Reasons why an entry is not a pointer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotAPointer {
    /// Its data does not have the length of a skylink.
    #[error("an entry with {0} bytes of data is no pointer: a skylink has {len}", len = Skylink::SIZE)]
    Length(usize),
    /// Its data has the right length, but is not a skylink.
    #[error(transparent)]
    Skylink(#[from] SkylinkError),
}

impl Pointer {
    /// Reads all of an entry's data for every type, as skyd does.
    pub fn of(entry: &Entry) -> Result<Self, NotAPointer> {
        let data: &[u8; Skylink::SIZE] =
            entry.data().try_into().map_err(|_| NotAPointer::Length(entry.data().len()))?;
        if *data == DELETED { Ok(Pointer::Deleted) } else { Ok(Pointer::To(Skylink::from_bytes(data)?)) }
    }

    /// The data of an entry with this target.
    pub fn to_data(self) -> [u8; Skylink::SIZE] {
        match self {
            Pointer::To(skylink) => skylink.to_bytes(),
            Pointer::Deleted => DELETED,
        }
    }
}

/// The result of following a skylink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The v1 skylink at the end.
    pub skylink: Skylink,
    /// The entries followed, in order; empty if the skylink was v1.
    pub passed: Vec<SignedEntry>,
}

/// Reasons why a skylink leads nowhere.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    /// There are more than [`RESOLVE_DEPTH_LIMIT`] entries on the way. The words are skyd's.
    #[error("skylink is nested more times than is supported")]
    TooDeep,
    /// An entry on the way has another id than required.
    #[error("an entry of another id than the one asked for")]
    WrongEntry,
    /// An entry on the way says that the target was removed.
    #[error("the skylink was deleted")]
    Deleted,
    /// An entry on the way is not a pointer.
    #[error(transparent)]
    NotAPointer(#[from] NotAPointer),
}

/// Follows a skylink to v1. A resolver looks entries up in a store, a verifier takes them from a proof. Both use this
/// function, so they cannot get different results.
pub fn resolve<E: From<ResolveError>>(
    skylink: Skylink,
    mut look_up: impl FnMut(EntryId) -> Result<SignedEntry, E>,
) -> Result<Resolved, E> {
    let mut resolved = Resolved { skylink, passed: Vec::new() };
    while let Target::Entry(id) = resolved.skylink.target() {
        if resolved.passed.len() == RESOLVE_DEPTH_LIMIT {
            return Err(ResolveError::TooDeep.into());
        }
        let id = EntryId::from_bytes(id);
        let entry = look_up(id)?;
        if entry.id() != id {
            return Err(ResolveError::WrongEntry.into());
        }
        match Pointer::of(entry.entry()).map_err(ResolveError::from)? {
            Pointer::To(next) => resolved.skylink = next,
            Pointer::Deleted => return Err(ResolveError::Deleted.into()),
        }
        resolved.passed.push(entry);
    }
    Ok(resolved)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::datakey::DataKey;
    use super::super::entry::EntryType;
    use super::super::entry::tests::{key, portal_entry, unhex};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn v1() -> Skylink {
        skylink("5c006f8bb26d25b412300703c275279a9d852833e383cfed4d314fe01c0c4b155d12")
    }

    pub(crate) fn skylink(hex: &str) -> Skylink {
        Skylink::from_bytes(unhex(hex).first_chunk().unwrap()).unwrap()
    }

    pub(crate) fn v2(entry: &SignedEntry) -> Skylink {
        Skylink::v2(*entry.id().as_bytes())
    }

    /// Holds these bytes, at the datakey of that name.
    pub(crate) fn holding(name: &str, data: &[u8]) -> SignedEntry {
        Entry::new(EntryType::Plain, DataKey::of_name(name), data.to_vec(), 0).unwrap().sign(&key(1))
    }

    /// So many entries, each pointing to the next and the last one to v1.
    pub(crate) fn chain(length: usize) -> Vec<SignedEntry> {
        let mut chain: Vec<SignedEntry> = Vec::new();
        for at in 0..length {
            let target = chain.last().map_or(v1(), v2);
            chain.push(holding(&at.to_string(), &Pointer::To(target).to_data()));
        }
        chain.reverse();
        chain
    }

    fn resolve_among(skylink: Skylink, entries: &[SignedEntry]) -> Result<Resolved, ResolveError> {
        resolve(skylink, |id| {
            // A missing entry is answered with another one, as by an untrusted store.
            Ok(entries.iter().find(|entry| entry.id() == id).unwrap_or(&entries[0]).clone())
        })
    }

    #[test]
    fn the_pointer_of_a_portal_leads_to_its_skylink() {
        let entry = portal_entry();
        let resolved = resolve_among(v2(&entry), std::slice::from_ref(&entry));
        assert_eq!(resolved, Ok(Resolved { skylink: v1(), passed: vec![entry] }));
    }

    #[test]
    fn a_link_of_the_first_version_is_its_own_end() {
        let resolved = resolve(v1(), |_| Err(ResolveError::WrongEntry));
        assert_eq!(resolved, Ok(Resolved { skylink: v1(), passed: vec![] }));
    }

    #[test]
    fn the_depth_is_that_of_release_skyd() {
        for length in 1..=RESOLVE_DEPTH_LIMIT {
            let chain = chain(length);
            let resolved = resolve_among(v2(&chain[0]), &chain);
            assert_eq!(resolved, Ok(Resolved { skylink: v1(), passed: chain }));
        }
        let chain = chain(RESOLVE_DEPTH_LIMIT + 1);
        assert_eq!(resolve_among(v2(&chain[0]), &chain), Err(ResolveError::TooDeep));
    }

    #[test]
    fn a_circle_ends() {
        let id = holding("a circle", b"").id();
        let entry = holding("a circle", &Skylink::v2(*id.as_bytes()).to_bytes());
        assert_eq!(resolve_among(v2(&entry), &[entry]), Err(ResolveError::TooDeep));
    }

    #[test]
    fn another_entry_than_the_one_asked_for_is_refused() {
        let asked = v2(&holding("asked for", &[]));
        assert_eq!(resolve_among(asked, &[portal_entry()]), Err(ResolveError::WrongEntry));
    }

    #[test]
    fn only_zeros_of_the_right_length_are_a_deletion() {
        let of = |data: &[u8]| Pointer::of(holding("", data).entry());
        assert_eq!(of(&[0; 34]), Ok(Pointer::Deleted));
        assert_eq!(Pointer::Deleted.to_data(), [0; 34]);
        for length in [0, 33, 35, 113] {
            assert_eq!(of(&vec![0; length]), Err(NotAPointer::Length(length)));
        }
        let deleted = holding("", &[0; 34]);
        assert_eq!(resolve_among(v2(&deleted), &[deleted]), Err(ResolveError::Deleted));
    }

    #[test]
    fn what_is_no_skylink_is_no_pointer() {
        for start in [[2, 0], [3, 0], [5, 0], [1, 1]] {
            let entry = holding("", &[&start[..], &[9; 32]].concat());
            assert!(matches!(Pointer::of(entry.entry()), Err(NotAPointer::Skylink(_))), "{start:?}");
            assert!(resolve_among(v2(&entry), &[entry]).is_err());
        }
    }

    proptest! {
        #[test]
        fn pointers_are_the_bytes_that_they_were_read_from(data in prop::collection::vec(any::<u8>(), 30..38)) {
            if let Ok(pointer) = Pointer::of(holding("", &data).entry()) {
                prop_assert_eq!(&pointer.to_data()[..], &data[..]);
            }
        }
    }
}
