//! A manifest as JSON, read in memory that its own size and a limit of descriptors bound.
//!
//! Only known fields are kept, and only as much of them as the registry needs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{InvalidManifest, MAX_ANNOTATIONS, ParseError};

/// The known fields.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) schema_version: Option<u64>,
    pub(super) media_type: Option<String>,
    pub(super) artifact_type: Option<String>,
    pub(super) config: Option<WireDescriptor>,
    pub(super) layers: Option<Vec<WireDescriptor>>,
    pub(super) manifests: List,
    pub(super) subject: Option<WireDescriptor>,
    /// `None` if they are too large.
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(super) struct WireDescriptor {
    pub(super) media_type: Option<String>,
    pub(super) digest: String,
    pub(super) size: i64,
    #[serde(default, rename = "urls", deserialize_with = "has_urls")]
    pub(super) has_urls: bool,
    pub(super) data: Option<String>,
}

/// The list of an index. `null` is how Go writes an empty list, and distribution accepts it as one.
#[derive(Default)]
pub(super) enum List {
    #[default]
    Absent,
    Null,
    Items(Vec<WireDescriptor>),
}

impl List {
    pub(super) fn items(&self) -> &[WireDescriptor] {
        match self {
            List::Absent | List::Null => &[],
            List::Items(items) => items,
        }
    }
}

impl Wire {
    /// Reads a manifest with at most `max` descriptors in each list.
    pub(super) fn read(text: &str, max: usize) -> Result<Self, ParseError> {
        let exceeded = Cell::new(false);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = Whole(Descriptors { max, exceeded: &exceeded }).deserialize(&mut deserializer);
        match read.and_then(|wire| deserializer.end().map(|()| wire)) {
            Ok(wire) => Ok(wire),
            Err(_) if exceeded.get() => Err(ParseError::TooManyReferences),
            Err(error) => Err(InvalidManifest(format!("the manifest is not valid: {error}")).into()),
        }
    }
}

/// Reads the whole manifest.
struct Whole<'a>(Descriptors<'a>);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Wire;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Wire, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Wire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    // A key that stands twice is refused by `keys`.
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Wire, A::Error> {
        let mut wire = Wire { annotations: Some(BTreeMap::new()), ..Wire::default() };
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "schemaVersion" => wire.schema_version = fields.next_value()?,
                "mediaType" => wire.media_type = fields.next_value()?,
                "artifactType" => wire.artifact_type = fields.next_value()?,
                "config" => wire.config = fields.next_value()?,
                "layers" => wire.layers = fields.next_value_seed(self.0)?,
                "manifests" => wire.manifests = fields.next_value_seed(self.0)?.map_or(List::Null, List::Items),
                "subject" => wire.subject = fields.next_value()?,
                "annotations" => wire.annotations = fields.next_value::<SmallAnnotations>()?.0,
                _ => _ = fields.next_value::<IgnoredAny>()?,
            }
        }
        Ok(wire)
    }
}

/// Reads a list of descriptors, or `null`, and fails at one too many.
#[derive(Clone, Copy)]
struct Descriptors<'a> {
    max: usize,
    exceeded: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Descriptors<'_> {
    type Value = Option<Vec<WireDescriptor>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Descriptors<'_> {
    type Value = Option<Vec<WireDescriptor>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut descriptors = Vec::new();
        while let Some(descriptor) = list.next_element()? {
            if descriptors.len() >= self.max {
                self.exceeded.set(true);
                return Err(A::Error::custom("too many descriptors"));
            }
            descriptors.push(descriptor);
        }
        Ok(Some(descriptors))
    }
}

/// True for a list of texts that is not empty.
fn has_urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Urls;

    impl<'de> Visitor<'de> for Urls {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of URLs")
        }

        fn visit_unit<E>(self) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
            let mut any = false;
            while list.next_element::<String>()?.is_some() {
                any = true;
            }
            Ok(any)
        }
    }

    deserializer.deserialize_any(Urls)
}

/// Annotations; `None` if their texts are larger than [`MAX_ANNOTATIONS`].
struct SmallAnnotations(Option<BTreeMap<String, String>>);

impl<'de> Deserialize<'de> for SmallAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = SmallAnnotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations, which are texts by name")
            }

            fn visit_unit<E>(self) -> Result<SmallAnnotations, E> {
                Ok(SmallAnnotations(Some(BTreeMap::new())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut texts: A) -> Result<SmallAnnotations, A::Error> {
                let (mut small, mut bytes) = (BTreeMap::new(), 0);
                while let Some((name, text)) = texts.next_entry::<String, String>()? {
                    bytes += name.len() + text.len();
                    if bytes <= MAX_ANNOTATIONS {
                        small.insert(name, text);
                    }
                }
                Ok(SmallAnnotations((bytes <= MAX_ANNOTATIONS).then_some(small)))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}
