//! Reading a pushed manifest: what the registry must know of it. The bytes themselves are kept as they came.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer};
use skynet_formats::go_encoding::base64;

use super::{Digest, ManifestKind};

/// What a manifest says that concerns a registry.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type, by the request or the body.
    pub kind: ManifestKind,
    /// The manifest that it is about.
    pub subject: Option<Referenced>,
    /// `artifactType`, else the config's media type of an image manifest.
    pub artifact_type: Option<String>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Config, layers and child manifests, each digest once, in order.
    pub references: Vec<Referenced>,
    /// One digest is said to have two sizes.
    pub two_sizes: Option<InvalidManifest>,
}

/// Content that a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referenced {
    /// Which.
    pub digest: Digest,
    /// Its length by the descriptor.
    pub size: u64,
    /// It is the subject, or it has `urls` and a type that is never pushed: it need not be there.
    pub may_be_absent: bool,
}

/// Why bytes are no manifest that we take; the text is for the person who pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidManifest(String);

/// Deepest nesting that we take: real manifests have 5 levels, and a client's parser may recurse.
const MAX_DEPTH: usize = 64;

/// How deep brackets nest, strings aside. Fields that we skip are skipped without recursion, so nothing else counts it.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidManifest> {
    Err(InvalidManifest(why.into()))
}

// Known fields only: the rest is skipped without being held, so a 4 MiB manifest costs little more than itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    #[serde(default, deserialize_with = "nullable")]
    manifests: List,
    subject: Option<WireDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: Option<String>,
    digest: String,
    size: i64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    data: Option<String>,
}

/// A list of an index. `null` is how Go writes an empty one, and distribution takes it for that.
#[derive(Default)]
enum List {
    #[default]
    Absent,
    Null,
    Items(Vec<WireDescriptor>),
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<List, D::Error> {
    Option::deserialize(deserializer).map(|items| items.map_or(List::Null, List::Items))
}

impl List {
    fn items(&self) -> &[WireDescriptor] {
        match self {
            List::Absent | List::Null => &[],
            List::Items(items) => items,
        }
    }
}

impl Manifest {
    /// Reads `body` as pushed with the given `Content-Type`, if it had one.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, InvalidManifest> {
        let stated = content_type.map(|text| known_kind("Content-Type", text)).transpose()?.flatten();
        let text = std::str::from_utf8(body).map_err(|_| InvalidManifest("the manifest is not UTF-8".into()))?;
        if depth(text) > MAX_DEPTH {
            return invalid(format!("the manifest nests deeper than {MAX_DEPTH} levels"));
        }
        let wire: Wire = serde_json::from_str(text)
            .map_err(|error| InvalidManifest(format!("the manifest is not valid: {error}")))?;
        let own = wire.media_type.as_deref().map(|text| known_kind("mediaType", text)).transpose()?.flatten();
        check_schema_version(wire.schema_version)?;
        let kind = kind(stated, own, &wire)?;
        check_shape(kind, &wire)?;
        let subject = wire.subject.as_ref().map(|subject| subject.check("subject")).transpose()?;
        // A referrer may come before what it is about.
        let subject = subject.map(|subject| Referenced { may_be_absent: true, ..subject });
        let artifact_type = wire.artifact_type.filter(|kind| !kind.is_empty()).or_else(|| {
            let config = wire.config.as_ref().filter(|_| !kind.is_index())?;
            config.media_type.clone()
        });
        let descriptors = match kind.is_index() {
            true => wire.manifests.items().iter().collect::<Vec<_>>(),
            false => wire.config.iter().chain(wire.layers.iter().flatten()).collect(),
        };
        let (references, two_sizes) = references(&descriptors)?;
        Ok(Manifest {
            kind,
            subject,
            artifact_type,
            annotations: wire.annotations.unwrap_or_default(),
            references,
            two_sizes,
        })
    }
}

/// The kind that a media type names, if it is not empty. Another type comes before all other faults: by its own rules the
/// manifest may be right.
fn known_kind(from: &str, media_type: &str) -> Result<Option<ManifestKind>, InvalidManifest> {
    if media_type.trim().is_empty() {
        return Ok(None);
    }
    match ManifestKind::parse(media_type) {
        Some(kind) => Ok(Some(kind)),
        None => invalid(format!("{from} {:?} is no manifest type that this registry takes", shorten(media_type))),
    }
}

fn check_schema_version(version: Option<u64>) -> Result<(), InvalidManifest> {
    match version {
        Some(2) => Ok(()),
        Some(version) => invalid(format!("schemaVersion is {version}: only 2 is supported")),
        None => invalid("schemaVersion is missing: it must be 2"),
    }
}

/// The media type: of the request, which must agree with the body's own; else the body's; else by shape.
fn kind(stated: Option<ManifestKind>, own: Option<ManifestKind>, wire: &Wire) -> Result<ManifestKind, InvalidManifest> {
    match (stated, own) {
        (Some(stated), Some(body)) if stated != body => {
            invalid(format!("Content-Type is {stated}, the manifest's mediaType is {body}"))
        }
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
        (None, None) if !matches!(wire.manifests, List::Absent) && wire.config.is_none() => Ok(ManifestKind::OciIndex),
        (None, None) if wire.config.is_some() && !matches!(wire.manifests, List::Items(_)) => {
            Ok(ManifestKind::OciImage)
        }
        (None, None) => invalid("neither Content-Type nor mediaType says what this manifest is"),
    }
}

/// An image has a config, an index a list; one that has the other's fields could be read as either (CVE-2021-41190).
fn check_shape(kind: ManifestKind, wire: &Wire) -> Result<(), InvalidManifest> {
    match kind.is_index() {
        true if matches!(wire.manifests, List::Absent) => invalid("an index must have manifests"),
        true if wire.config.is_some() || wire.layers.is_some() => invalid("an index must not have config or layers"),
        false if wire.config.is_none() => invalid("an image manifest must have a config"),
        false if matches!(wire.manifests, List::Items(_)) => invalid("an image manifest must not have manifests"),
        _ => Ok(()),
    }
}

/// Each digest once, in order, with the first size stated; and whether one has two.
fn references(descriptors: &[&WireDescriptor]) -> Result<(Vec<Referenced>, Option<InvalidManifest>), InvalidManifest> {
    let mut two_sizes = None;
    let mut places = HashMap::new();
    let mut references: Vec<Referenced> = Vec::with_capacity(descriptors.len());
    for descriptor in descriptors {
        let reference = descriptor.check("descriptor")?;
        let place = *places.entry(reference.digest.clone()).or_insert(references.len());
        match references.get_mut(place) {
            None => references.push(reference),
            Some(first) => {
                first.may_be_absent &= reference.may_be_absent;
                if first.size != reference.size {
                    let (digest, one, other) = (&first.digest, first.size, reference.size);
                    let why = format!("{digest} is said to have {one} bytes and {other}");
                    two_sizes.get_or_insert(InvalidManifest(why));
                }
            }
        }
    }
    Ok((references, two_sizes))
}

impl WireDescriptor {
    fn check(&self, what: &str) -> Result<Referenced, InvalidManifest> {
        let digest: Digest = match self.digest.parse() {
            Ok(digest) => digest,
            Err(error) => return invalid(format!("{what} {:?}: {error}", shorten(&self.digest))),
        };
        let Ok(size) = u64::try_from(self.size) else {
            return invalid(format!("{what} {digest}: size {} is negative", self.size));
        };
        self.check_data(&digest)?;
        let may_be_absent = self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
            && self.media_type.as_deref().is_some_and(is_never_pushed);
        Ok(Referenced { digest, size, may_be_absent })
    }

    /// Embedded data that can be decoded must be what the digest says (image-spec, descriptor.md#embedded-content).
    fn check_data(&self, digest: &Digest) -> Result<(), InvalidManifest> {
        let Some(data) = self.data.as_deref().and_then(|data| base64(data.as_bytes())) else {
            return Ok(());
        };
        match digest.algorithm() {
            Some(algorithm) if Digest::of(algorithm, &data) != *digest => {
                invalid(format!("descriptor {digest}: its data is not the content of that digest"))
            }
            _ => Ok(()),
        }
    }
}

/// Layer types that clients leave where their `urls` say.
fn is_never_pushed(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
