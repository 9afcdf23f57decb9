//! Media types of manifests.

use std::fmt;

/// A kind of manifest that the registry accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// `application/vnd.oci.image.manifest.v1+json`, which also carries all artifacts.
    OciImage,
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerImage,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
}

impl ManifestKind {
    const ALL: [ManifestKind; 4] =
        [ManifestKind::OciImage, ManifestKind::OciIndex, ManifestKind::DockerImage, ManifestKind::DockerList];

    /// The media type as sent in headers.
    pub fn media_type(self) -> &'static str {
        match self {
            ManifestKind::OciImage => "application/vnd.oci.image.manifest.v1+json",
            ManifestKind::OciIndex => "application/vnd.oci.image.index.v1+json",
            ManifestKind::DockerImage => "application/vnd.docker.distribution.manifest.v2+json",
            ManifestKind::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Parses a media type. Parameters such as `; charset=utf-8` are dropped, and case is ignored (RFC 9110 8.3.1).
    pub fn parse(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|kind| kind.media_type().eq_ignore_ascii_case(essence))
    }

    /// True for a list of manifests, false for a manifest with config and layers.
    pub fn is_index(self) -> bool {
        matches!(self, ManifestKind::OciIndex | ManifestKind::DockerList)
    }
}

impl fmt::Display for ManifestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_dropped() {
        assert_eq!(
            ManifestKind::parse("Application/vnd.oci.image.index.v1+json ; charset=utf-8"),
            Some(ManifestKind::OciIndex)
        );
        assert_eq!(ManifestKind::parse("application/json"), None);
    }

    proptest! {
        #[test]
        fn case_space_and_parameters_do_not_matter(
            index in 0..4_usize,
            upper in prop::collection::vec(any::<bool>(), 80),
            parameters in "( {0,2};.{0,20})?",
        ) {
            let kind = ManifestKind::ALL[index];
            let letters = kind.media_type().chars().zip(upper);
            let text: String = letters.map(|(c, upper)| if upper { c.to_ascii_uppercase() } else { c }).collect();
            prop_assert_eq!(ManifestKind::parse(&format!(" {text}{parameters}")), Some(kind));
            prop_assert_eq!(ManifestKind::parse(&format!("{text}x{parameters}")), None);
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            prop_assert_eq!(ManifestKind::parse(&text), None);
        }
    }
}
