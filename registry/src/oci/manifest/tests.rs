//! Which bodies are accepted as manifests, what is parsed from them, and that no input panics.

use super::*;
use proptest::prelude::*;

const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn parse(body: &str) -> Result<Manifest, ParseError> {
    parse_as(Some(OCI_IMAGE), body.as_bytes())
}

fn parse_as(kind: Option<&str>, body: &[u8]) -> Result<Manifest, ParseError> {
    Manifest::parse(kind, body, 100)
}

/// Annotations of a few bytes each took ten times their size in memory.
#[test]
fn large_annotations_are_read_and_not_kept() {
    let with = |count: usize| {
        let texts = (0..count).map(|number| format!(r#""{number}":"""#)).collect::<Vec<_>>().join(",");
        parse(&format!(r#"{{"schemaVersion":2,"config":{CONFIG},"annotations":{{{texts}}}}}"#)).unwrap().annotations
    };
    assert_eq!(with(0), Some(BTreeMap::new()));
    assert_eq!(with(10).map(|all| all.len()), Some(10));
    assert_eq!(with(10_000), None);
    assert!(parse(&format!(r#"{{"schemaVersion":2,"config":{CONFIG},"annotations":{{"a":1}}}}"#)).is_err());
}

/// One manifest of 4 MiB could reference 38,000 digests, and all other pushes waited for it.
#[test]
fn references_have_a_limit() {
    let layers = |count: usize| vec![CONFIG; count].join(",");
    let image = |count| format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{}]}}"#, layers(count));
    assert!(parse(&image(99)).is_ok());
    assert_eq!(parse(&image(100)), Err(ParseError::TooManyReferences));
    let index = |count| format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, layers(count));
    assert!(parse_as(None, index(100).as_bytes()).is_ok());
    assert_eq!(parse_as(None, index(101).as_bytes()), Err(ParseError::TooManyReferences));
}

#[test]
fn an_image_without_layers_or_media_type_is_taken() {
    let manifest = parse(&format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[]}} "#)).unwrap();
    assert_eq!(manifest.kind, ManifestKind::OciImage);
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.empty.v1+json"));
    assert_eq!(manifest.references.len(), 1);
}

#[test]
fn what_is_no_manifest_is_refused() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let with = |extra: &str| format!(r#"{{"schemaVersion":2,"config":{CONFIG},{extra}}}"#);
    for bad in [
        "",
        "{",
        "[]",
        "null",
        "\u{feff}{}",
        "{}",
        r#"{"schemaVersion":1}"#,
        r#"{"schemaVersion":2}"#,
        &with(&format!(r#""x":{deep}"#)),
        &with(r#""manifests":[]"#),
        &with(r#""subject":{"digest":"sha256:00","size":1}"#),
        &with(&format!(r#""subject":{}"#, CONFIG.replace(r#","size":2"#, ""))),
        &with(r#""mediaType":"application/vnd.oci.image.index.v1+json""#),
        &with(&format!(r#""layers":[{}]"#, CONFIG.replace(":2}", ":-2}"))),
        &with(&format!(r#""layers":[{}]"#, CONFIG.replace(":2}", ":9223372036854775808}"))),
        &with(&format!(r#""layers":[{}]"#, CONFIG.replace(":2}", r#":2,"data":"e30K"}"#))),
        &format!("{} x", with(r#""layers":[]"#)),
        &with(r#""artifactType":"a b\n""#),
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(parse_as(Some(OCI_IMAGE), b"{\"schemaVersion\":2,\"x\":\"\xff\"}").is_err());
}

#[test]
fn reasons_name_no_type_of_this_program() {
    for (bad, wanted) in [
        ("[]", "is not a JSON object"),
        (" null", "is not a JSON object"),
        (r#"{"config":5}"#, "expected an object"),
        (r#"{"config":["a/b","sha256:00",1,null,null]}"#, "a list stands where an object must"),
        (r#"{"schemaVersion":2,"config":[]}"#, "an object"),
    ] {
        let said = parse(bad).unwrap_err().to_string();
        assert!(said.contains(wanted) && !said.contains("struct"), "{bad}: {said}");
    }
}

#[test]
fn the_reason_is_the_fault_that_comes_first() {
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let foreign = format!("\"{artifact}\" is not a manifest type that this registry accepts");
    let (of_request, of_body) = (format!("Content-Type {foreign}"), format!("mediaType {foreign}"));
    let own = format!(r#""mediaType":"{artifact}""#);
    let cases = [
        (Some(artifact), r#"{"blobs":[]}"#.to_owned(), of_request.as_str()),
        (Some(artifact), r#"{"schemaVersion":1}"#.to_owned(), &of_request),
        (Some(artifact), format!(r#"{{"schemaVersion":2,"config":{CONFIG}}}"#), &of_request),
        (Some(artifact), "no JSON".to_owned(), &of_request),
        (Some(artifact), r#"{"config":"of another form"}"#.to_owned(), &of_request),
        (Some(OCI_IMAGE), format!("{{{own}}}"), &of_body),
        (None, format!(r#"{{{own},"schemaVersion":1}}"#), &of_body),
        (Some(" "), format!("{{{own}}}"), &of_body),
        (Some(OCI_IMAGE), format!(r#"{{"config":{CONFIG}}}"#), "schemaVersion is missing: it must be 2"),
        (Some(OCI_IMAGE), r#"{"schemaVersion":null}"#.to_owned(), "schemaVersion is missing: it must be 2"),
        (None, r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "schemaVersion is 1: only 2 is supported"),
        (Some(OCI_IMAGE), r#"{"schemaVersion":3}"#.to_owned(), "schemaVersion is 3: only 2 is supported"),
        (
            None,
            r#"{"schemaVersion":2}"#.to_owned(),
            "neither Content-Type nor mediaType says what kind of manifest this is",
        ),
        (Some(OCI_IMAGE), r#"{"schemaVersion":2}"#.to_owned(), "an image manifest must have a config"),
    ];
    for (kind, body, reason) in cases {
        let error = parse_as(kind, body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), reason, "{kind:?} {body}");
    }
}

#[test]
fn null_is_an_empty_list() {
    let image = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":null,"manifests":null}}"#);
    assert_eq!(parse(&image).unwrap().references.len(), 1);
    let index = r#"{"schemaVersion":2,"config":null,"layers":null,"manifests":null}"#;
    let of = |body: &str| parse_as(None, body.as_bytes()).map(|manifest| (manifest.kind, manifest.references));
    assert_eq!(of(index), Ok((ManifestKind::OciIndex, Vec::new())));
    assert_eq!(of(&image).map(|(kind, _)| kind), Ok(ManifestKind::OciImage));
}

#[test]
fn the_kind_follows_from_the_body_where_the_request_says_nothing() {
    let kind = |body: &str| parse_as(None, body.as_bytes()).map(|m| m.kind);
    assert_eq!(kind(&format!(r#"{{"schemaVersion":2,"config":{CONFIG}}}"#)), Ok(ManifestKind::OciImage));
    assert_eq!(kind(r#"{"schemaVersion":2,"manifests":[]}"#), Ok(ManifestKind::OciIndex));
    assert!(kind(r#"{"schemaVersion":2}"#).is_err());
}

#[test]
fn foreign_layers_with_urls_may_be_absent() {
    let layer = |urls: &str| {
        CONFIG
            .replace("application/vnd.oci.empty.v1+json", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
            .replace(":2}", &format!(":2{urls}}}"))
    };
    let absent = |urls: &str| {
        let body =
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{}]}}"#, layer(urls).replace("4413", "0000"));
        parse(&body).unwrap().references[1].may_be_absent
    };
    assert!(absent(r#","urls":["https://example.com/x"]"#));
    assert!(!absent(r#","urls":[]"#));
    assert!(!absent(""));
}

/// A descriptor in every shape that a client could send, most of them invalid.
fn descriptors() -> impl Strategy<Value = String> {
    let digest = "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{10}|[a-z]{0,6}:?[a-zA-Z0-9=_-]{0,10}";
    let size = prop_oneof![any::<i64>().prop_map(|size| size.to_string()), "[0-9.eE-]{0,6}"];
    (digest, size, prop::option::of("[ -~]{0,30}"), prop::option::of("[A-Za-z0-9+/=]{0,12}")).prop_map(
        |(digest, size, kind, data)| {
            let text = |name: &str, value: Option<String>| {
                value.map_or(String::new(), |value| format!(",\"{name}\":{}", serde_json::json!(value)))
            };
            format!(r#"{{"digest":"{digest}","size":{size}{}{}}}"#, text("mediaType", kind), text("data", data))
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in prop::option::of(".{0,40}")) {
        prop_assert!(parse_as(kind.as_deref(), &bytes).is_err());
    }

    #[test]
    fn what_is_taken_has_valid_parts(
        parts in prop::collection::vec((prop::sample::select(vec!["config", "subject"]), descriptors()), 0..3),
        lists in prop::collection::vec(
            (prop::sample::select(vec!["layers", "manifests"]), prop::collection::vec(descriptors(), 0..3)), 0..2),
        version in 1..3_u8,
    ) {
        let mut body = format!(r#"{{"schemaVersion":{version}"#);
        for (name, part) in &parts {
            body = format!("{body},\"{name}\":{part}");
        }
        for (name, list) in &lists {
            body = format!("{body},\"{name}\":[{}]", list.join(","));
        }
        body.push('}');
        for kind in [None, Some(OCI_IMAGE), Some("application/vnd.oci.image.index.v1+json")] {
            let Ok(manifest) = parse_as(kind, body.as_bytes()) else { continue };
            prop_assert_eq!(version, 2);
            prop_assert!(kind.is_none_or(|kind| kind == manifest.kind.media_type()));
            let mut seen = std::collections::HashSet::new();
            for reference in &manifest.references {
                prop_assert_eq!(reference.digest.to_string().parse::<Digest>(), Ok(reference.digest.clone()));
                prop_assert!(body.contains(reference.digest.as_str()) && seen.insert(&reference.digest));
            }
        }
    }

    #[test]
    fn references_come_once_each_in_their_order(
        layers in prop::collection::vec(0..6_usize, 0..10),
        sizes in prop::collection::vec(0..i64::MAX, 6),
    ) {
        let digest = |n: usize| Digest::of(crate::oci::Algorithm::Sha256, &n.to_be_bytes());
        let list: Vec<String> = layers
            .iter()
            .map(|n| format!(r#"{{"digest":"{}","size":{}}}"#, digest(*n), sizes[*n]))
            .collect();
        let body = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{}]}}"#, list.join(","));
        let found: Vec<Digest> = parse(&body).unwrap().references.into_iter().skip(1).map(|r| r.digest).collect();
        let mut wanted = Vec::new();
        for n in layers {
            if !wanted.contains(&digest(n)) {
                wanted.push(digest(n));
            }
        }
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn one_digest_with_two_sizes_is_seen(one in 0..i64::MAX, other in 0..i64::MAX) {
        let digest = Digest::of(crate::oci::Algorithm::Sha256, b"x");
        let layers = format!(r#"{{"digest":"{digest}","size":{one}}},{{"digest":"{digest}","size":{other}}}"#);
        let body = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{layers}]}}"#);
        prop_assert_eq!(parse(&body).unwrap().two_sizes.is_none(), one == other);
    }

    #[test]
    fn a_changed_byte_never_panics(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut body = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{CONFIG}],"annotations":{{"a":"b"}}}}"#).into_bytes();
        let index = at.index(body.len());
        body[index] = byte;
        let _ = parse_as(Some(OCI_IMAGE), &body);
        let _ = parse_as(Some(OCI_IMAGE), &body[..cut.index(body.len())]);
    }
}
