//! Random changes to the bytes of a request, from a seed, so that a failure can be reproduced.

/// xorshift64*, seeded with any number.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }
}

/// Byte sequences that often break parsers.
const NASTY: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"%",
    b"%2e%2e",
    b"%2f",
    b"%00",
    b"..",
    b"//",
    b"\xff",
    b"\xc3\x28",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Range: 0-18446744073709551615\r\n",
    b"Content-Range: 5-1\r\n",
    b"Range: bytes=0-0,2-3,-1\r\n",
    b"Range: bytes=18446744073709551615-\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\n",
    b"If-Match: *\r\n",
    b"If-None-Match: \"\r\n",
    b"-1",
    b"99999999999999999999",
    b"sha512:",
    b"sha256:",
    b"{",
    b"[[[[[[[[[[[[[[[[",
    b"\"",
    b"&",
    b"?digest=",
    b"&tag=",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HEAD",
    b"DELETE",
    b"PUT",
];

/// The request with one to four changes.
pub fn mutate(request: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = request.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = bytes.len().min(at + 1 + dice.below(16));
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.next() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, request[..dice.below(request.len())].iter().copied().take(40))),
            4 => {
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            5 => bytes.truncate(at),
            6 => drop(bytes.splice(at..end, NASTY[dice.below(NASTY.len())].iter().copied())),
            _ => drop(bytes.splice(at..at, NASTY[dice.below(NASTY.len())].iter().copied())),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_changes_and_most_change_something() {
        let request = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let run = |seed| {
            (0..200)
                .map({
                    let mut dice = Dice::new(seed);
                    move |_| mutate(request, &mut dice)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(run(7).iter().filter(|changed| changed.as_slice() != request).count() > 150);
        let _ = mutate(b"", &mut Dice::new(1));
    }
}
