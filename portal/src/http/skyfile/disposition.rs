//! `Content-Disposition` of a part of a form, parsed as in Go's `mime.ParseMediaType`.
//!
//! The multipart library parses it differently. Names may be percent-encoded (`filename*`) and have escaped quotes, and
//! paths must stay whole.

use percent_encoding::percent_decode_str;

/// Name and file name of a part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    /// The name of the form's field.
    pub(super) name: String,
    /// The file name with its path.
    pub(super) filename: String,
}

impl Disposition {
    /// Parses the header; missing parts are empty. `None` if it is malformed.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (_, mut rest) = header.split_once(';').unwrap_or((header, ""));
        let mut parsed = Disposition::default();
        let mut extended = None;
        while let Some((name, value, after)) = next_parameter(rest)? {
            match name.as_str() {
                "name" => parsed.name = value,
                "filename" => parsed.filename = value,
                "filename*" => extended = Some(decode_extended(&value)?),
                _ => {}
            }
            rest = after;
        }
        if let Some(filename) = extended {
            parsed.filename = filename;
        }
        Some(parsed)
    }
}

/// `(name, value, rest)` of the next parameter; the inner `None` at the end.
#[expect(clippy::option_option, reason = "malformed, at the end, and one more are three different things")]
fn next_parameter(text: &str) -> Option<Option<(String, String, &str)>> {
    let text = text.trim_start_matches([' ', '\t', ';']);
    if text.is_empty() {
        return Some(None);
    }
    let (name, rest) = text.split_once('=')?;
    let rest = rest.trim_start();
    let (value, rest) = if let Some(quoted) = rest.strip_prefix('"') {
        unquote(quoted)?
    } else {
        let end = rest.find(';').unwrap_or(rest.len());
        (rest[..end].trim_end().to_owned(), &rest[end..])
    };
    Some(Some((name.trim().to_ascii_lowercase(), value, rest)))
}

/// The text before the closing quote, and the text after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            // Other backslashes are literal: old browsers sent paths with them.
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            _ => value.push(character),
        }
    }
    None
}

/// `UTF-8''percent-encoded` (RFC 5987).
fn decode_extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let known = ["utf-8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    let decoded = percent_decode_str(encoded).decode_utf8().ok()?;
    known.then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_clients_write_them() {
        for (header, name, filename) in [
            ("form-data; name=\"file\"; filename=\"a b.txt\"", "file", "a b.txt"),
            ("form-data; name=\"files[]\"; filename=\"dir/ü;x.html\"", "files[]", "dir/ü;x.html"),
            ("form-data; filename=plain.txt ; name=file", "file", "plain.txt"),
            ("form-data; name=\"file\"; filename=\"say \\\"hi\\\".txt\"", "file", "say \"hi\".txt"),
            ("form-data; name=\"file\"; filename=\"c:\\temp\\x\"", "file", "c:\\temp\\x"),
            ("form-data; name=\"file\"; filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt", "file", "€.txt"),
            ("form-data; Name=file", "file", ""),
            ("form-data", "", ""),
        ] {
            let expected = Disposition { name: name.to_owned(), filename: filename.to_owned() };
            assert_eq!(Disposition::parse(header), Some(expected), "{header}");
        }
        for header in ["form-data; name=\"file", "form-data; name", "form-data; filename*=x"] {
            assert_eq!(Disposition::parse(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_name_comes_back(name in "[^\r\n]{0,20}") {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let parsed = Disposition::parse(&format!("form-data; filename=\"{quoted}\"; name=\"file\"")).unwrap();
            prop_assert_eq!((parsed.filename, parsed.name), (name, "file".to_owned()));
        }

        #[test]
        fn no_header_panics(header in ".{0,60}|[ ;=\"\\\\a*'%]{0,40}") {
            let _ = Disposition::parse(&header);
        }
    }
}
