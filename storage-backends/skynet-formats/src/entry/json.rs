//! The JSON of entries in the portal API (`/skynet/registry`), for both ends of it.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Entry, EntryError, EntryType, SIGNATURE_LENGTH, Signature, SignedEntry};
use crate::byte_string::Bytes;
use crate::datakey::DataKey;
use crate::public_key::PublicKey;

/// The body of `POST /skynet/registry`, and an element of the body of `/skynet/registrymulti` (whose `hostkey` is
/// ignored like every other unknown member). As in skyd, a missing field is empty or 0, where a signature allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPost {
    publickey: PublicKey,
    datakey: DataKey,
    #[serde(default)]
    revision: u64,
    #[serde(with = "numbers")]
    signature: Signature,
    #[serde(default)]
    data: Bytes,
    /// A Go client without types sends 0.
    #[serde(default, rename = "type")]
    kind: u8,
}

/// The answer to `GET /skynet/registry`, and a link of a `Skynet-Proof`. The members are in skyd's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryAnswer {
    #[serde(with = "hex")]
    data: Vec<u8>,
    revision: u64,
    datakey: DataKey,
    publickey: PublicKey,
    #[serde(with = "hex")]
    signature: Vec<u8>,
    /// Portals older than the types omit it.
    #[serde(default = "plain", rename = "type")]
    kind: u8,
}

fn plain() -> u8 {
    EntryType::Plain as u8
}

impl From<&SignedEntry> for EntryPost {
    fn from(signed: &SignedEntry) -> Self {
        EntryPost {
            publickey: signed.public_key,
            datakey: signed.entry.datakey,
            revision: signed.entry.revision,
            signature: signed.signature,
            data: Bytes(signed.entry.data.clone()),
            kind: signed.entry.kind as u8,
        }
    }
}

impl TryFrom<EntryPost> for SignedEntry {
    type Error = EntryError;

    fn try_from(post: EntryPost) -> Result<Self, EntryError> {
        let kind = EntryType::try_from(if post.kind == 0 { plain() } else { post.kind })?;
        Entry::new(kind, post.datakey, post.data.0, post.revision)?.signed(post.publickey, post.signature)
    }
}

impl From<&SignedEntry> for EntryAnswer {
    fn from(signed: &SignedEntry) -> Self {
        EntryAnswer {
            data: signed.entry.data.clone(),
            revision: signed.entry.revision,
            datakey: signed.entry.datakey,
            publickey: signed.public_key,
            signature: signed.signature.to_vec(),
            kind: signed.entry.kind as u8,
        }
    }
}

/// Returns an entry of the id that the answer names, which may differ from the requested id.
impl TryFrom<EntryAnswer> for SignedEntry {
    type Error = EntryError;

    fn try_from(answer: EntryAnswer) -> Result<Self, EntryError> {
        let kind = EntryType::try_from(answer.kind)?;
        let signature = answer.signature.try_into().map_err(|_| super::InvalidSignature)?;
        Entry::new(kind, answer.datakey, answer.data, answer.revision)?.signed(answer.publickey, signature)
    }
}

/// Bytes as text of hex digits.
mod hex {
    use super::{Deserialize, Deserializer, HEXLOWER, HEXLOWER_PERMISSIVE, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| de::Error::custom("not hex"))
    }
}

/// A signature as an array of numbers, the only form that skyd accepts. skyd also pads a short one and cuts a long one.
/// No signature survives that, so here the length must be right.
mod numbers {
    use super::{Deserializer, SIGNATURE_LENGTH, SeqAccess, SerializeTuple, Serializer, Signature, Visitor, de};

    pub(super) fn serialize<S: Serializer>(signature: &Signature, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_tuple(SIGNATURE_LENGTH)?;
        signature.iter().try_for_each(|byte| array.serialize_element(byte))?;
        array.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Signature, D::Error> {
        deserializer.deserialize_tuple(SIGNATURE_LENGTH, Numbers)
    }

    struct Numbers;

    impl<'de> Visitor<'de> for Numbers {
        type Value = Signature;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a signature: an array of 64 numbers from 0 to 255")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Signature, A::Error> {
            let mut signature = [0; SIGNATURE_LENGTH];
            for (at, byte) in signature.iter_mut().enumerate() {
                *byte = numbers.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &self))?;
            }
            Ok(signature)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{any_signed_entry, key};
    use super::*;
    use proptest::prelude::*;

    fn signed(revision: u64) -> SignedEntry {
        Entry::new(EntryType::Plain, DataKey::of_name("n"), b"abc".to_vec(), revision).unwrap().sign(&key(1))
    }

    /// With the revision put in as the JavaScript SDK does it: as text, since a number there has 53 bits.
    fn sdk_body(entry: &SignedEntry, revision: &str) -> String {
        let array = |bytes: &[u8]| serde_json::to_string(bytes).unwrap();
        format!(
            r#"{{"publickey":{{"algorithm":"ed25519","key":{}}},"datakey":"{}","revision":{revision},"data":{},"signature":{}}}"#,
            array(entry.public_key.as_bytes()),
            entry.entry.datakey,
            array(&entry.entry.data),
            array(&entry.signature)
        )
    }

    fn read_post(json: &str) -> Result<SignedEntry, String> {
        let post: EntryPost = serde_json::from_str(json).map_err(|error| error.to_string())?;
        SignedEntry::try_from(post).map_err(|error| error.to_string())
    }

    #[test]
    fn the_body_of_the_javascript_sdk_is_read() {
        for revision in [0, 1, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
            let entry = signed(revision);
            assert_eq!(read_post(&sdk_body(&entry, &revision.to_string())), Ok(entry));
        }
    }

    #[test]
    fn revisions_are_exact_integers() {
        let entry = signed(u64::MAX);
        for revision in ["18446744073709551616", "1.8446744073709552e19", "-1", "1.0", "1e0", "\"1\"", "true"] {
            assert!(read_post(&sdk_body(&entry, revision)).is_err(), "{revision}");
        }
    }

    #[test]
    fn what_a_go_client_leaves_empty_is_read() {
        let empty = Entry::new(EntryType::Plain, DataKey::of_name("n"), vec![], 0).unwrap().sign(&key(1));
        let mut json = serde_json::to_value(EntryPost::from(&empty)).unwrap();
        json["data"] = serde_json::Value::Null;
        json["type"] = 0.into();
        json["hostkey"] = "of another endpoint".into();
        assert_eq!(read_post(&json.to_string()), Ok(empty.clone()));
        for left_out in ["data", "type", "revision"] {
            json.as_object_mut().unwrap().shift_remove(left_out);
            assert_eq!(read_post(&json.to_string()), Ok(empty.clone()), "without {left_out}");
        }
        for needed in ["publickey", "datakey", "signature"] {
            let mut json = json.clone();
            json.as_object_mut().unwrap().shift_remove(needed);
            assert!(read_post(&json.to_string()).unwrap_err().contains(needed), "without {needed}");
        }
    }

    #[test]
    fn a_body_is_written_as_go_writes_it() {
        let json = serde_json::to_string(&EntryPost::from(&signed(7))).unwrap();
        let start = format!(
            r#"{{"publickey":{{"algorithm":"ed25519","key":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="}},"datakey":"{}","revision":7,"signature":["#,
            DataKey::of_name("n")
        );
        assert!(json.starts_with(&start), "{json}");
        assert!(json.ends_with(r#"],"data":"YWJj","type":1}"#), "{json}");
    }

    #[test]
    fn an_answer_is_written_as_skyd_writes_it() {
        let entry = signed(u64::MAX);
        let json = serde_json::to_string(&EntryAnswer::from(&entry)).unwrap();
        let expected = format!(
            r#"{{"data":"616263","revision":18446744073709551615,"datakey":"{}","publickey":{{"algorithm":"ed25519","key":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="}},"signature":"{}","type":1}}"#,
            DataKey::of_name("n"),
            HEXLOWER.encode(&entry.signature)
        );
        assert_eq!(json, expected);
        let old = json.replace(r#","type":1"#, "");
        let answer: EntryAnswer = serde_json::from_str(&old).unwrap();
        assert_eq!(SignedEntry::try_from(answer), Ok(entry), "of a portal from before the types");
    }

    #[test]
    fn data_past_the_limit_is_told_in_the_words_of_skyd() {
        let mut json = serde_json::to_value(EntryPost::from(&signed(0))).unwrap();
        json["data"] = vec![0_u8; 114].into();
        assert_eq!(read_post(&json.to_string()), Err("Registry data is too big: 114 > 113".to_owned()));
    }

    #[test]
    fn signatures_have_their_length() {
        let mut json = serde_json::to_value(EntryPost::from(&signed(0))).unwrap();
        for length in [0, 63, 65] {
            json["signature"] = vec![0_u8; length].into();
            assert!(serde_json::from_value::<EntryPost>(json.clone()).is_err(), "{length} bytes");
        }
        json["signature"] = "AAAA".into();
        assert!(serde_json::from_value::<EntryPost>(json).is_err(), "skyd takes no text here");
    }

    proptest! {
        #[test]
        fn entries_come_back(entry in any_signed_entry()) {
            let post = serde_json::to_string(&EntryPost::from(&entry)).unwrap();
            prop_assert_eq!(read_post(&post), Ok(entry.clone()));
            let answer = serde_json::to_string(&EntryAnswer::from(&entry)).unwrap();
            let answer: EntryAnswer = serde_json::from_str(&answer).unwrap();
            prop_assert_eq!(SignedEntry::try_from(answer), Ok(entry));
        }

        #[test]
        fn no_change_of_an_answer_is_believed(entry in any_signed_entry(), at: prop::sample::Index, to in "[0-9a-f]") {
            let json = serde_json::to_string(&EntryAnswer::from(&entry)).unwrap();
            let digits: Vec<_> = json.match_indices(|c: char| c.is_ascii_hexdigit()).map(|(at, _)| at).collect();
            let at = digits[at.index(digits.len())];
            let changed = format!("{}{to}{}", &json[..at], &json[at + 1..]);
            if let Ok(answer) = serde_json::from_str::<EntryAnswer>(&changed)
                && let Ok(read) = SignedEntry::try_from(answer)
            {
                prop_assert_eq!(read, entry, "{}", changed);
            }
        }
    }
}
