//! The entity tag of a download. It names the served content, so it changes when a resolver link points elsewhere.

use data_encoding::HEXLOWER;
use skynet_formats::skylink::Skylink;

use super::format::Format;

/// A change of this value changes all tags; it is skyd's value.
const GENERATION: &str = "1";

/// The quoted tag of the content at `path` of a v1 skylink in a format.
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

    /// The first from the issue, the second from skyd's own tests, the others as skyd 1.6.0 answered.
    #[test]
    fn tags_are_those_of_skyd() {
        let app = "AACdQiFZqkWNaaiawgHOBaYjjLp5wJcqGWsp1xkAG5qR3Q";
        for (skylink, path, format, tag) in [
            (
                "AACa5S94r4CHMshi4MCclYYoqW3IwMIpRXEcaBdUBpR4DA",
                "/",
                Format::Unspecified,
                "2993f086074e6d2c18dbb3e40d39e79004675689c2ccff2af08f9b2820925638",
            ),
            (
                "AACogzrAimYPG42tDOKhS3lXZD8YvlF8Q8R17afe95iV2Q",
                "/",
                Format::Unspecified,
                "7b4d5f4aa61144f4ab0ca37da17238a93dc9a8d514a76d374b2557bf86c04d21",
            ),
            (
                app,
                "/index.html",
                Format::Unspecified,
                "5f204bd8d9b4baa82fb8c77098443ffec2065eafc795df604ec183233e1554ea",
            ),
            (app, "/css", Format::Zip, "8569d9fa54002f70e31afdb5b9715a5f0b45ba1010e2af46615aa53ab6c1e454"),
            (app, "/css/", Format::Zip, "4b185d1d8719668b8642a10556457ab61f5445606f758fc4d0578912bc0da610"),
            (app, "/", Format::Concat, "9a935a7fc6ac8c01a775e2fa12d4293d90080005133dfcf0abf9d177fe807cf5"),
            (app, "/", Format::TarGz, "028e4ff2b1e3d81a874c2790368e0dae295cb6cfbdd2db992431037516355d91"),
        ] {
            assert_eq!(etag(skylink.parse().unwrap(), path, format), format!("\"{tag}\""), "{path}");
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
