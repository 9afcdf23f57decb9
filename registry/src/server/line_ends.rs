//! Line ends in the head of an HTTP/1 request.

/// Watches the head of one request, in the pieces in which it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineEnds {
    /// The number of requests before it.
    request: u64,
    state: State,
}

/// What the last bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing, or empty lines before the request line, which are ignored (RFC 9112 2.2).
    Begin { after_cr: bool },
    /// A byte of a line.
    Line,
    /// A line with CR behind it.
    Cr,
    /// A whole line: the next one may be the empty one at the end.
    Lf,
    /// CR in the empty line.
    LastCr,
    /// The head has ended; a body follows, or nothing.
    End,
}

impl LineEnds {
    /// The head after so many requests.
    pub(super) fn of(request: u64) -> Self {
        LineEnds { request, state: State::Begin { after_cr: false } }
    }

    /// The number of requests before it.
    pub(super) fn request(self) -> u64 {
        self.request
    }

    /// True if one of the next bytes is an LF without CR, and not behind the head. The parser takes it for an end of line,
    /// and a proxy before it may not (RFC 9112 2.2).
    pub(super) fn have_bare_lf(&mut self, bytes: &[u8]) -> bool {
        let mut bare = false;
        for byte in bytes {
            let after_cr = matches!(self.state, State::Begin { after_cr: true } | State::Cr | State::LastCr);
            bare |= *byte == b'\n' && !after_cr && self.state != State::End;
            self.state = match (self.state, *byte) {
                (State::End, _) | (State::LastCr | State::Lf, b'\n') => State::End,
                (State::Begin { .. }, b'\r') => State::Begin { after_cr: true },
                (State::Begin { .. }, b'\n') => State::Begin { after_cr: false },
                (_, b'\n') => State::Lf,
                (State::Lf, b'\r') => State::LastCr,
                (_, b'\r') => State::Cr,
                _ => State::Line,
            };
        }
        bare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a bare LF is found, however the bytes are cut into reads.
    fn found(sent: &str) -> bool {
        let mut results: Vec<bool> = (1..=sent.len())
            .map(|length| {
                let mut ends = LineEnds::of(0);
                sent.as_bytes().chunks(length).fold(false, |found, read| found | ends.have_bare_lf(read))
            })
            .collect();
        results.dedup();
        assert_eq!(results.len(), 1, "reads change the result: {sent:?}");
        results[0]
    }

    #[test]
    fn bare_line_ends_are_found_in_the_head_only() {
        for clean in
            ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\nGET /\r\nA: b\r\n\r\n", "GET /\r\n\r\nbody\n\n\r\n\nmore\n"]
        {
            assert!(!found(clean), "{clean:?}");
        }
        for bare in [
            "GET /\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\n\r\n",
            "GET /\r\nHost: a\r\n\n",
            "GET /\r\nA: b\n\nhidden\r\n\r\n",
            "\nGET /\r\n\r\n",
            "\r\n\nGET /\r\n\r\n",
        ] {
            assert!(found(bare), "{bare:?}");
        }
    }
}
