//! Referrers: the manifests with a given subject (end-12), including those of a fallback tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, Registry};
use crate::catalog::fact::{Annotations, ManifestRecord};
use crate::oci::{Digest, ManifestKind, RepositoryName, Tag};

/// Most bytes of descriptors on one page. Clients read at most 4 MiB, and containerd does not follow `Link`.
const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;
/// Index entries read in one go, and most bytes of their records. A record can have megabytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 512 * 1024;

/// An entry of the list, as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the referring manifest.
    pub media_type: String,
    /// Digest of the referring manifest.
    pub digest: Digest,
    /// Bytes of the referring manifest.
    pub size: u64,
    /// Its `artifactType`, else its config's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// All of its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A page of referrers, by digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Referrers {
    /// At most as many as requested, and as fit on a page.
    pub descriptors: Vec<Descriptor>,
    /// True if more follow.
    pub more: bool,
}

#[derive(Deserialize)]
struct FallbackIndex {
    manifests: Vec<Descriptor>,
}

impl Registry {
    /// Referrers of `subject` after the digest `last`, filtered by `artifact_type` if given. For an unknown subject or
    /// repository the list is empty.
    pub async fn referrers(
        self: &Arc<Self>,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<Digest>,
        limit: usize,
    ) -> Result<Referrers, Error> {
        let mut page = Page { descriptors: Vec::new(), bytes: 0, limit, artifact_type };
        let mut fallback = self.fallback_referrers(repository, subject).await?;
        fallback.retain(|digest, _| last.as_ref().is_none_or(|last| digest > last));
        let mut after = last;
        loop {
            let (name, about, from) = (repository.clone(), subject.clone(), after.clone());
            let batch = self
                .reading(move |catalog| Ok(catalog.referrers(&name, &about, from.as_ref(), BATCH, BATCH_BYTES)?))
                .await?;
            for (digest, record) in batch.items {
                // Both lists are sorted by digest. Entries of the fallback tag before this one come first.
                while let Some(entry) = fallback.first_entry().filter(|entry| *entry.key() < digest) {
                    if !page.push(entry.remove()) {
                        return Ok(page.cut());
                    }
                }
                fallback.remove(&digest);
                after = Some(digest.clone());
                if !page.wants(record.artifact_type.as_deref()) {
                    continue;
                }
                if page.has_all() {
                    return Ok(page.cut());
                }
                if !page.push(self.describe(digest, record).await?) {
                    return Ok(page.cut());
                }
            }
            if !batch.more {
                break;
            }
        }
        for (_, descriptor) in fallback {
            if !page.push(descriptor) {
                return Ok(page.cut());
            }
        }
        Ok(Referrers { descriptors: page.descriptors, more: false })
    }

    async fn describe(self: &Arc<Self>, digest: Digest, record: ManifestRecord) -> Result<Descriptor, Error> {
        let annotations = match record.annotations {
            Annotations::None => BTreeMap::new(),
            Annotations::Inline(annotations) => annotations,
            Annotations::InBody => self.annotations_of_body(&digest, record.size).await?,
        };
        let artifact_type = record.artifact_type;
        Ok(Descriptor { media_type: record.media_type, digest, size: record.size, artifact_type, annotations })
    }

    async fn annotations_of_body(
        self: &Arc<Self>,
        digest: &Digest,
        size: u64,
    ) -> Result<BTreeMap<String, String>, Error> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let body = self.manifest_body(digest, size).await?;
        let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice::<Body>(&body)).await?;
        Ok(parsed.map_err(|_| Error::Internal("the annotations of a stored manifest are invalid"))?.annotations)
    }

    /// Referrers listed by a client without the referrers API, under the tag made from the subject's digest (spec,
    /// "Referrers Tag Schema" and "Enabling the Referrers API"). Only those in the repository.
    async fn fallback_referrers(
        self: &Arc<Self>,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<BTreeMap<Digest, Descriptor>, Error> {
        let none = BTreeMap::new();
        let Some(digest) = self.catalog().tag(repository, &fallback_tag(subject))? else {
            return Ok(none);
        };
        let Some(record) = self.catalog().manifest_head(repository, &digest)? else {
            return Ok(none);
        };
        if ManifestKind::parse(&record.media_type).is_none_or(|kind| !kind.is_index()) {
            return Ok(none);
        }
        let body = self.manifest_body(&digest, record.size).await?;
        let repository = repository.clone();
        self.reading(move |catalog| {
            let Ok(index) = serde_json::from_slice::<FallbackIndex>(&body) else {
                return Ok(BTreeMap::new());
            };
            let mut listed: BTreeMap<Digest, Descriptor> =
                index.manifests.into_iter().map(|descriptor| (descriptor.digest.clone(), descriptor)).collect();
            let mut absent = Vec::new();
            for digest in listed.keys() {
                if catalog.manifest_head(&repository, digest)?.is_none() {
                    absent.push(digest.clone());
                }
            }
            for digest in &absent {
                listed.remove(digest);
            }
            Ok(listed)
        })
        .await
    }
}

/// The fallback tag: the algorithm cut to 32 characters, the hash to 64, and characters that no tag allows replaced.
fn fallback_tag(subject: &Digest) -> Tag {
    let part = |text: &str, length: usize| -> String {
        text.chars()
            .take(length)
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
            .collect()
    };
    format!("{}-{}", part(subject.algorithm_name(), 32), part(subject.encoded(), 64))
        .parse()
        .expect("an algorithm begins with a letter or digit, and 97 characters fit")
}

struct Page<'a> {
    descriptors: Vec<Descriptor>,
    bytes: usize,
    limit: usize,
    artifact_type: Option<&'a str>,
}

impl Page<'_> {
    fn wants(&self, artifact_type: Option<&str>) -> bool {
        self.artifact_type.is_none_or(|wanted| artifact_type == Some(wanted))
    }

    /// True if it has as many descriptors as requested.
    fn has_all(&self) -> bool {
        self.descriptors.len() >= self.limit
    }

    /// False if the page is full. A descriptor that the filter excludes always fits.
    fn push(&mut self, descriptor: Descriptor) -> bool {
        if !self.wants(descriptor.artifact_type.as_deref()) {
            return true;
        }
        let bytes = serde_json::to_vec(&descriptor).map_or(0, |json| json.len());
        let fits = self.descriptors.is_empty() || self.bytes + bytes <= MAX_PAGE_BYTES;
        if self.has_all() || !fits {
            return false;
        }
        self.bytes += bytes;
        self.descriptors.push(descriptor);
        true
    }

    fn cut(self) -> Referrers {
        Referrers { more: !self.descriptors.is_empty(), descriptors: self.descriptors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fallback_tags_follow_the_schema() {
        let sha512: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(fallback_tag(&sha512).as_str(), format!("sha512-{}", "a".repeat(64)));
        let foreign: Digest = "multihash+base58:Qm=x".parse().unwrap();
        assert_eq!(fallback_tag(&foreign).as_str(), "multihash-base58-Qm-x");
    }
}
