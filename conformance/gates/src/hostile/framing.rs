//! Message framing (RFC 9112 sections 2, 5, 6 and 7.1): ambiguous messages must not be read at all.

use std::time::Duration;

use harness::expect::{Faults, that};

use super::raw::{Raw, exchange};
use super::state::Victim;
use super::victim;
use crate::case::Bench;

const LIMIT: Duration = Duration::from_secs(8);

/// The hidden request behind the one that a proxy sees.
const SMUGGLED: &str = "GET /v2/_catalog HTTP/1.1\r\nHost: smuggled\r\n\r\n";

/// A head's fields and a body, after `PATCH <session>`.
const AMBIGUOUS: &[(&str, &str, &str)] = &[
    ("length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ("chunked and length", "Transfer-Encoding: chunked\r\nContent-Length: 60", "0\r\n\r\n"),
    ("two lengths", "Content-Length: 0\r\nContent-Length: 51", ""),
    ("two lengths in one field", "Content-Length: 0, 51", ""),
    ("a signed length", "Content-Length: +0", ""),
    ("a negative length", "Content-Length: -1", ""),
    ("a hexadecimal length", "Content-Length: 0x0", ""),
    ("an empty length", "Content-Length:", ""),
    ("a length beyond 64 bits", "Content-Length: 18446744073709551616", ""),
    ("chunked in two spellings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
    ("chunked before identity", "Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    ("an unknown coding", "Transfer-Encoding: xchunked", "0\r\n\r\n"),
    ("a vertical tab before chunked", "Transfer-Encoding: \x0bchunked", "0\r\n\r\n"),
    ("a space before the colon", "Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("a space before the colon of a length", "Content-Length : 0", ""),
    ("a folded field", "X-A: b\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
    ("a folded length", "Content-Length:\r\n 0", ""),
    ("a chunk size with a sign", "Transfer-Encoding: chunked", "+0\r\n\r\n"),
    ("a chunk size of 0x0", "Transfer-Encoding: chunked", "0x0\r\n\r\n"),
    ("no chunk size", "Transfer-Encoding: chunked", "\r\n\r\n"),
    ("a chunk size that is no number", "Transfer-Encoding: chunked", "zz\r\n\r\n"),
    ("a negative chunk size", "Transfer-Encoding: chunked", "-1\r\n\r\n"),
    ("a chunk size beyond 64 bits", "Transfer-Encoding: chunked", "10000000000000000\r\n\r\n"),
    ("a chunk size of all 64 bits", "Transfer-Encoding: chunked", "ffffffffffffffff\r\nx"),
    ("a chunk longer than its size", "Transfer-Encoding: chunked", "1\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size ended by a bare LF", "Transfer-Encoding: chunked", "1\na\r\n0\r\n\r\n"),
    ("a chunk ended by a bare LF", "Transfer-Encoding: chunked", "1\r\na\n0\r\n\r\n"),
    ("a bare CR in a chunk size", "Transfer-Encoding: chunked", "1\ra\r\n0\r\n\r\n"),
    ("a chunk extension with a bare LF", "Transfer-Encoding: chunked", "1;x\n\r\na\r\n0\r\n\r\n"),
];

/// Expects at most one answer, which is 400. The bytes after it must never be read as a request.
pub fn ambiguous(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "ambiguous")?;
    let mut faults = Faults::default();
    for (what, fields, body) in AMBIGUOUS {
        let head = format!("PATCH {} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n", victim.session.location);
        let said = exchange(&victim.target(), format!("{head}{body}{SMUGGLED}").as_bytes(), LIMIT);
        faults.check(
            what,
            said.and_then(|said| {
                let statuses = said.statuses();
                that(statuses.len() <= 1, || format!("the smuggled request was answered: {statuses:?}"))?;
                // If a message has both a length and chunked coding, chunked may count if the connection ends (RFC 9112
                // 6.1).
                let both = fields.contains("Content-Length:") && fields.contains("Transfer-Encoding:");
                let right = |status: &u16| (400..500).contains(status) || both && *status == 202;
                that(statuses.iter().all(right), || format!("{statuses:?} {}", said.clip()))
            }),
        );
        faults.check(what, victim.unchanged());
    }
    faults.check("many chunk extensions", extensions(&victim));
    faults.check("many trailers", trailers(&victim));
    faults.finish()?;
    victim.end()
}

/// Chunk extensions may be ignored (RFC 9112 7.1.1), but not without a limit.
fn extensions(victim: &Victim) -> anyhow::Result<()> {
    flood(victim, &format!("1;{}\r\na\r\n", "x".repeat(8 << 10)))
}

fn trailers(victim: &Victim) -> anyhow::Result<()> {
    let mut raw = chunked(victim)?;
    raw.send(b"0\r\n");
    for number in 0..20_000 {
        if !raw.send(format!("X-Trailer-{number}: {}\r\n", "x".repeat(200)).as_bytes()) {
            break;
        }
    }
    let said = raw.until_closed(LIMIT)?;
    that(said.statuses().iter().all(|status| (400..500).contains(status)), || said.clip())
}

/// Sends the same piece of a body repeatedly until the server gives up. 32 MiB of overhead are too much.
fn flood(victim: &Victim, piece: &str) -> anyhow::Result<()> {
    let mut raw = chunked(victim)?;
    let mut sent = 0;
    while sent < 32 << 20 && raw.send(piece.as_bytes()) {
        sent += piece.len();
    }
    let said = raw.until_closed(LIMIT)?;
    that(sent < 32 << 20, || format!("it took {sent} bytes of chunk extensions"))?;
    that(said.statuses().iter().all(|status| (400..500).contains(status)), || said.clip())
}

fn chunked(victim: &Victim) -> anyhow::Result<Raw> {
    let mut raw = Raw::open(&victim.target())?;
    // A session of its own, since the part of a body before its fault may be kept.
    let session = victim.repo.begin()?;
    let fields = "Host: localhost\r\nTransfer-Encoding: chunked";
    raw.send(format!("PATCH {} HTTP/1.1\r\n{fields}\r\n\r\n", session.location).as_bytes());
    Ok(raw)
}

/// Malformed heads, each with its valid statuses. Closing without an answer is also valid.
const MALFORMED: &[(&str, &[u8], &[u16])] = &[
    ("no version", b"GET /v2/\r\n\r\n", &[400]),
    ("version 0.9", b"GET /v2/ HTTP/0.9\r\nHost: localhost\r\n\r\n", &[400, 505]),
    ("version 1.2", b"GET /v2/ HTTP/1.2\r\nHost: localhost\r\n\r\n", &[400, 505]),
    ("version 3.0", b"GET /v2/ HTTP/3.0\r\nHost: localhost\r\n\r\n", &[400, 505]),
    ("no host", b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n", &[400]),
    ("no host over HTTP/1.0", b"GET /v2/ HTTP/1.0\r\n\r\n", &[200]),
    ("two hosts", b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", &[400]),
    ("a bare LF after the request line", b"GET /v2/ HTTP/1.1\nHost: localhost\r\nConnection: close\r\n\r\n", &[400]),
    ("a bare LF after a field", b"GET /v2/ HTTP/1.1\r\nHost: localhost\nConnection: close\r\n\r\n", &[400]),
    ("a bare LF at the end", b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\n", &[400]),
    ("a method of no letters", b"<> /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("an unknown method", b"BREW /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[405, 501]),
    ("CONNECT", b"CONNECT other:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404, 405]),
    ("TRACE", b"TRACE /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[405]),
    ("a space in the target", b"GET /v2/ x HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("NUL in the target", b"GET /v2/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("NUL in a field", b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-A: b\0c\r\n\r\n", &[400]),
    ("a bare CR in a field", b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-A: b\rc\r\n\r\n", &[400]),
    ("a field without colon", b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n", &[400]),
    ("a field name with a space", b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX A: b\r\n\r\n", &[400]),
    ("an empty field name", b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n: b\r\n\r\n", &[400]),
    ("space before the first field", b"GET /v2/ HTTP/1.1\r\n Host: localhost\r\n\r\n", &[400]),
    ("bytes of no text", &[0xff, 0xfe, 0xfd, 0x0d, 0x0a, 0x0d, 0x0a], &[400]),
    ("a bad escape", b"GET /v2/a/blobs/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404]),
    (
        "Expect of something else",
        b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nExpect: 7\r\nConnection: close\r\n\r\n",
        &[200, 417],
    ),
];

pub fn malformed(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "malformed")?;
    let mut faults = Faults::default();
    for (what, bytes, allowed) in MALFORMED {
        let said = exchange(&victim.target(), bytes, LIMIT);
        faults.check(
            what,
            said.and_then(|said| {
                let statuses = said.statuses();
                let right = statuses.len() <= 1 && statuses.iter().all(|status| allowed.contains(status));
                that(right, || format!("{statuses:?}, not {allowed:?}: {}", said.clip()))
            }),
        );
    }
    faults.check("the state", victim.unchanged());
    faults.finish()?;
    victim.end()
}

pub fn large(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "large")?;
    let long = |length: usize| "x".repeat(length);
    let many: String = (0..5000).fold(String::new(), |all, number| all + &format!("X-{number}: y\r\n"));
    let rows = [
        (
            "a target of 100 KiB",
            format!("GET /v2/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", long(100 << 10)),
            vec![414, 431, 400],
        ),
        (
            "a target of 4 MiB",
            format!("GET /v2/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", long(4 << 20)),
            vec![414, 431, 400],
        ),
        (
            "a query of 100 KiB",
            format!("GET /v2/?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", long(100 << 10)),
            vec![414, 431, 400],
        ),
        (
            "a field of 1 MiB",
            format!("GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", long(1 << 20)),
            vec![431],
        ),
        (
            "a field that never ends",
            format!("GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX: {}", long(1 << 20)),
            vec![431, 408],
        ),
        ("5000 fields", format!("GET /v2/ HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), vec![431]),
        (
            "a method of 1 MiB",
            format!("{} /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n", long(1 << 20)),
            vec![400, 414, 431],
        ),
        ("100,000 empty lines", "\r\n".repeat(100_000), vec![400, 408, 431]),
    ];
    let mut faults = Faults::default();
    for (what, request, allowed) in rows {
        let said = exchange(&victim.target(), request.as_bytes(), LIMIT);
        faults.check(
            what,
            said.and_then(|said| {
                let statuses = said.statuses();
                that(statuses.iter().all(|status| allowed.contains(status)), || {
                    format!("{statuses:?}, not {allowed:?}")
                })
            }),
        );
    }
    faults.check("the state", victim.unchanged());
    faults.finish()?;
    victim.end()
}
