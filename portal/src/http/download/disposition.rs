//! `Content-Disposition`: whether to show or to save content, and its file name.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that an extended value (RFC 8187) need not encode.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The use of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    Inline,
    Attachment,
}

/// The header. The name is the last part of `path`, quoted as Go quotes strings, so it cannot end the string or the
/// line. A name that is not ASCII is repeated in the form that browsers read reliably.
pub(super) fn content_disposition(disposition: Disposition, path: &str, extension: &str) -> HeaderValue {
    let name = format!("{}{extension}", base(path));
    let kind = match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    let mut header = format!("{kind}; filename={}", quote(&name));
    if !name.is_ascii() {
        header.push_str("; filename*=UTF-8''");
        header.extend(utf8_percent_encode(&name, EXTENDED));
    }
    HeaderValue::from_bytes(header.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// The last part of a path, as in Go's `filepath.Base`.
fn base(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit('/').next() {
        Some("") | None if path.is_empty() => ".",
        Some("") | None => "/",
        Some(last) => last,
    }
}

fn quote(name: &str) -> String {
    let mut quoted = String::from('"');
    for character in name.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            shown if is_shown(shown) => quoted.push(shown),
            control if control <= '\u{7f}' => quoted.push_str(&escape("x", 2, control)),
            hidden if hidden <= '\u{ffff}' => quoted.push_str(&escape("u", 4, hidden)),
            hidden => quoted.push_str(&escape("U", 8, hidden)),
        }
    }
    quoted.push('"');
    quoted
}

fn escape(kind: &str, digits: usize, character: char) -> String {
    format!("\\{kind}{:0digits$x}", u32::from(character))
}

/// False for characters without a visible shape: controls, blanks other than the space, private use, and marks that
/// change the direction of text. Such a name could pass for another.
fn is_shown(character: char) -> bool {
    let hidden = character.is_control()
        || (character.is_whitespace() && character != ' ')
        || matches!(u32::from(character), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f
            | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xe0000..=0xe007f | 0xf_0000..);
    !hidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inline(path: &str) -> String {
        let header = content_disposition(Disposition::Inline, path, "");
        String::from_utf8(header.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        assert_eq!(inline("/index.html"), "inline; filename=\"index.html\"");
        assert_eq!(inline("a/b c.txt"), "inline; filename=\"b c.txt\"");
        assert_eq!(inline("/docs/"), "inline; filename=\"docs\"");
        assert_eq!(inline("/"), "inline; filename=\"/\"");
        assert_eq!(inline(""), "inline; filename=\".\"");
        let zip = content_disposition(Disposition::Attachment, "/docs", ".tar.gz");
        assert_eq!(zip, "attachment; filename=\"docs.tar.gz\"");
    }

    #[test]
    fn names_are_quoted_as_go_quotes_them() {
        // What Go's strconv.Quote makes of it.
        let name = "a\u{a0}b\u{200b}c\u{202e}d\u{301}e\u{feff}f\u{e000}\u{7f}\t\r\n\"\\日";
        let quoted = "\"a\\u00a0b\\u200bc\\u202ed\u{301}e\\ufefff\\ue000\\x7f\\t\\r\\n\\\"\\\\日\"";
        assert_eq!(quote(name), quoted);
    }

    #[test]
    fn names_that_are_not_ascii_come_twice() {
        assert_eq!(inline("/é b.txt"), "inline; filename=\"é b.txt\"; filename*=UTF-8''%C3%A9%20b.txt");
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_string(path in "[a\"\\\\;\r\n\t\u{0}/é\u{2028}\u{85}]{0,12}|.{0,20}", extension in "|\\.zip") {
            let header = content_disposition(Disposition::Inline, &path, &extension);
            let text = String::from_utf8(header.as_bytes().to_vec()).unwrap();
            prop_assert!(!text.contains(['\r', '\n', '\0']), "{}", text);
            let rest = text.strip_prefix("inline; filename=\"").unwrap();
            let mut escaped = false;
            let end = rest.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            let rest = &rest[end.unwrap() + 1..];
            prop_assert!(rest.is_empty() || rest.starts_with("; filename*=UTF-8''"), "{}", text);
            prop_assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"; =*'%-._~".contains(&b)));
        }
    }
}
