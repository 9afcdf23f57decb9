//! Media types by first bytes: the patterns of <https://mimesniff.spec.whatwg.org/> that Go's `DetectContentType`
//! knows.

/// The number of first bytes that decide.
pub(crate) const SNIFFED: usize = 512;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const UNKNOWN: &str = "application/octet-stream";

/// The tags with which an HTML document begins, after white space and before a space or `>`, in any case.
const HTML_TAGS: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
    "<!--",
];

/// Bytes required at an offset.
type Part = (usize, &'static [u8]);

/// All parts of a pattern must match; the first matching pattern decides.
const PATTERNS: &[(&[Part], &str)] = &[
    (&[(0, b"%PDF-")], "application/pdf"),
    (&[(0, b"%!PS-Adobe-")], "application/postscript"),
    // Byte order marks. Go requires two more bytes after the first two, and one after the last.
    (&[(0, b"\xfe\xff"), (4, b"")], "text/plain; charset=utf-16be"),
    (&[(0, b"\xff\xfe"), (4, b"")], "text/plain; charset=utf-16le"),
    (&[(0, b"\xef\xbb\xbf"), (4, b"")], TEXT),
    (&[(0, b"\0\0\x01\0")], "image/x-icon"),
    (&[(0, b"\0\0\x02\0")], "image/x-icon"),
    (&[(0, b"BM")], "image/bmp"),
    (&[(0, b"GIF87a")], "image/gif"),
    (&[(0, b"GIF89a")], "image/gif"),
    (&[(0, b"RIFF"), (8, b"WEBPVP")], "image/webp"),
    (&[(0, b"\x89PNG\r\n\x1a\n")], "image/png"),
    (&[(0, b"\xff\xd8\xff")], "image/jpeg"),
    (&[(0, b"FORM"), (8, b"AIFF")], "audio/aiff"),
    (&[(0, b"ID3")], "audio/mpeg"),
    (&[(0, b"OggS\0")], "application/ogg"),
    (&[(0, b"MThd\0\0\0\x06")], "audio/midi"),
    (&[(0, b"RIFF"), (8, b"AVI ")], "video/avi"),
    (&[(0, b"RIFF"), (8, b"WAVE")], "audio/wave"),
    (&[(0, b"\x1a\x45\xdf\xa3")], "video/webm"),
    (&[(34, b"LP")], "application/vnd.ms-fontobject"),
    (&[(0, b"\0\x01\0\0")], "font/ttf"),
    (&[(0, b"OTTO")], "font/otf"),
    (&[(0, b"ttcf")], "font/collection"),
    (&[(0, b"wOFF")], "font/woff"),
    (&[(0, b"wOF2")], "font/woff2"),
    (&[(0, b"\x1f\x8b\x08")], "application/x-gzip"),
    (&[(0, b"PK\x03\x04")], "application/zip"),
    (&[(0, b"Rar!\x1a\x07\0")], "application/x-rar-compressed"),
    (&[(0, b"Rar!\x1a\x07\x01\0")], "application/x-rar-compressed"),
    (&[(0, b"\0asm")], "application/wasm"),
];

/// The type of content that begins with `bytes`; at most [`SNIFFED`] of them count.
pub(crate) fn of_bytes(bytes: &[u8]) -> &'static str {
    let bytes = &bytes[..bytes.len().min(SNIFFED)];
    let blank = bytes.iter().take_while(|byte| b"\t\n\x0c\r ".contains(byte)).count();
    let shown = &bytes[blank..];
    if HTML_TAGS.iter().any(|tag| begins_with_tag(shown, tag)) {
        return HTML;
    }
    if shown.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    // Go checks for MP4 among audio and video. No pattern before or after it can match the same bytes.
    if is_mp4(bytes) {
        return "video/mp4";
    }
    let matches = |parts: &[Part]| parts.iter().all(|(at, part)| bytes.get(*at..).is_some_and(|b| b.starts_with(part)));
    match PATTERNS.iter().find(|(parts, _)| matches(parts)) {
        Some((_, kind)) => kind,
        None if shown.iter().all(|byte| !is_binary(*byte)) => TEXT,
        None => UNKNOWN,
    }
}

fn begins_with_tag(bytes: &[u8], tag: &str) -> bool {
    match bytes.split_at_checked(tag.len()) {
        Some((start, [b' ' | b'>', ..])) => start.eq_ignore_ascii_case(tag.as_bytes()),
        _ => false,
    }
}

/// True for a box of type `ftyp` with a brand that begins with `mp4`.
fn is_mp4(bytes: &[u8]) -> bool {
    let Some((length, _)) = bytes.split_first_chunk::<4>() else { return false };
    let length = u32::from_be_bytes(*length) as usize;
    if bytes.len() < 12 || length < 12 || length > bytes.len() || !length.is_multiple_of(4) || &bytes[4..8] != b"ftyp" {
        return false;
    }
    // The second word is the version of the first brand.
    let brands = bytes[8..length].chunks_exact(4).enumerate().filter(|(at, _)| *at != 1);
    brands.into_iter().any(|(_, brand)| brand.starts_with(b"mp4"))
}

/// True for control characters that text never has.
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_are_those_of_go() {
        for (bytes, kind) in [
            (&b""[..], TEXT),
            (b"hello", TEXT),
            (b"\n\n\t <!DocType HTML>", HTML),
            (b"<html >", HTML),
            (b"<htmlx>", TEXT),
            (b"<html", TEXT),
            (b"  <!-- a comment", HTML),
            (b"<!--x", TEXT),
            (b"<svg>", TEXT),
            (b" \n<?xml version=\"1.0\"?>", "text/xml; charset=utf-8"),
            (b"<?XML ", TEXT),
            (b"%PDF-1.7", "application/pdf"),
            (b"\xfe\xff\0a", "text/plain; charset=utf-16be"),
            (b"\xff\xfea\0", "text/plain; charset=utf-16le"),
            (b"\xef\xbb\xbfa", TEXT),
            (b"GIF89a...", "image/gif"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wave"),
            (b"\x89PNG\r\n\x1a\n", "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video/mp4"),
            (b"\0\0\0\x18ftypisom\0\0\x02\0isommp41", "video/mp4"),
            (b"\0\0\0\x18ftypqt  mp42\0\0\0\0qt  ", UNKNOWN),
            (b"\0\0\0\x18ftypmp42", UNKNOWN),
            (b"\x1f\x8b\x08\0", "application/x-gzip"),
            (b"PK\x03\x04", "application/zip"),
            (b"\0asm\x01", "application/wasm"),
            (b"\x01\x02", UNKNOWN),
            (b"a\0b", UNKNOWN),
            (b"caf\xc3\xa9 \x1b[0m", TEXT),
        ] {
            assert_eq!(of_bytes(bytes), kind, "{}", bytes.escape_ascii());
        }
        let font = [&[0; 34][..], b"LP"].concat();
        assert_eq!(of_bytes(&font), "application/vnd.ms-fontobject");
    }

    #[test]
    fn only_the_first_bytes_count() {
        let mut bytes = vec![b'a'; SNIFFED];
        bytes.push(0);
        assert_eq!(of_bytes(&bytes), TEXT);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), mp4: bool) {
            let mut bytes = bytes;
            if mp4 && bytes.len() > 8 {
                bytes[..3].fill(0);
                bytes[4..8].copy_from_slice(b"ftyp");
            }
            prop_assert!(of_bytes(&bytes).contains('/'));
        }
    }
}
