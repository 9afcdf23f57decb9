//! Structs that are read from JSON objects only: serde alone would also accept an array of their fields.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::Subfile;

/// A struct that was read from an object.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A map of subfiles, each an object.
pub(super) fn subfiles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Subfile>, D::Error> {
    let subfiles = BTreeMap::<String, Object<Subfile>>::deserialize(deserializer)?;
    Ok(subfiles.into_iter().map(|(name, Object(subfile))| (name, subfile)).collect())
}
