//! Unsigned integers of variable length, seven bits to a byte, the low ones first.

/// Most bytes of a 64-bit number.
const MAX_LENGTH: usize = 10;

/// Appends a number.
pub(crate) fn put(number: u64, to: &mut Vec<u8>) {
    let mut rest = number;
    while rest >= 0x80 {
        to.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

/// Takes a number off the front, in its shortest form only. `None` if it is cut off, too large or too long.
pub(crate) fn take(from: &mut &[u8]) -> Option<u64> {
    match split(from) {
        Split::Whole(number, length) => {
            *from = &from[length..];
            Some(number)
        }
        Split::Unfinished | Split::Malformed => None,
    }
}

/// What the front of some bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// A number, and its length in bytes.
    Whole(u64, usize),
    /// The beginning of a number.
    Unfinished,
    /// No number, whatever follows.
    Malformed,
}

/// Looks at the front of these bytes.
pub(crate) fn split(bytes: &[u8]) -> Split {
    let mut number = 0u64;
    for (position, &byte) in bytes.iter().enumerate().take(MAX_LENGTH) {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * position);
        if shifted >> (7 * position) != bits {
            return Split::Malformed;
        }
        number |= shifted;
        if byte < 0x80 {
            let shortest = byte != 0 || position == 0;
            return if shortest { Split::Whole(number, position + 1) } else { Split::Malformed };
        }
    }
    if bytes.len() < MAX_LENGTH { Split::Unfinished } else { Split::Malformed }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_one_form_each() {
        for (bytes, split_as) in [
            (&b""[..], Split::Unfinished),
            (b"\x00", Split::Whole(0, 1)),
            (b"\x80\x01rest", Split::Whole(128, 2)),
            (b"\x80", Split::Unfinished),
            (b"\x80\x00", Split::Malformed),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Split::Whole(u64::MAX, 10)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", Split::Malformed),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Split::Malformed),
        ] {
            assert_eq!(split(bytes), split_as, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_comes_back(number: u64, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            bytes.extend_from_slice(&rest);
            let mut left = &bytes[..];
            prop_assert_eq!(take(&mut left), Some(number));
            prop_assert_eq!(left, &rest[..]);
        }

        #[test]
        fn any_bytes_are_read_in_their_only_form(bytes: Vec<u8>) {
            if let Split::Whole(number, length) = split(&bytes) {
                let mut again = Vec::new();
                put(number, &mut again);
                prop_assert_eq!(&again[..], &bytes[..length]);
            }
        }
    }
}
