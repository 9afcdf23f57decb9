//! Metadata against bytes that skyd and Go's own encoder wrote, and against hostile ones.

use proptest::prelude::*;

use super::*;

fn subfile(name: &str, offset: u64, len: u64) -> (String, Subfile) {
    (name.to_owned(), Subfile { filename: name.to_owned(), offset, len, ..Subfile::default() })
}

/// Two files of 3 and 4 bytes.
fn directory() -> Metadata {
    let subfiles = [subfile("index.html", 0, 3), subfile("a/b", 3, 4)].into();
    Metadata { filename: "dir".into(), length: 7, subfiles, ..Metadata::default() }
}

#[test]
fn metadata_of_public_portals_reads_and_writes_alike() {
    for text in [
        r#"{"filename":"dk:646174614b657931","length":39,"subfiles":{"dk:646174614b657931":{"filename":"dk:646174614b657931","contenttype":"application/json","len":39}}}"#,
        r#"{"filename":"testdatakey","length":62,"subfiles":{"testdatakey":{"filename":"testdatakey","len":62}},"tryfiles":["index.html"]}"#,
        r#"{"filename":"d","length":1,"subfiles":{"x":{"filename":"x","len":1}},"disabledefaultpath":true}"#,
        r#"{"filename":"d","length":1,"subfiles":{"x":{"filename":"x","len":1}},"defaultpath":"/x"}"#,
        r#"{"filename":"raw","length":0}"#,
    ] {
        let metadata = Metadata::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(metadata.to_bytes()).unwrap(), text);
    }
}

/// Written by Go 1.26's encoder from skyd's struct.
#[test]
fn escapes_and_orders_are_those_of_go() {
    let expected = concat!(
        r#"{"filename":"a\u003cb\u003e\u0026\"c\\\u2028\u2029"#,
        "\x7f",
        r#"\u0001\u001f\n\r\t/é😀","length":6,"mode":493,"subfiles":{"#,
        r#""B":{"mode":420,"filename":"B","contenttype":"text/html; charset=utf-8","offset":3,"len":3},"#,
        r#""a/b":{"mode":420,"filename":"a/b","contenttype":"text/html; charset=utf-8","offset":1,"len":2},"#,
        r#""z":{"mode":420,"filename":"z","contenttype":"text/html; charset=utf-8","len":1},"#,
        r#""é":{"filename":"é"}},"tryfiles":["index.html","/z"],"errorpages":{"404":"/z","500":"/B"}}"#,
    );
    let html = |name, offset, len| {
        let (name, subfile) = subfile(name, offset, len);
        (name, Subfile { mode: 0o644, content_type: "text/html; charset=utf-8".into(), ..subfile })
    };
    let metadata = Metadata {
        filename: "a<b>&\"c\\\u{2028}\u{2029}\u{7f}\u{1}\u{1f}\n\r\t/é😀".into(),
        length: 6,
        mode: 0o755,
        subfiles: [html("z", 0, 1), html("a/b", 1, 2), html("B", 3, 3), subfile("é", 0, 0)].into(),
        try_files: vec!["index.html".into(), "/z".into()],
        error_pages: [(500, "/B".into()), (404, "/z".into())].into(),
        ..Metadata::default()
    };
    assert_eq!(String::from_utf8(metadata.to_bytes()).unwrap(), expected);
    assert_eq!(Metadata::parse(expected.as_bytes()).unwrap(), metadata);
}

#[test]
fn backspace_and_form_feed_have_no_short_form() {
    let metadata = Metadata { filename: "\u{8}\u{c}".into(), ..Metadata::default() };
    assert_eq!(metadata.to_bytes(), br#"{"filename":"\u0008\u000c","length":0}"#);
}

#[test]
fn unknown_fields_pass_and_other_json_does_not() {
    assert!(Metadata::parse(br#"{"filename":"a","length":1,"monetization":{"x":[1]}}"#).is_ok());
    for bad in [
        "",
        "null",
        "[]",
        r#"["a",1]"#,
        r#"{"filename":"a","length":-1}"#,
        r#"{"filename":"a","length":1.5}"#,
        r#"{"filename":"a","length":18446744073709551616}"#,
        r#"{"filename":"a","length":1}x"#,
        r#"{"filename":"a","filename":"b"}"#,
        r#"{"filename":"a","length":1,"subfiles":{"a":[0,"a","",0,1]}}"#,
        r#"{"filename":"a","errorpages":{"-404":"/a"}}"#,
        "{\"filename\":\"\u{1}\"}",
    ] {
        assert!(matches!(Metadata::parse(bad.as_bytes()), Err(MetadataError::Malformed(_))), "{bad}");
    }
    assert!(matches!(Metadata::parse(b"{\"filename\":\"\xff\"}"), Err(MetadataError::Malformed(_))));
}

#[test]
fn paths_stay_inside() {
    for bad in ["", "/", "/a", "..", ".", "../a", "./a", "a/..", "a/../b", "a/./b", "a//b", "a/"] {
        let metadata = Metadata { filename: bad.into(), ..Metadata::default() };
        assert!(matches!(metadata.validate(), Err(MetadataError::InvalidPath(_))), "{bad}");
        let metadata = Metadata { length: 1, subfiles: [subfile(bad, 0, 1)].into(), ..directory() };
        assert!(matches!(metadata.validate(), Err(MetadataError::InvalidPath(_))), "{bad}");
    }
    for good in ["a", "..a", "a/...", "a b/é", "...", "a\\..\\b"] {
        assert!(Metadata { filename: good.into(), ..Metadata::default() }.validate().is_ok(), "{good}");
    }
    let mut metadata = directory();
    metadata.subfiles.insert("other".into(), subfile("name", 7, 0).1);
    assert!(matches!(metadata.validate(), Err(MetadataError::SubfileName(_))));
}

#[test]
fn subfiles_tile_the_content() {
    assert!(directory().validate().is_ok());
    assert!(Metadata { length: 0, ..directory() }.validate().is_ok(), "early files have no length of their own");
    assert_eq!(Metadata { length: 0, ..directory() }.content_length(), 7);
    let mut with_empty = directory();
    with_empty.subfiles.extend([subfile("e1", 0, 0), subfile("e2", 3, 0), subfile("e3", 7, 0)]);
    assert!(with_empty.validate().is_ok());

    for (offset, len) in [(3, 3), (3, 5), (2, 4), (4, 4), (4, 3), (u64::MAX, 4), (3, u64::MAX)] {
        let mut bad = directory();
        bad.subfiles.extend([subfile("a/b", offset, len)]);
        assert!(matches!(bad.validate(), Err(MetadataError::Lengths(7))), "{offset} {len}");
        assert!(bad.length == 7);
    }
    let mut beyond = directory();
    beyond.subfiles.extend([subfile("e", 8, 0)]);
    assert!(matches!(beyond.validate(), Err(MetadataError::Lengths(7))));
}

#[test]
fn default_paths_are_files_at_the_root() {
    let with = |default_path: &str| Metadata { default_path: default_path.into(), ..directory() };
    assert!(with("index.html").validate().is_ok());
    assert!(with("/index.html").validate().is_ok());
    for bad in ["/a/b", "a/b", "/", "//index.html", "/none", "index.html/"] {
        assert!(matches!(with(bad).validate(), Err(MetadataError::DefaultPath(_))), "{bad}");
    }
    let single = Metadata { filename: "a".into(), length: 7, default_path: "/a".into(), ..Metadata::default() };
    assert!(matches!(single.validate(), Err(MetadataError::DefaultPath(_))));
    let disabled = Metadata { disable_default_path: true, ..with("/index.html") };
    assert!(matches!(disabled.validate(), Err(MetadataError::DefaultPathDisabled)));
}

#[test]
fn try_files_exclude_default_paths_and_have_one_absolute_path() {
    let with = |paths: &[&str]| Metadata { try_files: paths.iter().map(|&path| path.into()).collect(), ..directory() };
    assert!(with(&["good.html", "/index.html", "any"]).validate().is_ok());
    for bad in [&[""][..], &["/none"], &["/index.html", "/a/b"], &["/index.html", "/index.html"]] {
        assert!(matches!(with(bad).validate(), Err(MetadataError::TryFile(_))), "{bad:?}");
    }
    let disabled = Metadata { disable_default_path: true, ..with(&["index.html"]) };
    assert!(matches!(disabled.validate(), Err(MetadataError::TryFilesWithDefaultPath)));
    let both = Metadata { default_path: "/index.html".into(), ..with(&["index.html"]) };
    assert!(matches!(both.validate(), Err(MetadataError::TryFilesWithDefaultPath)));
}

#[test]
fn error_pages_are_subfiles_for_errors() {
    let with = |status, path: &str| Metadata { error_pages: [(status, path.into())].into(), ..directory() };
    assert!(with(400, "/a/b").validate().is_ok());
    assert!(with(599, "/index.html").validate().is_ok());
    for status in [0, 200, 399, 600, u16::MAX] {
        assert!(matches!(with(status, "/a/b").validate(), Err(MetadataError::ErrorStatus(_))), "{status}");
    }
    for path in ["", "index.html", "/none", "//index.html"] {
        assert!(matches!(with(404, path).validate(), Err(MetadataError::ErrorPage(_))), "{path}");
    }
}

/// Files one after the other, in the order of their names.
fn tiled() -> impl Strategy<Value = Metadata> {
    let name = "[^/.][^/]{0,8}(/[^/.]{1,4})?";
    (name, prop::collection::btree_map(name, (0_u64..1000, any::<u32>(), ".{0,6}"), 0..5)).prop_map(
        |(filename, files)| {
            let mut length = 0;
            let file = |(name, (len, mode, content_type)): (String, _)| {
                let subfile = Subfile { filename: name.clone(), offset: length, len, mode, content_type };
                length += len;
                (name, subfile)
            };
            let subfiles = files.into_iter().map(file).collect();
            Metadata { filename, length, subfiles, ..Metadata::default() }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_alike(metadata in tiled()) {
        let bytes = metadata.to_bytes();
        prop_assert!(!bytes.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0..0x20)));
        prop_assert_eq!(Metadata::parse(&bytes).unwrap(), metadata);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Metadata::parse(&bytes).is_err());
    }

    #[test]
    fn what_is_taken_tiles_its_length(
        length in 0_u64..20, files in prop::collection::vec(("[ab]/?[ab.]?", 0_u64..12, 0_u64..12), 0..4),
    ) {
        let subfiles = files.iter().map(|(name, offset, len)| subfile(name, *offset, *len)).collect();
        let metadata = Metadata { filename: "f".into(), length, subfiles, ..Metadata::default() };
        if let Ok(taken) = Metadata::parse(&metadata.to_bytes()) && !taken.subfiles.is_empty() {
            let mut covered = vec![0; taken.content_length() as usize];
            for file in taken.subfiles.values() {
                covered[file.offset as usize..][..file.len as usize].iter_mut().for_each(|count| *count += 1);
            }
            prop_assert!(covered.iter().all(|count| *count == 1));
        }
    }
}
