//! From bodies and queries to entries and ids, with skyd's messages for invalid ones.

use std::collections::HashSet;

use serde::Deserialize;
use serving::Query;
use skynet_formats::datakey::DataKey;
use skynet_formats::entry::{EntryError, EntryId, EntryPost, SignedEntry};
use skynet_formats::public_key::PublicKey;

use crate::http::error::HttpError;

/// Most entries in one request: as many as a renter of Sia had hosts.
const ENTRIES_LIMIT: usize = 128;

/// An element of the body of `/skynet/registrymulti`. skyd sends each entry to the host that it names.
#[derive(Deserialize)]
struct HostPost {
    #[serde(flatten)]
    entry: EntryPost,
    #[serde(default)]
    hostkey: Option<PublicKey>,
}

/// The entry in the body of a POST, with a valid signature.
pub(super) fn entry(body: &[u8]) -> Result<SignedEntry, HttpError> {
    signed(json::<EntryPost>(body)?)
}

/// The entries in the body of a POST of several, with valid signatures.
pub(super) fn entries(body: &[u8]) -> Result<Vec<SignedEntry>, HttpError> {
    let posts = json::<Vec<HostPost>>(body)?;
    if posts.is_empty() {
        return Err(HttpError::bad_request("Unable to update the registry: all registry updates failed"));
    }
    if posts.len() > ENTRIES_LIMIT {
        return Err(HttpError::bad_request(format!("more than {ENTRIES_LIMIT} entries in one request")));
    }
    let mut hosts = HashSet::new();
    if !posts.iter().all(|post| hosts.insert(post.hostkey)) {
        return Err(HttpError::bad_request("Updating multiple entries on one host is not supported"));
    }
    posts.into_iter().map(|post| signed(post.entry)).collect()
}

/// The first JSON value of a body; like Go's decoder, it ignores the rest.
fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HttpError> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(body))
        .map_err(|error| HttpError::bad_request(format!("Failed to decode request: {error}")))
}

fn signed(post: EntryPost) -> Result<SignedEntry, HttpError> {
    SignedEntry::try_from(post).map_err(|error| {
        HttpError::bad_request(match error {
            // skyd detects this before anything else, and reports it without a prefix.
            EntryError::TooMuchData(_) => error.to_string(),
            EntryError::Signature(_) => {
                format!("Unable to update the registry: failed to verify signature of entry: {error}")
            }
            EntryError::NoHostKey | EntryError::UnknownType(_) => format!("Unable to update the registry: {error}"),
        })
    })
}

/// The id of the requested entry, from `publickey` and `datakey`, or from `entryid` alone. A missing key is as wrong as
/// an invalid one.
pub(super) fn wanted(query: &Query) -> Result<EntryId, HttpError> {
    match (given(query, "publickey"), given(query, "datakey"), given(query, "entryid")) {
        // An id is 32 bytes of hex, as a datakey is.
        (None, None, Some(id)) => Ok(EntryId::from_bytes(*data_key(id, "'entryid'")?.as_bytes())),
        (key, datakey, _) => {
            let key = public_key(key.unwrap_or_default())?;
            Ok(EntryId::of(&key, &data_key(datakey.unwrap_or_default(), "dataKey")?))
        }
    }
}

/// The id in a query for the health of an entry, where skyd first checks that all parameters are present.
pub(super) fn wanted_of_health(query: &Query) -> Result<EntryId, HttpError> {
    match (given(query, "publickey"), given(query, "datakey"), given(query, "entryid")) {
        (Some(_), Some(_), _) | (None, None, Some(_)) => wanted(query),
        _ => Err(HttpError::bad_request("Need to specify either publickey and datakey or entryid")),
    }
}

/// A parameter without a value counts as absent.
fn given<'a>(query: &'a Query, name: &'a str) -> Option<&'a str> {
    query.get(name).filter(|text| !text.is_empty())
}

fn public_key(text: &str) -> Result<PublicKey, HttpError> {
    text.parse().map_err(|error| HttpError::bad_request(format!("Unable to parse publickey param: {error}")))
}

fn data_key(text: &str, name: &str) -> Result<DataKey, HttpError> {
    text.parse().map_err(|_| HttpError::bad_request(format!("Unable to decode {name} param: not 64 hex digits")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_a_datakey_or_an_id_are_needed() {
        let (key, zeros) = ("ed25519%3A".to_owned() + &"ab".repeat(32), "00".repeat(32));
        let of = |query: String| wanted(&Query::parse(Some(&query))).ok();
        let by_key = of(format!("publickey={key}&datakey={zeros}")).unwrap();
        assert_eq!(of(format!("entryid={by_key}")), Some(by_key));
        for refused in [
            String::new(),
            format!("publickey={key}"),
            format!("datakey={zeros}"),
            format!("publickey={key}&datakey=zz"),
            format!("publickey=x&datakey={zeros}"),
            format!("publickey={key}&entryid={zeros}"),
            "entryid=00".to_owned(),
        ] {
            assert_eq!(of(refused.clone()), None, "{refused}");
            assert!(wanted_of_health(&Query::parse(Some(&refused))).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z0-9]{0,80}") {
            for body in [&body[..], text.as_bytes()] {
                prop_assert!(entry(body).is_err());
                prop_assert!(entries(body).is_err());
            }
        }

        #[test]
        fn no_query_panics(text in "(publickey=|datakey=|entryid=|ed25519:|&|[0-9a-f]{0,70}|.){0,8}") {
            let _ = wanted(&Query::parse(Some(&text)));
        }
    }
}
