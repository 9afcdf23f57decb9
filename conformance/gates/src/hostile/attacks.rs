//! Attacks from one address, each for a process of its own that repeats it until it is killed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::Target;
use harness::manifest::IMAGE;
use harness::noise::noise;
use harness::site::{hex, sha256};

use super::frames::{END_STREAM, RST_STREAM, frame, greeted, greeted_with_huge_windows, request};
use super::raw::{Raw, Said};

/// Another address than that of honest clients.
const ADDRESS: u8 = 66;
/// How long an attacker waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that a client of [`Attack::Connections`] holds.
const HELD: usize = 100;
/// The default of `registry.max_references`.
const MAX_REFERENCES: usize = 10_000;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BYTES: &str = "application/octet-stream";

/// What an attacker repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Attack {
    /// Manifests that reference thousands of absent blobs.
    Crowded,
    /// Large manifests whose clients leave.
    Leaving,
    /// Bodies that send a byte from time to time.
    Bodies,
    /// Upload sessions that nobody uses.
    Sessions,
    /// Connections with a head that does not end.
    Connections,
    /// Streams of HTTP/2 whose answers nobody reads.
    Unread,
    /// Streams of HTTP/2 that are reset at once.
    Resets,
    /// Chunks of one byte.
    Chunks,
    /// Pages of `/` that nobody else asks for.
    Pages,
    /// Tags without end.
    Tags,
    /// Skyfiles of a portal that are uploaded slowly.
    Skyfiles,
}

/// The attacker's process.
#[derive(clap::Args, Debug)]
pub struct AttackArgs {
    attack: Attack,
    /// The port on loopback.
    #[arg(long)]
    port: u16,
    /// The path of large content.
    #[arg(long)]
    path: String,
}

impl Attack {
    fn clients(self) -> usize {
        match self {
            Attack::Sessions | Attack::Connections | Attack::Resets | Attack::Pages => 8,
            Attack::Crowded | Attack::Leaving | Attack::Unread | Attack::Tags => 16,
            Attack::Chunks => 48,
            Attack::Bodies | Attack::Skyfiles => 300,
        }
    }
}

/// Repeats the attack until the process is killed, or the gate that started it has ended.
pub fn run(args: &AttackArgs) {
    let attacker = Attacker { target: Target::local(args.port), path: args.path.clone(), next: AtomicUsize::new(0) };
    let parent = std::os::unix::process::parent_id();
    std::thread::scope(|scope| {
        for _ in 0..args.attack.clients() {
            scope.spawn(|| {
                while std::os::unix::process::parent_id() == parent {
                    // A refused attack is repeated like any other.
                    if attacker.step(args.attack).is_err() {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            });
        }
    });
}

#[derive(Debug)]
struct Attacker {
    target: Target,
    path: String,
    next: AtomicUsize,
}

impl Attacker {
    fn step(&self, attack: Attack) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match attack {
            Attack::Crowded => self.put(&format!("v{number}"), IMAGE, crowded(number, 0).as_bytes()),
            Attack::Leaving => self.leave(number),
            Attack::Bodies => self.dribble(&format!("POST {}?digest={}", uploads(number), sha256(b"absent"))),
            Attack::Skyfiles => self.dribble("POST /skynet/skyfile?filename=slow"),
            Attack::Sessions => self.ask(&format!("POST {}", uploads(number)), BYTES, &[]).map(drop),
            Attack::Connections => self.hold(),
            Attack::Unread => self.unread(),
            Attack::Resets => self.reset(),
            Attack::Chunks => self.append(number),
            Attack::Pages => self.ask(&format!("GET /?last=x{number}"), BYTES, &[]).map(drop),
            Attack::Tags => self.put(&format!("t{number}"), INDEX, EMPTY_INDEX),
        }
    }

    fn open(&self) -> anyhow::Result<Raw> {
        Raw::open_from(&self.target, ADDRESS)
    }

    /// Sends a request on a connection of its own, and waits for the answer.
    fn ask(&self, line: &str, content_type: &str, body: &[u8]) -> anyhow::Result<Said> {
        let mut raw = self.open()?;
        raw.send(&head(line, content_type, body.len(), "Connection: close\r\n"));
        raw.send(body);
        raw.listen(PATIENCE, |said| !said.statuses().is_empty())
    }

    fn put(&self, reference: &str, media_type: &str, manifest: &[u8]) -> anyhow::Result<()> {
        self.ask(&format!("PUT /v2/attacked/manifests/{reference}"), media_type, manifest).map(drop)
    }

    /// Sends a manifest of nearly 4 MiB, and leaves once the server has begun to work on it.
    fn leave(&self, number: usize) -> anyhow::Result<()> {
        let manifest = crowded(number, 2_600_000);
        let mut raw = self.open()?;
        raw.send(&head(&format!("PUT /v2/attacked/manifests/v{number}"), IMAGE, manifest.len(), ""));
        raw.send(manifest.as_bytes());
        raw.listen(Duration::from_millis(800), |said| !said.statuses().is_empty()).map(drop)
    }

    fn dribble(&self, line: &str) -> anyhow::Result<()> {
        let mut raw = self.open()?;
        raw.send(&head(line, BYTES, 100_000, ""));
        for _ in 0..60 {
            let said = raw.listen(Duration::from_millis(500), |said| !said.statuses().is_empty())?;
            ensure!(!said.closed && said.statuses().is_empty(), "it was refused");
            raw.send(b"x");
        }
        Ok(())
    }

    fn hold(&self) -> anyhow::Result<()> {
        let mut held = Vec::new();
        for _ in 0..HELD {
            let mut raw = self.open()?;
            raw.send(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
            held.push(raw);
        }
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    fn unread(&self) -> anyhow::Result<()> {
        let mut raw = self.open()?;
        raw.send(&greeted_with_huge_windows());
        let requests = (0..100).map(|number| request(2 * number + 1, END_STREAM, "GET", &self.path, &[]));
        raw.send(&requests.collect::<Vec<_>>().concat());
        for round in 1..20 {
            let said = raw.listen(Duration::from_millis(300), |said| said.bytes.len() >= round << 14)?;
            ensure!(!said.closed, "it was cut");
        }
        Ok(())
    }

    fn reset(&self) -> anyhow::Result<()> {
        let mut raw = self.open()?;
        raw.send(&greeted());
        for batch in 0..50 {
            let resets = (0..100).map(|number| {
                let stream = 2 * (100 * batch + number) + 1;
                let cancelled = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
                [request(stream, END_STREAM, "GET", "/v2/", &[]), cancelled].concat()
            });
            ensure!(raw.send(&resets.collect::<Vec<_>>().concat()), "it was cut");
            raw.listen(Duration::from_millis(1), |said| said.closed)?;
        }
        Ok(())
    }

    /// Begins an upload, and appends single bytes to it.
    fn append(&self, number: usize) -> anyhow::Result<()> {
        let begun = self.ask(&format!("POST {}", uploads(number)), BYTES, &[])?;
        let text = String::from_utf8_lossy(&begun.bytes).to_lowercase();
        let location = text.split("location: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let location = location.context("no session")?;
        for byte in 0..500 {
            let range = format!("Content-Range: {byte}-{byte}\r\nConnection: close\r\n");
            let mut raw = self.open()?;
            raw.send(&head(&format!("PATCH {location}"), BYTES, 1, &range));
            raw.send(b"x");
            let said = raw.listen(PATIENCE, |said| !said.statuses().is_empty())?;
            ensure!(said.statuses() == [202], "it was refused");
        }
        Ok(())
    }
}

const EMPTY_INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn uploads(number: usize) -> String {
    format!("/v2/attacked{}/blobs/uploads/", number % 50)
}

fn head(line: &str, content_type: &str, length: usize, more: &str) -> Vec<u8> {
    let host = "Host: localhost\r\n";
    format!("{line} HTTP/1.1\r\n{host}Content-Type: {content_type}\r\nContent-Length: {length}\r\n{more}\r\n")
        .into_bytes()
}

/// An image with the most references, all of them absent and different for each number, and with more bytes of a pad.
fn crowded(number: usize, pad: usize) -> String {
    let hashes = noise(&format!("attack {number}"), 32 * MAX_REFERENCES);
    let describe = |hash| format!(r#"{{"mediaType":"a/b","digest":"sha256:{}","size":1}}"#, hex(hash));
    let descriptors: Vec<String> = hashes.chunks(32).map(describe).collect();
    format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}],"annotations":{{"pad":"{}"}}}}"#,
        descriptors[0],
        descriptors[1..].join(","),
        "x".repeat(pad)
    )
}
