//! `Skynet-Proof`: the entries that a portal followed from a v2 skylink to v1, so that clients need not trust it.

use thiserror::Error;

use super::entry::{EntryAnswer, EntryError, SignedEntry};
use super::resolver::{ResolveError, Resolved, resolve};
use super::skylink::Skylink;

/// The header's name.
pub const PROOF_HEADER: &str = "skynet-proof";

/// Longest accepted header in bytes; each of its at most two entries takes less than 1 KiB.
const PROOF_LIMIT: usize = 4096;

/// Reasons why a header proves nothing.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The header is longer than any proof.
    #[error("a proof of {0} bytes, more than {PROOF_LIMIT}")]
    TooLong(usize),
    /// The header is not a list of entries.
    #[error("a proof that is no list of entries: {0}")]
    Malformed(#[from] serde_json::Error),
    /// One of the entries is invalid.
    #[error("a proof with a bad entry: {0}")]
    Entry(#[from] EntryError),
    /// The entries end before a v1 skylink.
    #[error("a proof that ends before a v1 skylink")]
    EndsEarly,
    /// There are entries after the v1 skylink, or entries for a v1 skylink.
    #[error("a proof that goes on behind a v1 skylink")]
    GoesOn,
    /// The entries do not lead from one to the next.
    #[error("a proof of another skylink: {0}")]
    Resolve(#[from] ResolveError),
}

/// The header for these entries; `None` if there are none.
pub fn proof_header(passed: &[SignedEntry]) -> Option<String> {
    if passed.is_empty() {
        return None;
    }
    let list: Vec<EntryAnswer> = passed.iter().map(EntryAnswer::from).collect();
    Some(serde_json::to_string(&list).expect("texts and numbers are always JSON"))
}

/// The target of the requested skylink according to this header. Every signature is verified, and every entry must be
/// the one named by the link before it. The header cannot show that the entries are the newest.
pub fn verify_proof(asked: Skylink, header: &str) -> Result<Resolved, ProofError> {
    if header.len() > PROOF_LIMIT {
        return Err(ProofError::TooLong(header.len()));
    }
    let mut list = serde_json::from_str::<Vec<EntryAnswer>>(header)?.into_iter();
    let resolved = resolve::<ProofError>(asked, |_| {
        let answer = list.next().ok_or(ProofError::EndsEarly)?;
        Ok(SignedEntry::try_from(answer)?)
    })?;
    if list.next().is_some() { Err(ProofError::GoesOn) } else { Ok(resolved) }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::{any_signed_entry, portal_entry};
    use super::super::resolver::RESOLVE_DEPTH_LIMIT;
    use super::super::resolver::tests::{chain, holding, v1, v2};
    use super::*;
    use proptest::prelude::*;

    /// The proof that skynet-js tests with, as the portal sent it.
    const PORTAL_PROOF: &str = r#"[{"data":"5c006f8bb26d25b412300703c275279a9d852833e383cfed4d314fe01c0c4b155d12","revision":0,"datakey":"43c8a9b01609544ab152dad397afc3b56c1518eb546750dbc6cad5944fec0292","publickey":{"algorithm":"ed25519","key":"y/l99FyfFm6JPhZL5xSkruhA06Qh9m5S9rnipQCc+rw="},"signature":"5a1437508eedb6f5352d7f744693908a91bb05c01370ce4743de9c25f761b4e87760b8172448c073a4ddd9d58d1a2bf978b3227e57e4fa8cbe830a2353be2207","type":1}]"#;

    #[test]
    fn the_proof_of_a_portal_is_read_and_written() {
        let entry = portal_entry();
        assert_eq!(proof_header(std::slice::from_ref(&entry)).as_deref(), Some(PORTAL_PROOF));
        let asked = "AQDwh1jnoZas9LaLHC_D4-2yP9XYDdZzNtz62H4Dww1jDA".parse().unwrap();
        let resolved = verify_proof(asked, PORTAL_PROOF).unwrap();
        assert_eq!(resolved.skylink.to_string(), "XABvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg");
        assert_eq!(resolved.skylink.to_base32(), "bg06v2tidkir84hg0s1s4t97jaeoaa1jse1svrad657u070c9calq4g");
        assert_eq!(resolved.passed, [entry]);
    }

    #[test]
    fn chains_prove_what_they_resolve_to() {
        for length in 1..=RESOLVE_DEPTH_LIMIT {
            let chain = chain(length);
            let header = proof_header(&chain).unwrap();
            assert!(header.len() <= PROOF_LIMIT / 2);
            assert_eq!(verify_proof(v2(&chain[0]), &header).unwrap(), Resolved { skylink: v1(), passed: chain });
        }
        assert_eq!(proof_header(&[]), None);
        assert_eq!(verify_proof(v1(), "[]").unwrap(), Resolved { skylink: v1(), passed: vec![] });
    }

    #[test]
    fn what_proves_nothing() {
        let of = |asked, entries: &[SignedEntry]| verify_proof(asked, &proof_header(entries).unwrap()).unwrap_err();
        let two = chain(2);
        let three = chain(3);
        assert!(matches!(verify_proof(v2(&two[0]), "[]"), Err(ProofError::EndsEarly)));
        assert!(matches!(of(v2(&two[0]), &two[..1]), ProofError::EndsEarly));
        assert!(matches!(of(v2(&two[0]), &two[1..]), ProofError::Resolve(ResolveError::WrongEntry)));
        assert!(matches!(of(v2(&two[0]), &[two[0].clone(), portal_entry()]), ProofError::Resolve(_)));
        assert!(matches!(of(v2(&two[1]), &[two[1].clone(), two[1].clone()]), ProofError::GoesOn));
        assert!(matches!(of(v1(), &two[1..]), ProofError::GoesOn));
        assert!(matches!(of(v2(&three[0]), &three), ProofError::Resolve(ResolveError::TooDeep)));
        let deleted = holding("deleted", &[0; 34]);
        assert!(matches!(of(v2(&deleted), &[deleted]), ProofError::Resolve(ResolveError::Deleted)));
    }

    #[test]
    fn headers_of_hostile_portals() {
        let asked = v2(&portal_entry());
        let forged = PORTAL_PROOF.replace("\"revision\":0", "\"revision\":1");
        assert!(matches!(verify_proof(asked, &forged), Err(ProofError::Entry(EntryError::Signature(_)))));
        let untyped = PORTAL_PROOF.replace("\"type\":1", "\"type\":0");
        assert!(matches!(verify_proof(asked, &untyped), Err(ProofError::Entry(EntryError::UnknownType(0)))));
        let long = PORTAL_PROOF.replace("5c006f", &"00".repeat(2000));
        assert!(matches!(verify_proof(asked, &long), Err(ProofError::TooLong(_))));
        for header in ["", "null", "{}", "[null]", "[{}]", "[[", "[1]"] {
            assert!(matches!(verify_proof(asked, header), Err(ProofError::Malformed(_))), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_entries_lead_to_where_they_do_not_point(entries in prop::collection::vec(any_signed_entry(), 1..4)) {
            // Their data is arbitrary, so the last one practically never holds a skylink that would end the way.
            let header = proof_header(&entries).unwrap();
            if let Ok(resolved) = verify_proof(v2(&entries[0]), &header) {
                prop_assert_eq!(&resolved.skylink.to_bytes()[..], entries[0].entry().data());
            }
        }

        #[test]
        fn no_text_panics(header in ".{0,80}") {
            let _ = verify_proof(v1(), &header);
        }
    }
}
