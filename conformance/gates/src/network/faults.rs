//! Portals that are gone, lie, stall or refuse: pulls succeed while one portal is honest, and the fault is reported.

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::gate::note;
use harness::proxy::Fault;
use harness::server::Server;
use harness::site::Site;
use harness::status::{self, Metrics, TROUBLE, warnings};

use super::images::Library;
use super::stack::Stack;
use super::{KIB, MIB, TIMED_OUT, patience};
use crate::case::Bench;

/// How long a stalling portal stalls.
const STALL: Duration = Duration::from_secs(4);

/// Content on all three portals and none of it local.
fn prepared(bench: &Bench, name: &str, lengths: &[usize]) -> anyhow::Result<(Stack, Library, Server)> {
    let stack = Stack::new(bench, 3)?;
    let server = stack.start()?;
    let library = Library::push(Site::new(server.target(), name).repo("a"), &["sha256"], lengths)?;
    stack.settle(&server.target(), patience(bench))?;
    Ok((stack, library, server))
}

/// Each portal has each fault once, so that the order of requests hides nothing.
pub fn gone_lying_stalling(bench: &Bench) -> anyhow::Result<()> {
    let (stack, library, mut server) = prepared(bench, "faults", &[KIB, 4 * MIB - 300, 9 * MIB, 20 * MIB])?;
    let log = stack.options.log.clone();
    let (mut named_gone, mut named_lying, mut grown) = (0, 0, Vec::new());
    for round in 0..3 {
        stack.set_all(&Fault::None);
        server = stack.make_cold(server)?;
        let (from, before) = (status::length(&log), Metrics::of(&server.target())?);
        let portal = |number: usize| &stack.portals[(round + number) % 3].proxy;
        portal(0).set(Fault::Gone);
        portal(1).set(Fault::Lying);
        portal(2).set(Fault::Stalled);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(STALL);
                portal(2).set(Fault::None);
            });
            library.check().with_context(|| format!("round {round}"))
        })?;
        named_gone += warnings(&log, from, &portal(0).authority())?.len();
        named_lying += warnings(&log, from, &portal(1).authority())?.len();
        let after = Metrics::of(&server.target())?;
        grown.extend(after.grown(&before, &TROUBLE).iter().map(|name| (*name).to_owned()));
    }
    note(&format!("warnings of the portal that is gone: {named_gone}, that lies: {named_lying}"));
    grown.sort();
    grown.dedup();
    note(&format!("metrics that grew: {}", grown.join(", ")));
    ensure!(named_lying > 0, "no warning names the portal that lies");
    ensure!(named_gone > 0, "no warning names the portal that is gone");
    ensure!(!grown.is_empty(), "no metric counts the trouble");
    Ok(())
}

/// Answers of portals and their proxies in place of content.
const REFUSALS: [(&str, &str); 8] = [
    ("500, timed out", TIMED_OUT),
    (
        "404, by time-out",
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\
        {\"message\":\"failed to fetch skylink: download did not start in time\"}",
    ),
    ("404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ("429", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ("451", "HTTP/1.1 451 Unavailable For Legal Reasons\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    (
        "502, HTML",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n\
        <html><body><h1>502 Bad Gateway</h1></body></html>",
    ),
    (
        "200, HTML",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 46\r\nConnection: close\r\n\r\n\
        <html><body>Please log in first.</body></html>",
    ),
    ("200, nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
];

pub fn refusals(bench: &Bench) -> anyhow::Result<()> {
    let (stack, library, mut server) = prepared(bench, "refusals", &[KIB, 9 * MIB])?;
    let mut asked = 0;
    for (number, (name, answer)) in REFUSALS.iter().enumerate() {
        stack.set_all(&Fault::None);
        server = stack.make_cold(server)?;
        let mark = stack.mark();
        let honest = number % 3;
        for (_, portal) in stack.portals.iter().enumerate().filter(|(place, _)| *place != honest) {
            portal.proxy.set(Fault::says(answer));
        }
        library.check().with_context(|| format!("two portals answer {name}"))?;
        asked += stack.since(&mark).iter().filter(|exchange| exchange.is_download()).count();
        let given = stack.portals[honest].proxy.sent();
        ensure!(given >= library.bytes(), "{name}: the honest portal gave {given} bytes only");
    }
    note(&format!("{asked} downloads asked for under {} kinds of refusal", REFUSALS.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_an_answer() {
        for (name, answer) in REFUSALS {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if let Some(length) = length.filter(|_| !body.is_empty()) {
                assert_eq!(length, body.len().to_string(), "{name}");
            }
            assert!(harness::proxy::exchange::status(head).is_some(), "{name}");
        }
    }
}
