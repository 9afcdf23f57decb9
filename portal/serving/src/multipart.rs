//! `multipart/byteranges`: the answer to a request for several ranges (RFC 9110 section 14.6).

use std::hash::{BuildHasher, RandomState};
use std::io;

use bytes::Bytes;
use futures_util::stream::{self, Stream, TryStreamExt};
use http::HeaderValue;

use crate::ByteRange;

/// Makes the pieces of the answer one by one, while they are sent.
#[derive(Clone, Debug)]
pub struct Multipart {
    boundary: String,
    media_type: HeaderValue,
    size: u64,
    ranges: std::vec::IntoIter<ByteRange>,
    next: Next,
}

/// A piece of the answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A part's head, or the end of the body.
    Text(Bytes),
    /// These bytes of the content.
    Range(ByteRange),
}

#[derive(Clone, Copy, Debug)]
enum Next {
    /// The head of the first part, which has no line break before it.
    FirstHead,
    Head,
    Range(ByteRange),
    Nothing,
}

impl Multipart {
    /// The answer with these ranges of content of the given size and media type.
    pub fn new(ranges: Vec<ByteRange>, size: u64, media_type: HeaderValue) -> Self {
        Multipart { boundary: boundary(), media_type, size, ranges: ranges.into_iter(), next: Next::FirstHead }
    }

    /// `Content-Type` of the answer.
    pub fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("multipart/byteranges"))
    }

    /// Length of the whole body in bytes.
    pub fn length(&self) -> u64 {
        let length = |piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Range(range) => range.length(),
        };
        self.clone().map(length).sum()
    }

    /// The body. `bytes` supplies the content of all ranges in order; none of its pieces may have bytes of two ranges.
    pub fn around<S>(self, bytes: S) -> impl Stream<Item = io::Result<Bytes>> + Send + use<S>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        stream::try_unfold((self, bytes, 0), async |(mut pieces, mut bytes, mut left)| {
            if left == 0 {
                match pieces.next() {
                    Some(Piece::Text(text)) => return Ok(Some((text, (pieces, bytes, 0)))),
                    Some(Piece::Range(range)) => left = range.length(),
                    None => return Ok(None),
                }
            }
            let piece = bytes.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            left = left.checked_sub(piece.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Some((piece, (pieces, bytes, left))))
        })
    }

    fn head(&self, range: ByteRange, before: &str) -> Bytes {
        let head = format!("{before}--{}\r\nContent-Range: {}\r\nContent-Type: ", self.boundary, range.of(self.size));
        [head.as_bytes(), self.media_type.as_bytes(), b"\r\n\r\n"].concat().into()
    }
}

impl Iterator for Multipart {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let before = match self.next {
            Next::FirstHead => "",
            Next::Head => "\r\n",
            Next::Range(range) => {
                self.next = Next::Head;
                return Some(Piece::Range(range));
            }
            Next::Nothing => return None,
        };
        let Some(range) = self.ranges.next() else {
            self.next = Next::Nothing;
            return Some(Piece::Text(format!("{before}--{}--\r\n", self.boundary).into()));
        };
        self.next = Next::Range(range);
        Some(Piece::Text(self.head(range, before)))
    }
}

/// A random boundary. Uploaders must not be able to guess it, else a file could pretend to have parts.
fn boundary() -> String {
    // The keys of the hasher are random, and new for each state.
    let word = || RandomState::new().hash_one("boundary");
    format!("{:016x}{:016x}", word(), word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use proptest::prelude::*;

    fn multipart(ranges: &[(u64, u64)], size: u64) -> Multipart {
        let ranges = ranges.iter().map(|(first, last)| ByteRange { first: *first, last: *last }).collect();
        Multipart::new(ranges, size, HeaderValue::from_static("text/plain"))
    }

    /// The body over content whose bytes are their offsets.
    fn body(multipart: &Multipart) -> Vec<u8> {
        let pieces = multipart.clone().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Range(range) => (range.first as u8..=range.last as u8).collect(),
        });
        pieces.collect::<Vec<Bytes>>().concat()
    }

    #[test]
    fn each_range_is_a_part_in_the_order_given() {
        let multipart = multipart(&[(50, 51), (48, 49)], 100);
        let boundary = &multipart.boundary;
        let part = |range: &str, bytes: &str| {
            format!("--{boundary}\r\nContent-Range: bytes {range}/100\r\nContent-Type: text/plain\r\n\r\n{bytes}\r\n")
        };
        let want = format!("{}{}--{boundary}--\r\n", part("50-51", "23"), part("48-49", "01"));
        assert_eq!(String::from_utf8(body(&multipart)).unwrap(), want);
        assert_eq!(multipart.content_type(), format!("multipart/byteranges; boundary={boundary}"));
    }

    #[test]
    fn boundaries_differ() {
        let boundaries: std::collections::HashSet<String> = (0..1000).map(|_| boundary()).collect();
        assert_eq!(boundaries.len(), 1000);
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_or_runs_into_the_next_range_ends_the_body_with_an_error() {
        for pieces in [vec![2], vec![3, 2], vec![2, 4]] {
            let pieces = pieces.into_iter().map(|length| Ok(Bytes::from(vec![0; length])));
            let body = multipart(&[(0, 1), (5, 7)], 10).around(stream::iter(pieces));
            assert!(body.collect::<Vec<_>>().await.last().unwrap().is_err());
        }
    }

    proptest! {
        #[test]
        fn the_length_is_exact_and_a_stream_gives_the_same_body(
            ranges in prop::collection::vec((0_u64..100, 0_u64..100), 1..20), step in 1_usize..40,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let multipart = multipart(&ranges, 100);
            let want = body(&multipart);
            prop_assert_eq!(multipart.length(), want.len() as u64);
            let bytes: Vec<Bytes> = ranges
                .iter()
                .flat_map(|(first, last)| {
                    let range: Vec<u8> = (*first as u8..=*last as u8).collect();
                    range.chunks(step).map(Bytes::copy_from_slice).collect::<Vec<_>>()
                })
                .collect();
            let streamed = multipart.around(stream::iter(bytes.into_iter().map(Ok))).collect::<Vec<_>>();
            let streamed = futures_util::FutureExt::now_or_never(streamed).unwrap();
            let streamed: Vec<Bytes> = streamed.into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(streamed.concat(), want);
        }
    }
}
