//! Content of many sizes under every algorithm, pushed as images under one index, and every way of requesting it.

use anyhow::{Context, ensure};
use harness::client::Request;
use harness::expect::pulled;
use harness::manifest::{CONFIG, LAYER, Manifest, described, descriptor, image, index};
use harness::noise::noise;
use harness::site::{Repo, STYLES, digest};

/// A blob and its expected content.
#[derive(Clone, Debug)]
pub struct Item {
    pub digest: String,
    pub bytes: Vec<u8>,
}

/// A repository and everything acknowledged in it.
#[derive(Debug)]
pub struct Library {
    pub repo: Repo,
    pub items: Vec<Item>,
    manifests: Vec<(String, Manifest)>,
}

impl Library {
    /// Pushes a blob of each length under each algorithm, an image for each algorithm, and an index of these.
    pub fn push(repo: Repo, algorithms: &[&str], lengths: &[usize]) -> anyhow::Result<Self> {
        let mut library = Library { repo, items: Vec::new(), manifests: Vec::new() };
        for algorithm in algorithms {
            let manifest = library.push_image(algorithm, lengths).with_context(|| (*algorithm).to_owned())?;
            library.manifests.push(((*algorithm).to_owned(), manifest));
        }
        let children: Vec<_> = library.manifests.iter().map(|(_, manifest)| manifest.descriptor()).collect();
        let all = index(&children);
        library.repo.store("all", &all)?;
        library.manifests.push(("all".to_owned(), all));
        Ok(library)
    }

    fn push_image(&mut self, algorithm: &str, lengths: &[usize]) -> anyhow::Result<Manifest> {
        let config = format!(r#"{{"architecture":"amd64","os":"linux","author":"{algorithm}"}}"#).into_bytes();
        self.repo.push_blob(&config)?;
        let mut layers = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            let bytes = noise(&format!("{algorithm} {length} of {}", self.repo.name), *length);
            let item = Item { digest: digest(algorithm, &bytes), bytes };
            let style = STYLES[number % STYLES.len()];
            self.repo
                .push_blob_as(style, &item.digest, &item.bytes)?
                .expect(201)
                .with_context(|| format!("{length} bytes, {style:?}"))?;
            layers.push(descriptor(LAYER, &item.digest, *length));
            self.items.push(item);
        }
        let manifest = image(&described(CONFIG, &config), &layers);
        self.repo.store(algorithm, &manifest)?;
        Ok(manifest)
    }

    /// Bytes of all blobs.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes.len() as u64).sum()
    }

    /// A HEAD of each blob.
    pub fn heads(&self) -> Vec<String> {
        self.items.iter().map(|item| format!("HEAD {}", self.repo.blob(&item.digest))).collect()
    }

    /// Every way of requesting it, for `Answers`: parts before the whole, so that cold parts are cold.
    pub fn requests(&self) -> anyhow::Result<Vec<String>> {
        let mut requests = Vec::new();
        for item in &self.items {
            let path = self.repo.blob(&item.digest);
            requests.extend(ranges(item.bytes.len()).iter().map(|range| format!("GET {path}\nRange: bytes={range}")));
            requests.extend(self.conditions(&path)?);
            requests.push(format!("GET {path}"));
        }
        for (tag, manifest) in &self.manifests {
            for reference in [tag.clone(), manifest.digest()] {
                let path = self.repo.manifest(&reference);
                let accept = format!("Accept: {}", manifest.media_type);
                requests.push(format!("HEAD {path}\n{accept}"));
                requests.extend(self.conditions(&path)?);
                requests.push(format!("GET {path}\n{accept}"));
            }
        }
        requests.push(format!("GET {}", self.repo.tags()));
        Ok(requests)
    }

    fn conditions(&self, path: &str) -> anyhow::Result<Vec<String>> {
        let head = self.repo.head(path)?;
        head.expect(200)?;
        let etag = head.need("ETag")?;
        Ok(vec![
            format!("GET {path}\nIf-None-Match: {etag}"),
            format!("GET {path}\nIf-None-Match: \"another\"\nRange: bytes=0-0"),
            format!("GET {path}\nIf-Range: {etag}\nRange: bytes=0-0"),
            format!("GET {path}\nIf-Match: \"another\""),
        ])
    }

    /// Pulls everything, and compares byte for byte.
    pub fn check(&self) -> anyhow::Result<()> {
        for item in &self.items {
            pulled(&self.repo, &self.repo.blob(&item.digest), &item.digest, &item.bytes)?;
        }
        for (tag, manifest) in &self.manifests {
            let path = self.repo.manifest(tag);
            let answer = self.repo.send(&Request::get(&path).header("Accept", manifest.media_type.clone()))?;
            answer.expect(200)?;
            ensure!(answer.body == manifest.bytes, "manifest {tag} came back changed");
        }
        Ok(())
    }
}

/// Ranges at the beginning, at the end, across the border of a 4 MiB unit, and one beyond the end.
fn ranges(length: usize) -> Vec<String> {
    const UNIT: usize = 4 << 20;
    let mut all = vec![format!("{}-", length + 1)];
    if length > 0 {
        all.extend(["0-0".to_owned(), "-1".to_owned(), format!("{}-", length / 2)]);
    }
    if length > UNIT {
        all.push(format!("{}-{}", UNIT - 1, UNIT));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_fit_what_they_are_of() {
        assert_eq!(ranges(0), ["1-"]);
        assert_eq!(ranges(2), ["3-", "0-0", "-1", "1-"]);
        assert!(ranges(9 << 20).contains(&"4194303-4194304".to_owned()));
    }
}
