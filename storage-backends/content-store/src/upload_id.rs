//! Names of upload sessions.

use std::fmt;
use std::str::FromStr;

/// The name of an upload session: 32 lower-case hex digits, or a UUID in lower case. Safe as a file name and in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Box<str>);

/// The text is not an upload id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an upload id")]
pub struct UploadIdError;

impl UploadId {
    /// An id of 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        UploadId(format!("{:032x}", u128::from_be_bytes(bytes)).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hyphen = |position| text.len() == 36 && matches!(position, 8 | 13 | 18 | 23);
        let valid = matches!(text.len(), 32 | 36)
            && text.bytes().enumerate().all(|(position, byte)| match byte {
                b'-' => is_hyphen(position),
                b'0'..=b'9' | b'a'..=b'f' => !is_hyphen(position),
                _ => false,
            });
        if valid { Ok(UploadId(text.into())) } else { Err(UploadIdError) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn random_ids_and_uuids_parse_to_themselves() {
        let random = UploadId::from_random([7; 16]);
        for text in [random.as_str(), "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            assert_eq!(text.parse::<UploadId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nothing_else_is_an_id() {
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let shifted = "67e5504-410b1-426f-9247-bb680e5fe0c8";
        for bad in [
            "",
            "..",
            &"A".repeat(32),
            &"a".repeat(31),
            &"a".repeat(36),
            &uuid.to_uppercase(),
            shifted,
            "é".repeat(16).as_str(),
        ] {
            assert_eq!(bad.parse::<UploadId>(), Err(UploadIdError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_print_and_parse_to_themselves(bytes: [u8; 16]) {
            let id = UploadId::from_random(bytes);
            prop_assert_eq!(id.as_str().parse::<UploadId>(), Ok(id.clone()));
        }

        #[test]
        fn what_is_taken_is_safe_as_a_file_name(text in "[0-9a-f-]{30,38}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.{0,40}") {
            if let Ok(id) = text.parse::<UploadId>() {
                prop_assert_eq!(id.as_str(), text.as_str());
                prop_assert!(text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
                prop_assert!(!text.starts_with('-'));
            }
        }
    }
}
