//! Line ends in the head of an HTTP/1 request.

/// The state of a head that is read in pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineEnds {
    /// The number of earlier requests.
    request: u64,
    state: State,
}

/// What was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing, or empty lines before the request line, which are ignored (RFC 9112 2.2).
    Begin { after_cr: bool },
    /// A byte within a line.
    Line,
    /// The CR after a line.
    Cr,
    /// A complete line. The next one may be the empty line at the end.
    Lf,
    /// The CR of the empty line.
    LastCr,
    /// The head has ended. A body may follow.
    End,
}

impl LineEnds {
    /// The state before the head with this number of earlier requests.
    pub(super) fn of(request: u64) -> Self {
        LineEnds { request, state: State::Begin { after_cr: false } }
    }

    /// The number of earlier requests.
    pub(super) fn request(self) -> u64 {
        self.request
    }

    /// True once the head has ended.
    pub(super) fn ended(self) -> bool {
        self.state == State::End
    }

    /// Reads bytes up to the end of the head: returns their number, and true if one of them is a bare LF. The parser
    /// would treat it as a line end, but a proxy in front might not (RFC 9112 2.2).
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut bare = false;
        for (at, byte) in bytes.iter().enumerate() {
            if self.ended() {
                return (at, bare);
            }
            let after_cr = matches!(self.state, State::Begin { after_cr: true } | State::Cr | State::LastCr);
            bare |= *byte == b'\n' && !after_cr;
            self.state = match (self.state, *byte) {
                (State::LastCr | State::Lf, b'\n') => State::End,
                (State::Begin { .. }, b'\r') => State::Begin { after_cr: true },
                (State::Begin { .. }, b'\n') => State::Begin { after_cr: false },
                (_, b'\n') => State::Lf,
                (State::Lf, b'\r') => State::LastCr,
                (_, b'\r') => State::Cr,
                _ => State::Line,
            };
        }
        (bytes.len(), bare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True if a bare LF is found, wherever the bytes are split.
    fn found(sent: &str) -> bool {
        let mut results: Vec<bool> = (1..=sent.len())
            .map(|length| {
                let mut ends = LineEnds::of(0);
                sent.as_bytes().chunks(length).fold(false, |found, read| found | ends.read(read).1)
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
