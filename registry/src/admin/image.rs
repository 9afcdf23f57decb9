//! `ls NAME:TAG` and `ls NAME@DIGEST`: the tags of a manifest, the content that it references, and where that is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::reply::{Copy, Manifest, Part, Role};
use super::{BATCH, Item, Output};
use crate::catalog::{Placement, Wanted};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::service::{Error, Registry};

pub(super) async fn describe(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    reference: &Reference,
    out: &Output,
) -> Result<(), Error> {
    let digest = registry.stat_manifest(name, reference)?.digest;
    let tagged = !tags(registry, name, &digest, None, 1).await?.is_empty();
    out.item(Item::Manifest(manifest(registry, name, reference, tagged).await?)).await;
    list_tags(registry, name, &digest, reference, out).await?;
    list_parts(registry, name, &digest, out).await
}

/// A manifest as one line of a list.
pub(super) async fn manifest(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    reference: &Reference,
    tagged: bool,
) -> Result<Manifest, Error> {
    let info = registry.stat_manifest(name, reference)?;
    let image_bytes = registry.image_size(name, &info.digest).await?;
    let tag = match reference {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Digest(_) => None,
    };
    let (repository, digest, media_type) = (name.clone(), info.digest, info.media_type);
    Ok(Manifest { repository, tag, digest, image_bytes, media_type, tagged })
}

/// Lists all tags of the manifest except the one asked for.
async fn list_tags(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    digest: &Digest,
    asked: &Reference,
    out: &Output,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = tags(registry, name, digest, after.take(), BATCH).await?;
        let is_last = page.len() < BATCH;
        after = page.last().cloned();
        for tag in page.into_iter().filter(|tag| !matches!(asked, Reference::Tag(asked) if asked == tag)) {
            out.item(Item::Tag { tag }).await;
        }
        if is_last {
            return Ok(());
        }
    }
}

async fn tags(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    digest: &Digest,
    after: Option<crate::oci::Tag>,
    limit: usize,
) -> Result<Vec<crate::oci::Tag>, Error> {
    let (name, digest) = (name.clone(), digest.clone());
    registry.reading(move |catalog| Ok(catalog.tags_of(&name, &digest, after.as_ref(), limit)?)).await
}

async fn list_parts(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    digest: &Digest,
    out: &Output,
) -> Result<(), Error> {
    let (repository, manifest) = (name.clone(), digest.clone());
    let record = registry
        .reading(move |catalog| catalog.manifest(&repository, &manifest)?.ok_or(Error::ManifestUnknown))
        .await?;
    let (wanted, size) = (digest.clone(), record.size);
    // Bytes that are not local are not fetched for this. Damaged bytes describe nothing.
    let body = registry.blocking(move |store| Ok(store.read_verified(&wanted, size).ok())).await?;
    let described = body.map(|body| descriptors(&body)).unwrap_or_default();
    for needed in std::iter::once(digest).chain(&record.references) {
        let known = if needed == digest { Some(Known::of(Role::Manifest)) } else { described.get(needed).cloned() };
        let known = known.unwrap_or(Known::of(Role::Needed));
        out.item(Item::Part(part(registry, name, needed, known).await?)).await;
    }
    Ok(())
}

async fn part(registry: &Arc<Registry>, name: &RepositoryName, digest: &Digest, known: Known) -> Result<Part, Error> {
    let Known { role, media_type, platform } = known;
    let wanted = digest.clone();
    let here = registry.blocking(move |store| store.stat(&wanted)).await?.is_some();
    let wanted = digest.clone();
    let (held, placements) =
        registry.reading(move |catalog| Ok((catalog.referenced_size(&wanted)?, catalog.placements(&wanted)?))).await?;
    let bytes = match role {
        Role::Platform if held.is_some() => Some(registry.image_size(name, digest).await?),
        _ => held,
    };
    let (with_backend, wanted) = (registry.remote.is_some(), registry.catalog().wanted());
    let copies = placements.into_iter().filter(|_| with_backend);
    let urls = registry.remote.as_ref().map(|remote| remote.urls()).unwrap_or_default();
    let copies = copies.map(|placement| copy(placement, wanted.as_deref(), &urls)).collect();
    Ok(Part { role, digest: digest.clone(), bytes, media_type, platform, here, copies })
}

/// The copy, with the URLs of its endpoints instead of their names where they are configured.
fn copy(mut placement: Placement, wanted: Option<&Wanted>, urls: &BTreeMap<String, String>) -> Copy {
    let is_strange = |endpoint: &&String| wanted.is_some_and(|wanted| !wanted.endpoints.contains(endpoint));
    let not_configured = placement.locator.endpoints.iter().filter(is_strange).cloned().collect();
    for endpoint in &mut placement.locator.endpoints {
        if let Some(url) = urls.get(endpoint) {
            endpoint.clone_from(url);
        }
    }
    Copy { placement, not_configured }
}

/// What a manifest says of content that it references.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    role: Role,
    media_type: Option<String>,
    platform: Option<String>,
}

impl Known {
    fn of(role: Role) -> Self {
        Known { role, media_type: None, platform: None }
    }
}

#[derive(Deserialize)]
struct Body {
    config: Option<Descriptor>,
    /// Some tools write `null` for no layers.
    layers: Option<Vec<Descriptor>>,
    /// Some tools write `null` here, too.
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    media_type: Option<String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

/// The descriptors by digest; empty if the body cannot be parsed.
fn descriptors(body: &[u8]) -> HashMap<Digest, Known> {
    let Ok(Body { config, layers, manifests }) = serde_json::from_slice(body) else { return HashMap::new() };
    let config = config.into_iter().map(|descriptor| (Role::Config, descriptor));
    let layers = layers.into_iter().flatten().map(|descriptor| (Role::Layer, descriptor));
    let manifests = manifests.into_iter().flatten().map(|descriptor| (Role::Platform, descriptor));
    let known = |(role, Descriptor { digest, media_type, platform }): (Role, Descriptor)| {
        let platform = platform.map(|Platform { os, architecture, variant }| {
            let parts = [os, architecture, variant];
            parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/")
        });
        Some((digest.parse().ok()?, Known { role, media_type, platform }))
    };
    config.chain(layers).chain(manifests).filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_and_layers_are_told_apart() {
        let digest = |number: u32| format!("sha256:{number:064x}");
        let (a, b, c, d) = (digest(1), digest(2), digest(3), digest(4));
        let index = format!(
            r#"{{"manifests":[{{"digest":"{a}","platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}},
                {{"digest":"{b}","mediaType":"x/y"}}]}}"#
        );
        let found = descriptors(index.as_bytes());
        assert_eq!(found[&a.parse().unwrap()].platform.as_deref(), Some("linux/arm/v7"));
        let expected = Known { media_type: Some("x/y".into()), ..Known::of(Role::Platform) };
        assert_eq!(found[&b.parse().unwrap()], expected);
        let image = format!(r#"{{"config":{{"digest":"{c}"}},"layers":[{{"digest":"{d}"}},{{"digest":"none"}}]}}"#);
        let found = descriptors(image.as_bytes());
        assert_eq!(found[&c.parse().unwrap()].role, Role::Config);
        assert_eq!(found[&d.parse().unwrap()].role, Role::Layer);
        assert_eq!(found.len(), 2);
        let null = format!(r#"{{"config":{{"digest":"{c}"}},"layers":null,"manifests":null}}"#);
        assert_eq!(descriptors(null.as_bytes())[&c.parse().unwrap()].role, Role::Config, "null lists");
        assert!(descriptors(b"[").is_empty());
    }
}
