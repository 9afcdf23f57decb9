//! Checks the keys of a pushed manifest, so that all clients read it alike.
//!
//! Go's `encoding/json`, used by most clients, ignores the case of keys. A client that does not would see another
//! manifest in the same bytes, as in CVE-2021-41190.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::InvalidManifest;

/// Most keys in one object, since each is compared with all others. Real manifests and descriptors have a dozen.
const MAX_KEYS: usize = 100;

/// The fields of manifests, indexes and descriptors in the specifications of OCI and Docker.
const FIELDS: &[&str] = &[
    "annotations",
    "artifactType",
    "blobs",
    "config",
    "data",
    "digest",
    "layers",
    "manifests",
    "mediaType",
    "platform",
    "schemaVersion",
    "size",
    "subject",
    "urls",
];

/// Refuses a manifest with two keys that are equal or differ only in case, or with a known field in another case.
/// Checks the top level and descriptors, but not annotations.
pub(super) fn check(json: &str) -> Result<(), InvalidManifest> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let checked = Part::Manifest.deserialize(&mut deserializer);
    checked.map_err(|error| InvalidManifest(format!("the manifest is not valid: {error}")))
}

/// A part of a manifest whose keys are checked.
#[derive(Clone, Copy)]
enum Part {
    Manifest,
    Descriptor,
    /// A list of descriptors.
    List,
}

impl Part {
    /// The part under this key.
    fn at(self, key: &str) -> Option<Part> {
        match (self, key) {
            (Part::Manifest, "config" | "subject") => Some(Part::Descriptor),
            (Part::Manifest, "layers" | "manifests" | "blobs") => Some(Part::List),
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let folded = fold(&key);
            if seen.contains(&folded) {
                return Err(A::Error::custom(format!(
                    "the key {key:?} is there twice, or differs from another one only in case"
                )));
            }
            if let Some(field) = FIELDS.iter().find(|field| **field != key && fold(field) == folded) {
                return Err(A::Error::custom(format!("the key {key:?} must be written {field:?}")));
            }
            if seen.len() == MAX_KEYS {
                return Err(A::Error::custom(format!("more than {MAX_KEYS} keys in one object, the next is {key:?}")));
            }
            seen.push(folded);
            match self.at(&key) {
                Some(part) => map.next_value_seed(part)?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !matches!(self, Part::List) {
            // Our parser would take its items for the fields of the object, in order; Go's would not.
            return Err(A::Error::custom("a list stands where an object must"));
        }
        while list.next_element_seed(Part::Descriptor)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The key as Go compares it with field names. All names are ASCII. Only two other characters have an ASCII letter in
/// another case: the Kelvin sign and the long s.
fn fold(key: &str) -> String {
    key.chars()
        .map(|character| match character {
            '\u{212a}' => 'k',
            '\u{17f}' => 's',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Option<String> {
        check(json).err().map(|error| error.to_string())
    }

    #[test]
    fn keys_that_go_reads_as_one_are_refused_with_their_name() {
        for (json, key) in [
            (r#"{"layers":[],"Layers":[]}"#, r#""Layers""#),
            (r#"{"config":{},"layers":[],"Manifests":[]}"#, r#""Manifests""#),
            (r#"{"CONFIG":{}}"#, r#""CONFIG""#),
            (r#"{"x":1,"x":2}"#, r#""x""#),
            (r#"{"x":1,"X":2}"#, r#""X""#),
            (r#"{"layerſ":[]}"#, r#""layerſ""#),
            (r#"{"\u006cayer\u017f":[]}"#, r#""layerſ""#),
            ("{\"k\":1,\"\u{212a}\":2}", "\"\u{212a}\""),
            (r#"{"config":{"digest":"a","Digest":"b"}}"#, r#""Digest""#),
            (r#"{"layers":[{},{"URLs":[]}]}"#, r#""URLs""#),
            (r#"{"manifests":[{"mediatype":""}]}"#, r#""mediatype""#),
            (r#"{"subject":{"ſize":1}}"#, r#""ſize""#),
            (r#"{"blobs":[{"a":1,"a":1}]}"#, r#""a""#),
        ] {
            let said = refused(json).unwrap_or_default();
            assert!(said.contains(key), "{json}: {said:?}");
        }
    }

    #[test]
    fn a_list_is_no_object() {
        for json in ["[]", r#"{"config":[]}"#, r#"{"subject":["a/b","sha256:00",1]}"#, r#"{"layers":[[]]}"#] {
            assert!(refused(json).is_some_and(|said| said.contains("a list stands where an object must")), "{json}");
        }
    }

    #[test]
    fn other_keys_are_taken() {
        for json in [
            r#"{"annotations":{"a":"1","A":"2","Layers":"3"}}"#,
            r#"{"config":{"annotations":{"Size":"1","size":"2"},"platform":{"os":"a","OS":"b"}}}"#,
            r#"{"org.example":{"Layers":[],"layers":[]},"layers":[]}"#,
            r#"{"layer":1,"layerss":2,"größe":1,"GRÖSSE":2,"ı":1,"i":2}"#,
            r#"{"layers":null,"config":"x","blobs":[1,-1,1.5,true,"Layers"],"subject":{}}"#,
        ] {
            assert_eq!(refused(json), None, "{json}");
        }
    }

    /// Each key is compared with all earlier ones.
    #[test]
    fn an_object_of_very_many_keys_is_refused() {
        let keys = |count: usize| {
            let all: Vec<String> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", all.join(","))
        };
        assert_eq!(refused(&keys(MAX_KEYS)), None);
        assert!(refused(&keys(MAX_KEYS + 1)).is_some());
    }
}
