//! Parses a pushed manifest into what the registry must know of it. The bytes are stored unchanged.

mod keys;
mod wire;

use std::collections::{BTreeMap, HashMap};

use skynet_formats::go_encoding::base64;

use self::wire::{List, Wire, WireDescriptor};
use super::{Digest, ManifestKind};

/// Largest annotations, in bytes of their texts, that [`Manifest::annotations`] has.
pub const MAX_ANNOTATIONS: usize = 4 * 1024;

/// The parts of a manifest that concern a registry.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type, from the request or else the body.
    pub kind: ManifestKind,
    /// The manifest that this one refers to as its subject.
    pub subject: Option<Referenced>,
    /// `artifactType`; without it, for an image manifest, the config's media type.
    pub artifact_type: Option<String>,
    /// `annotations`; `None` if they are larger than [`MAX_ANNOTATIONS`].
    pub annotations: Option<BTreeMap<String, String>>,
    /// Config, layers and child manifests: each digest once, in order.
    pub references: Vec<Referenced>,
    /// Set if two descriptors of one digest state different sizes.
    pub two_sizes: Option<InvalidManifest>,
}

/// Content that a manifest references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referenced {
    /// Digest of the content.
    pub digest: Digest,
    /// Length in bytes, by the descriptor.
    pub size: u64,
    /// True for the subject, and for content with `urls` whose type is never pushed: it need not be in the registry.
    pub may_be_absent: bool,
}

/// Why a body is not an accepted manifest, in words for the user that pushed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidManifest(String);

/// Why a body is not parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not an accepted manifest.
    #[error(transparent)]
    Invalid(#[from] InvalidManifest),
    /// It has more descriptors than the caller accepts.
    #[error("the manifest has too many references")]
    TooManyReferences,
}

/// Deepest accepted nesting. Real manifests have 5 levels, and a client's parser may recurse.
const MAX_DEPTH: usize = 64;

/// How deep brackets nest outside strings. The parser skips unknown fields without recursion, so it does not limit
/// this.
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

impl Manifest {
    /// Parses `body`, pushed with the given `Content-Type` if the request had one. Its config and layers, or children,
    /// may be `max_references`.
    pub fn parse(content_type: Option<&str>, body: &[u8], max_references: usize) -> Result<Self, ParseError> {
        let stated = content_type.map(|text| known_kind("Content-Type", text)).transpose()?.flatten();
        let text = std::str::from_utf8(body).map_err(|_| InvalidManifest("the manifest is not UTF-8".into()))?;
        if depth(text) > MAX_DEPTH {
            return Err(InvalidManifest(format!("the manifest nests deeper than {MAX_DEPTH} levels")).into());
        }
        if !text.trim_start().starts_with('{') {
            return Err(InvalidManifest("the manifest is not a JSON object".into()).into());
        }
        let wire = Wire::read(text, max_references)?;
        let own = wire.media_type.as_deref().map(|text| known_kind("mediaType", text)).transpose()?.flatten();
        keys::check(text)?;
        check_schema_version(wire.schema_version)?;
        let kind = kind(stated, own, &wire)?;
        check_shape(kind, &wire)?;
        // Text without spaces and control characters, as in a media type (RFC 6838).
        if wire.artifact_type.as_ref().is_some_and(|kind| !kind.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(InvalidManifest("artifactType is not a media type".into()).into());
        }
        let subject = wire.subject.as_ref().map(|subject| subject.check("subject")).transpose()?;
        // A referrer may be pushed before its subject.
        let subject = subject.map(|subject| Referenced { may_be_absent: true, ..subject });
        let artifact_type = wire.artifact_type.filter(|kind| !kind.is_empty()).or_else(|| {
            let config = wire.config.as_ref().filter(|_| !kind.is_index())?;
            config.media_type.clone()
        });
        let descriptors = match kind.is_index() {
            true => wire.manifests.items().iter().collect::<Vec<_>>(),
            false => wire.config.iter().chain(wire.layers.iter().flatten()).collect(),
        };
        if descriptors.len() > max_references {
            return Err(ParseError::TooManyReferences);
        }
        let (references, two_sizes) = references(&descriptors)?;
        Ok(Manifest { kind, subject, artifact_type, annotations: wire.annotations, references, two_sizes })
    }
}

/// The kind that a media type names; `None` if it is empty. An unknown type is reported before any other fault, since
/// the manifest may be right by the rules of its own type.
fn known_kind(from: &str, media_type: &str) -> Result<Option<ManifestKind>, InvalidManifest> {
    if media_type.trim().is_empty() {
        return Ok(None);
    }
    match ManifestKind::parse(media_type) {
        Some(kind) => Ok(Some(kind)),
        None => invalid(format!("{from} {:?} is not a manifest type that this registry accepts", shorten(media_type))),
    }
}

fn check_schema_version(version: Option<u64>) -> Result<(), InvalidManifest> {
    match version {
        Some(2) => Ok(()),
        Some(version) => invalid(format!("schemaVersion is {version}: only 2 is supported")),
        None => invalid("schemaVersion is missing: it must be 2"),
    }
}

/// The media type: from the request, which must agree with the body's `mediaType`; else from the body; else by shape.
fn kind(stated: Option<ManifestKind>, own: Option<ManifestKind>, wire: &Wire) -> Result<ManifestKind, InvalidManifest> {
    match (stated, own) {
        (Some(stated), Some(body)) if stated != body => {
            invalid(format!("Content-Type is {stated}, but the manifest's mediaType is {body}"))
        }
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
        (None, None) if !matches!(wire.manifests, List::Absent) && wire.config.is_none() => Ok(ManifestKind::OciIndex),
        (None, None) if wire.config.is_some() && !matches!(wire.manifests, List::Items(_)) => {
            Ok(ManifestKind::OciImage)
        }
        (None, None) => invalid("neither Content-Type nor mediaType says what kind of manifest this is"),
    }
}

/// Refuses a manifest with fields of the other shape, since clients could read it as either (CVE-2021-41190).
fn check_shape(kind: ManifestKind, wire: &Wire) -> Result<(), InvalidManifest> {
    match kind.is_index() {
        true if matches!(wire.manifests, List::Absent) => invalid("an index must have manifests"),
        true if wire.config.is_some() || wire.layers.is_some() => invalid("an index must not have config or layers"),
        false if wire.config.is_none() => invalid("an image manifest must have a config"),
        false if matches!(wire.manifests, List::Items(_)) => invalid("an image manifest must not have manifests"),
        _ => Ok(()),
    }
}

/// References with each digest once, in order, with the first size stated. Also the fault if one digest has two sizes.
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
                    let why = format!("two descriptors of {digest} state different sizes: {one} and {other}");
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
        let may_be_absent = self.has_urls && self.media_type.as_deref().is_some_and(is_never_pushed);
        Ok(Referenced { digest, size, may_be_absent })
    }

    /// Checks embedded data against the digest, if it can be decoded (image-spec, descriptor.md#embedded-content).
    fn check_data(&self, digest: &Digest) -> Result<(), InvalidManifest> {
        let Some(data) = self.data.as_deref().and_then(|data| base64(data.as_bytes())) else {
            return Ok(());
        };
        match digest.algorithm() {
            Some(algorithm) if Digest::of(algorithm, &data) != *digest => {
                invalid(format!("descriptor {digest}: its embedded data does not match the digest"))
            }
            _ => Ok(()),
        }
    }
}

/// True for types of layers that clients never push, but fetch from their `urls`.
fn is_never_pushed(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
