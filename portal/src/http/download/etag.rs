//! The entity tag of a download: by what is served, so that it changes when a resolver link points elsewhere.

use data_encoding::HEXLOWER;
use storage_backends::skynet::skylink::Skylink;

use super::format::Format;

/// Changes all tags at once; skyd's value.
const GENERATION: &str = "1";

/// The quoted tag of what stands at `path` of a v1 skylink in a format.
pub(super) fn etag(skylink: Skylink, path: &str, format: Format) -> String {
    let mut hasher = blake2b_simd::Params::new().hash_length(32).to_state();
    for part in [&skylink.to_string(), path, format.name(), GENERATION] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    format!("\"{}\"", HEXLOWER.encode(hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_skyd() {
        for (skylink, tag) in [
            (
                "AACa5S94r4CHMshi4MCclYYoqW3IwMIpRXEcaBdUBpR4DA",
                "2993f086074e6d2c18dbb3e40d39e79004675689c2ccff2af08f9b2820925638",
            ),
            (
                "AACogzrAimYPG42tDOKhS3lXZD8YvlF8Q8R17afe95iV2Q",
                "7b4d5f4aa61144f4ab0ca37da17238a93dc9a8d514a76d374b2557bf86c04d21",
            ),
        ] {
            assert_eq!(etag(skylink.parse().unwrap(), "/", Format::Unspecified), format!("\"{tag}\""));
        }
    }

    #[test]
    fn each_part_counts() {
        let skylink = "AACogzrAimYPG42tDOKhS3lXZD8YvlF8Q8R17afe95iV2Q".parse().unwrap();
        let tags = [
            etag(skylink, "/", Format::Unspecified),
            etag(skylink, "/foo", Format::Unspecified),
            etag(skylink, "/", Format::Zip),
            etag(Skylink::v2([7; 32]), "/", Format::Zip),
        ];
        assert!((1..tags.len()).all(|at| !tags[..at].contains(&tags[at])));
    }
}
