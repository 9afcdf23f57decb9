//! A portal under judgement: requests to it, content unique to the run, and uploads in their plain forms.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Response, Target};
use harness::noise::noise;
use harness::site::clip;

use super::form::Form;
use super::link::Link;

/// A portal's profile: sector size, data and parity pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub sector: u64,
    pub data: u8,
    pub parity: u8,
}

impl Profile {
    /// The default profile of `skyberth portal`.
    pub const DEFAULT: Profile = Profile { sector: 4 << 20, data: 1, parity: 4 };
    /// The profile of skyd's testing builds.
    pub const TESTING: Profile = Profile { sector: 4 << 10, data: 1, parity: 4 };
    /// The profile of skyd's release builds.
    pub const RELEASE: Profile = Profile { sector: 4 << 20, data: 10, parity: 20 };
}

impl fmt::Display for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, unit) = if self.sector >= 1 << 20 { (self.sector >> 20, "MiB") } else { (self.sector >> 10, "KiB") };
        write!(out, "{size}{unit}/{}+{}", self.data, self.parity)
    }
}

impl std::str::FromStr for Profile {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts = || {
            let (size, pieces) = text.split_once('/')?;
            let (data, parity) = pieces.split_once('+')?;
            let sector = match (size.strip_suffix("MiB"), size.strip_suffix("KiB")) {
                (Some(size), _) => size.parse::<u64>().ok()? << 20,
                (_, Some(size)) => size.parse::<u64>().ok()? << 10,
                _ => return None,
            };
            Some(Profile { sector, data: data.parse().ok()?, parity: parity.parse().ok()? })
        };
        parts().with_context(|| format!("{text:?} is no profile such as 4MiB/1+4"))
    }
}

/// A portal, and a word that makes a run's uploads unique.
#[derive(Clone, Debug)]
pub struct Site {
    pub target: Target,
    pub profile: Profile,
    unique: String,
}

/// An accepted upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub link: Link,
    pub answer: Response,
}

impl Site {
    pub fn new(target: Target, profile: Profile) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Site { target, profile, unique: format!("{now:x}x{:x}", COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.target.authority())
    }

    /// A unique word.
    pub fn unique(&self) -> &str {
        &self.unique
    }

    /// A text with that word, so that its skylink is new.
    pub fn text(&self, about: &str) -> Vec<u8> {
        format!("{about} of {}", self.unique).into_bytes()
    }

    pub fn noise(&self, label: &str, length: usize) -> Vec<u8> {
        noise(&format!("{} {label}", self.unique), length)
    }

    pub fn send(&self, request: &Request) -> anyhow::Result<Response> {
        self.target.send(request).with_context(|| format!("{} {}", request.method, clip(&request.path)))
    }

    pub fn get(&self, path: impl Into<String>) -> anyhow::Result<Response> {
        self.send(&Request::get(path))
    }

    pub fn head(&self, path: impl Into<String>) -> anyhow::Result<Response> {
        self.send(&Request::new("HEAD", path))
    }

    /// A request for another host of the same portal.
    pub fn send_to(&self, host: &str, request: &Request) -> anyhow::Result<Response> {
        let host = format!("{host}:{}", self.target.port);
        let sent = Connection::open(&self.target)?.asking_for(&host).send(request);
        sent.with_context(|| format!("{} {} of {host}", request.method, clip(&request.path)))
    }

    /// Uploads bytes as one raw body.
    pub fn raw(&self, name: &str, bytes: &[u8]) -> anyhow::Result<Uploaded> {
        accepted(self.send(&raw_request(&format!("filename={}", escape(name)), bytes))?)
    }

    /// Uploads a form; `query` follows the question mark.
    pub fn form(&self, query: &str, form: &Form) -> anyhow::Result<Uploaded> {
        accepted(self.send(&form.request(&upload_path(query)))?)
    }

    /// Uploads a directory as its files.
    pub fn folder(&self, query: &str, files: &[(&str, &[u8])]) -> anyhow::Result<Uploaded> {
        let form = files.iter().fold(Form::new(), |form, (path, bytes)| form.file("files[]", path, None, bytes));
        self.form(&format!("filename=folder{}{query}", if query.is_empty() { "" } else { "&" }), &form)
    }

    /// Expects a GET to answer 200 with this body.
    pub fn same(&self, path: &str, bytes: &[u8]) -> anyhow::Result<Response> {
        let answer = self.get(path)?;
        answer.expect(200)?;
        ensure!(
            answer.body == bytes,
            "{}: {} bytes came back, not the {} sent",
            clip(path),
            answer.body.len(),
            bytes.len()
        );
        Ok(answer)
    }
}

pub fn upload_path(query: &str) -> String {
    format!("/skynet/skyfile{}{query}", if query.is_empty() { "" } else { "?" })
}

pub fn raw_request(query: &str, bytes: &[u8]) -> Request {
    Request::new("POST", upload_path(query)).header("Content-Type", "application/octet-stream").body(bytes)
}

/// An accepted upload. Its skylink must be the same in both places of the answer.
pub fn accepted(answer: Response) -> anyhow::Result<Uploaded> {
    answer.expect(200)?;
    let body = answer.json()?;
    let said = body["skylink"].as_str().with_context(|| format!("no skylink in {}", clip(&answer.text())))?;
    let link = Link::parse(said)?;
    let header = answer.need("Skynet-Skylink")?;
    ensure!(header == said, "the header says {header}, the body {said}");
    Ok(Uploaded { link, answer })
}

/// Escapes a text for a query or path: everything but letters, digits and a few marks as %XX.
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_read_as_they_are_written() {
        for text in ["4MiB/1+4", "4MiB/10+20", "4KiB/1+4"] {
            assert_eq!(text.parse::<Profile>().unwrap().to_string(), text);
        }
        assert_eq!("4MiB/1+4".parse::<Profile>().unwrap(), Profile::DEFAULT);
        assert!("4MB/1+4".parse::<Profile>().is_err());
    }

    #[test]
    fn names_are_escaped_byte_by_byte() {
        assert_eq!(escape("a b/ż?&.txt"), "a%20b/%C5%BC%3F%26.txt");
    }
}
