//! Base64 and base32 as Go decodes them, and thus skyd and most clients of registries.
//!
//! Go skips line ends (`\r` and `\n`) anywhere, and ignores unused bits of the last character. Other decoders refuse
//! both. There are only decoders here, because encoded text has one form.

use std::sync::LazyLock;

use data_encoding::{BASE32HEX_NOPAD, BASE64, BASE64URL_NOPAD, Encoding};

static STANDARD: LazyLock<Encoding> = LazyLock::new(|| lenient(&BASE64));
static URL: LazyLock<Encoding> = LazyLock::new(|| lenient(&BASE64URL_NOPAD));
static HEX: LazyLock<Encoding> = LazyLock::new(|| lenient(&BASE32HEX_NOPAD));

fn lenient(strict: &Encoding) -> Encoding {
    let mut specification = strict.specification();
    specification.check_trailing_bits = false;
    "\r\n".clone_into(&mut specification.ignore);
    specification.encoding().expect("line ends are in none of these alphabets")
}

/// Decodes like `base64.StdEncoding`: padding is required.
pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    // Only one padding, at the end: the library also accepts several such texts in a row.
    let padding = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    let is_one_text = text[padding..].iter().all(|byte| matches!(byte, b'=' | b'\r' | b'\n'));
    STANDARD.decode(text).ok().filter(|_| is_one_text)
}

/// Decodes like `base64.RawURLEncoding`: without padding.
pub fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    URL.decode(text).ok()
}

/// Decodes like `base32.HexEncoding` without padding, in capitals. For lengths that no encoder makes, Go silently drops
/// the last characters; here they are refused.
pub fn base32hex(text: &[u8]) -> Option<Vec<u8>> {
    HEX.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Go 1.26 answered.
    #[test]
    fn padded_base64_is_read_as_go_reads_it() {
        for (text, bytes) in [
            ("", ""),
            ("\n", ""),
            ("YQ==", "a"),
            ("YR==", "a"),
            ("YWI=", "ab"),
            ("YWJ=", "ab"),
            ("YWJj", "abc"),
            ("YW\r\nJj", "abc"),
            ("\nYQ==", "a"),
            ("YQ=\n=", "a"),
            ("Y\nQ\n=\n=\n", "a"),
            ("YWJj\n\n", "abc"),
        ] {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text:?}");
        }
        for text in [
            "Y",
            "YQ",
            "YQ=",
            "YWI",
            "Y===",
            "=",
            "====",
            "YW=j",
            "YWJjZ",
            "YQ==a",
            "YQ= =",
            "YQ==YQ==",
            "YQ==\nYWJj",
            "-_==",
            "YQ ==",
        ] {
            assert_eq!(base64(text.as_bytes()), None, "{text:?}");
        }
    }

    /// What Go 1.26 answered.
    #[test]
    fn unpadded_base64_for_urls_is_read_as_go_reads_it() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("\r", b""),
            ("YQ", b"a"),
            ("YR", b"a"),
            ("YWI", b"ab"),
            ("YWJ", b"ab"),
            ("YW\nJj", b"abc"),
            ("Y\nR", b"a"),
            ("YW-_", b"ao\xbf"),
        ] {
            assert_eq!(base64url(text.as_bytes()).as_deref(), Some(bytes), "{text:?}");
        }
        for text in ["Y", "YQ=", "YQ==", "YWJjZ", "YW+/"] {
            assert_eq!(base64url(text.as_bytes()), None, "{text:?}");
        }
    }

    /// What Go 1.26 answered.
    #[test]
    fn unpadded_base32_is_read_as_go_reads_it() {
        for (text, bytes) in [
            ("", &[][..]),
            ("00", &[0]),
            ("01", &[0]),
            ("0V", &[7]),
            ("0\n0", &[0]),
            ("00\r", &[0]),
            ("000V", &[0, 1]),
            ("0000V", &[0, 0, 15]),
            ("000000V", &[0, 0, 0, 3]),
            ("00000000", &[0; 5]),
        ] {
            assert_eq!(base32hex(text.as_bytes()).as_deref(), Some(bytes), "{text:?}");
        }
        for text in ["0W", "o0", "00="] {
            assert_eq!(base32hex(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in prop::collection::vec(any::<u8>(), 0..50), text in "[A-Za-z0-9+/=\r\n_-]{0,20}") {
            prop_assert_eq!(base64(BASE64.encode(&bytes).as_bytes()), Some(bytes.clone()));
            prop_assert_eq!(base64url(BASE64URL_NOPAD.encode(&bytes).as_bytes()), Some(bytes.clone()));
            prop_assert_eq!(base32hex(BASE32HEX_NOPAD.encode(&bytes).as_bytes()), Some(bytes));
            let _ = (base64(text.as_bytes()), base64url(text.as_bytes()), base32hex(text.as_bytes()));
        }
    }
}
