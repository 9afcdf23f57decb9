//! Other protocols on the same port: TLS, and HTTP/2 with prior knowledge (RFC 9113) that breaks its rules.

use std::time::Duration;

use anyhow::ensure;
use harness::expect::{Faults, that};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, greeted,
};
use super::raw::{Raw, exchange};
use super::{victim, victim_with};
use crate::case::Bench;

const LIMIT: Duration = Duration::from_secs(12);

/// The start of a `ClientHello` for TLS 1.2 and later.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x20\x21\x22\x23\x24\x25\x26\x27";

pub fn tls_hello(bench: &Bench) -> anyhow::Result<()> {
    // With this long timeout, an answer cannot be due to a slow head.
    let victim = victim_with(bench, "tls", "10m")?;
    let said = exchange(&victim.target(), HELLO, LIMIT)?;
    ensure!(said.statuses() == [400], "{:?} {}", said.statuses(), said.clip());
    // curl and Docker show this text to users that forgot that there is no TLS.
    let text = String::from_utf8_lossy(&said.bytes).into_owned();
    ensure!(text.contains("plain HTTP"), "{text}");
    victim.unchanged()?;
    victim.end()
}

/// `GET / http` with the authority `x`, by HPACK's static table (RFC 7541 appendix A).
const GET: &[u8] = b"\x82\x84\x86\x41\x01x";

pub fn garbage(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "garbage")?;
    let noise = harness::noise::noise("no frames", 64 << 10);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("noise after the preface", [PREFACE, &noise].concat()),
        ("noise after the settings", [greeted(), noise].concat()),
        ("a preface with a wrong end", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        ("a frame of 16 MiB", [greeted(), vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]].concat()),
        ("settings of odd length", [PREFACE, &frame(SETTINGS, 0, 0, &[0; 5])].concat()),
        ("settings on a stream", [greeted(), frame(SETTINGS, 0, 1, &[])].concat()),
        ("data on stream 0", [greeted(), frame(DATA, 0, 0, b"x")].concat()),
        ("headers on stream 0", [greeted(), frame(HEADERS, END_HEADERS, 0, GET)].concat()),
        ("headers on an even stream", [greeted(), frame(HEADERS, END_HEADERS, 2, GET)].concat()),
        ("a continuation of nothing", [greeted(), frame(CONTINUATION, END_HEADERS, 1, GET)].concat()),
        ("a push by the client", [greeted(), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])].concat()),
        ("a ping of 7 bytes", [greeted(), frame(PING, 0, 0, &[0; 7])].concat()),
        ("a window of 0", [greeted(), frame(WINDOW_UPDATE, 0, 0, &[0; 4])].concat()),
        ("a priority of 4 bytes", [greeted(), frame(PRIORITY, 0, 1, &[0; 4])].concat()),
        ("a broken header block", [greeted(), frame(HEADERS, END_HEADERS, 1, &[0xff; 30])].concat()),
    ];
    let mut faults = Faults::default();
    for (what, bytes) in rows {
        let mut raw = Raw::open(&victim.target())?;
        raw.send(&bytes);
        // A stream error may leave the connection open. Then our end closes it.
        let said = raw.listen(Duration::from_secs(4), |said| said.closed)?;
        raw.end();
        let said = if said.closed { Ok(said) } else { raw.until_closed(LIMIT) };
        faults.check(what, said.and_then(|said| that(!said.statuses().contains(&500), || said.clip())));
    }
    faults.check("the state", victim.unchanged());
    faults.finish()?;
    victim.end()
}

pub fn floods(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "floods")?;
    let mut faults = Faults::default();
    // CVE-2023-44487: streams that are reset as soon as they are begun.
    let reset = |stream: u32| {
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, GET), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    faults.check("rapid resets", flood(&victim, (0..20_000).map(|number| reset(2 * number + 1))));
    // CVE-2024-27316: a header block without end.
    let start = frame(HEADERS, END_STREAM, 1, GET);
    let more = frame(CONTINUATION, 0, 1, &[b"\x00\x01a\x7f\x80\x7e".as_slice(), &[b'x'; 253]].concat());
    faults.check("continuations", flood(&victim, std::iter::once(start).chain(std::iter::repeat_n(more, 20_000))));
    faults.check("pings", flood(&victim, std::iter::repeat_n(frame(PING, 0, 0, &[0; 8]), 50_000)));
    faults.check("settings", flood(&victim, std::iter::repeat_n(frame(SETTINGS, 0, 0, &[]), 50_000)));
    let empty = frame(DATA, 0, 1, &[]);
    let post = frame(HEADERS, END_HEADERS, 1, b"\x83\x84\x86\x41\x01x");
    faults.check("empty data", flood(&victim, std::iter::once(post).chain(std::iter::repeat_n(empty, 50_000))));
    let window = [greeted(), frame(HEADERS, END_HEADERS | END_STREAM, 1, GET)].concat();
    let unread = (0..100).map(|_| exchange_briefly(&victim, &window)).collect::<anyhow::Result<Vec<()>>>();
    faults.check("connections left at once", unread.map(drop));
    faults.check("the state", victim.unchanged());
    faults.finish()?;
    victim.end()
}

/// Sends frames until all are sent or the server closes. It must serve others meanwhile, and this connection must end.
fn flood(victim: &super::state::Victim, frames: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
    let mut raw = Raw::open(&victim.target())?;
    raw.send(&greeted());
    let mut batch = Vec::new();
    for frame in frames {
        batch.extend_from_slice(&frame);
        if batch.len() > 32 << 10 {
            if !raw.send(&batch) {
                break;
            }
            batch.clear();
            let _ = raw.listen(Duration::from_millis(1), |said| said.bytes.len() > 16 << 20)?;
        }
    }
    victim.unchanged()?;
    raw.end();
    raw.until_closed(LIMIT).map(drop)
}

fn exchange_briefly(victim: &super::state::Victim, bytes: &[u8]) -> anyhow::Result<()> {
    let mut raw = Raw::open(&victim.target())?;
    raw.send(bytes);
    Ok(())
}
