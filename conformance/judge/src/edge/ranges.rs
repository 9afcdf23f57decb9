//! Ranges of blobs: served, refused and ignored (rows 29-35).

use anyhow::{Context, anyhow, ensure};
use harness::client::{Request, Response};
use harness::expect::{self, Faults};
use harness::site::{Repo, Site, clip, reading};

const SIZE: usize = 2048;

/// Enough bytes for 1,024 separate ranges.
const WIDE: usize = 1 << 20;

struct Pushed {
    repo: Repo,
    bytes: Vec<u8>,
    digest: String,
}

impl Pushed {
    fn new(site: &Site) -> anyhow::Result<Self> {
        Pushed::sized(site, SIZE)
    }

    fn sized(site: &Site, length: usize) -> anyhow::Result<Self> {
        let repo = site.repo("a");
        let bytes = site.noise("blob", length);
        let digest = repo.push_blob(&bytes)?;
        Ok(Pushed { repo, bytes, digest })
    }

    fn ask(&self, range: &str) -> anyhow::Result<Response> {
        self.repo.send(&Request::get(self.repo.blob(&self.digest)).header("Range", range))
    }

    fn whole(&self, answer: &Response) -> anyhow::Result<()> {
        answer.expect(200)?;
        expect::recommended(answer, "Content-Length", &self.bytes.len().to_string())?;
        expect::no_header(answer, "Content-Range")?;
        ensure!(answer.body == self.bytes, "other bytes than were pushed");
        Ok(())
    }

    fn part(&self, range: &str, start: usize, end: usize) -> anyhow::Result<()> {
        let answer = self.ask(range)?;
        answer.expect(206)?;
        expect::header(&answer, "Content-Range", &format!("bytes {start}-{end}/{SIZE}"))?;
        expect::recommended(&answer, "Content-Length", &(end - start + 1).to_string())?;
        expect::recommended(&answer, "Docker-Content-Digest", &self.digest)?;
        ensure!(answer.body == self.bytes[start..=end], "other bytes than {start}-{end}");
        Ok(())
    }
}

fn refused(answer: &Response, size: usize) -> anyhow::Result<()> {
    expect::status(answer, &[416])?;
    expect::header(answer, "Content-Range", &format!("bytes */{size}"))?;
    let length: usize = answer.need("Content-Length")?.parse()?;
    ensure!(length == answer.body.len(), "Content-Length {length} of {} bytes", answer.body.len());
    Ok(())
}

pub fn satisfiable_ranges(site: &Site) -> anyhow::Result<()> {
    let pushed = Pushed::new(site)?;
    expect::header(&pushed.repo.get(&pushed.repo.blob(&pushed.digest))?, "Accept-Ranges", "bytes")?;
    let mut faults = Faults::default();
    let cases = [
        ("bytes=0-0", 0, 0),
        ("bytes=500-1499", 500, 1499),
        ("bytes=500-", 500, 2047),
        ("bytes=-500", 1548, 2047),
        ("bytes=2000-5000", 2000, 2047),
        ("bytes=0-99999999999999999999", 0, 2047),
        ("bytes=-5000", 0, 2047),
        ("bytes=2047-", 2047, 2047),
        ("bytes=0-2047", 0, 2047),
    ];
    for (range, start, end) in cases {
        faults.check(range, pushed.part(range, start, end));
    }
    faults.finish()
}

pub fn unsatisfiable_ranges(site: &Site) -> anyhow::Result<()> {
    let pushed = Pushed::new(site)?;
    let mut faults = Faults::default();
    // A range that ends before it begins is invalid. Other registries may ignore it.
    let ranges = ["bytes=500-0", "bytes=2048-", "bytes=5000-10000", "bytes=2048-2048"];
    for range in &ranges[usize::from(!site.target.own)..] {
        faults.check(range, pushed.ask(range).and_then(|answer| refused(&answer, SIZE)));
    }
    faults.finish()
}

pub fn empty_ranges(site: &Site) -> anyhow::Result<()> {
    let pushed = Pushed::new(site)?;
    let mut faults = Faults::default();
    faults.check("bytes=-0", pushed.ask("bytes=-0").and_then(|answer| refused(&answer, SIZE)));
    let digest = pushed.repo.push_blob(b"")?;
    // By the letter, a suffix of the empty blob is satisfiable, but no part can be sent.
    let ranges = ["bytes=0-0", "bytes=0-", "bytes=-1"];
    for range in &ranges[..if site.target.own { 3 } else { 2 }] {
        let request = Request::get(pushed.repo.blob(&digest)).header("Range", *range);
        faults.check(&format!("empty blob, {range}"), refused(&pushed.repo.send(&request)?, 0));
    }
    faults.finish()
}

pub fn garbage_ranges_are_ignored(site: &Site) -> anyhow::Result<()> {
    let pushed = Pushed::new(site)?;
    let mut faults = Faults::default();
    // Other registries may refuse invalid ranges, but must ignore unknown units.
    let ranges = ["lines=0-1", "bytes=abc", "bytes=", "bytes", "0-10", "bytes=1-x", "bytes=--5", "bytes=+1-2", ""];
    for range in &ranges[..if site.target.own { ranges.len() } else { 1 }] {
        faults.check(range, pushed.ask(range).and_then(|answer| pushed.whole(&answer)));
    }
    faults.finish()
}

pub fn several_ranges(site: &Site) -> anyhow::Result<()> {
    let pushed = Pushed::sized(site, WIDE)?;
    let mut faults = Faults::default();
    let many = |count: usize| (0..count).map(|i| (i * 1_000, i * 1_000 + 9)).collect::<Vec<_>>();
    for wanted in [
        vec![(0, 9), (500_000, 500_099)],
        vec![(500_000, 500_099), (1_048_500, 1_048_575), (0, 0)],
        vec![(0, 9), (10, 19)],
        vec![(10, 19), (0, 9)],
        vec![(0, 99), (50, 199)],
        vec![(7, 7), (7, 7)],
        vec![(0, WIDE / 2 - 1), (WIDE / 2, WIDE - 1)],
        many(17),
        many(1024),
    ] {
        let range = write_ranges(&wanted);
        faults.check(&range, multipart(&pushed, &pushed.ask(&range)?, &wanted));
    }
    let mixed = pushed.ask("bytes=0-9,5000000-,-0,5-6")?;
    faults.check("some beyond the end", multipart(&pushed, &mixed, &[(0, 9), (5, 6)]));
    faults.check("1,025 ranges", pushed.whole(&pushed.ask(&write_ranges(&many(1025)))?));
    let flood: Vec<_> = (0..200).map(|_| (0, WIDE - 1)).collect();
    faults.check("a flood", pushed.whole(&pushed.ask(&write_ranges(&flood))?));
    let small = site.noise("small", 3000);
    let digest = pushed.repo.push_blob(&small)?;
    let request = Request::get(pushed.repo.blob(&digest)).header("Range", "bytes=2999-,9000-");
    let lone = pushed.repo.send(&request)?;
    faults.check("one of two in the blob", expect::header(&lone, "Content-Range", "bytes 2999-2999/3000"));
    faults.check("one of two in the blob", expect::that(lone.body == small[2999..], || "other bytes".to_owned()));
    faults.finish()
}

fn write_ranges(ranges: &[(usize, usize)]) -> String {
    let each: Vec<_> = ranges.iter().map(|(start, end)| format!("{start}-{end}")).collect();
    format!("bytes={}", each.join(","))
}

/// Expects one part for each range, in the requested order. RFC 9110 lets a server merge ranges, but podman relies on
/// this.
fn multipart(pushed: &Pushed, answer: &Response, wanted: &[(usize, usize)]) -> anyhow::Result<()> {
    answer.expect(206)?;
    expect::header(answer, "Content-Length", &answer.body.len().to_string())?;
    let parts = parts(answer)?;
    let got: Vec<_> = parts.iter().map(|(start, bytes)| (*start, (start + bytes.len()).saturating_sub(1))).collect();
    ensure!(got == wanted, "parts {} for {}", clip(&format!("{got:?}")), clip(&format!("{wanted:?}")));
    for (start, bytes) in parts {
        ensure!(bytes == pushed.bytes[start..start + bytes.len()], "other bytes in the part at {start}");
    }
    Ok(())
}

/// The parts of a `multipart/byteranges` body: the first byte of each, by its `Content-Range`, and its bytes.
fn parts(answer: &Response) -> anyhow::Result<Vec<(usize, Vec<u8>)>> {
    let kind = answer.need("Content-Type")?;
    let boundary = kind.strip_prefix("multipart/byteranges").and_then(|rest| rest.split_once("boundary="));
    let (_, boundary) = boundary.with_context(|| format!("Content-Type {kind:?} is not multipart/byteranges"))?;
    let delimiter = format!("--{}", boundary.trim_matches('"')).into_bytes();
    let mut rest = &answer.body[find(&answer.body, &delimiter).context("no first boundary")?..];
    let mut all = Vec::new();
    loop {
        rest = &rest[delimiter.len()..];
        if rest.starts_with(b"--") {
            return Ok(all);
        }
        let head_end = find(rest, b"\r\n\r\n").context("a part without a head")?;
        let head = String::from_utf8_lossy(&rest[..head_end]).to_lowercase();
        let range = head.split("content-range: bytes ").nth(1).ok_or_else(|| anyhow!("part without Content-Range"))?;
        let (start, range) = range.split_once('-').context("Content-Range of a part")?;
        let (end, size) = range.split_once('/').context("Content-Range of a part")?;
        ensure!(size.lines().next() == Some(&WIDE.to_string()), "size in a part's Content-Range: {size:?}");
        let (start, end): (usize, usize) = (start.parse()?, end.parse()?);
        let body = &rest[head_end + 4..];
        ensure!(end >= start && body.len() > end - start, "a part is cut");
        all.push((start, body[..=end - start].to_vec()));
        rest = &body[end - start + 1..];
        rest = &rest[find(rest, &delimiter).context("no next boundary")?..];
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

pub fn if_range(site: &Site) -> anyhow::Result<()> {
    let pushed = Pushed::new(site)?;
    let ask = |validator: &str| {
        let request = Request::get(pushed.repo.blob(&pushed.digest)).header("Range", "bytes=0-9");
        pushed.repo.send(&request.header("If-Range", validator))
    };
    let mut faults = Faults::default();
    faults.check("another ETag", pushed.whole(&ask("\"sha256:0000\"")?));
    faults.check("a weak ETag", pushed.whole(&ask(&format!("W/\"{}\"", pushed.digest))?));
    if site.target.own {
        faults.check("the ETag", expect::status(&ask(&format!("\"{}\"", pushed.digest))?, &[206]));
    }
    faults.finish()
}

pub fn range_of_head_and_manifest_is_ignored(site: &Site) -> anyhow::Result<()> {
    let pushed = Pushed::new(site)?;
    let manifest = pushed.repo.push_image("latest")?;
    let head = Request::new("HEAD", pushed.repo.blob(&pushed.digest)).header("Range", "bytes=0-9");
    let answer = pushed.repo.send(&head)?;
    expect::status(&answer, &[200])?;
    expect::recommended(&answer, "Content-Length", &SIZE.to_string())?;
    expect::no_header(&answer, "Content-Range")?;
    // Other registries may serve parts of manifests too.
    let methods: &[&str] = if site.target.own { &["HEAD", "GET"] } else { &["HEAD"] };
    for method in methods {
        let request = reading(method, &pushed.repo.manifest("latest")).header("Range", "bytes=0-9");
        let answer = pushed.repo.send(&request)?;
        expect::status(&answer, &[200])?;
        expect::recommended(&answer, "Content-Length", &manifest.bytes.len().to_string())?;
        ensure!(*method == "HEAD" || answer.body == manifest.bytes, "manifest cut by a Range");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(kind: &str, text: &str) -> Response {
        Response {
            status: 206,
            headers: vec![("Content-Type".into(), kind.into())],
            body: text.as_bytes().to_vec(),
            own: true,
        }
    }

    #[test]
    fn parts_are_read_by_their_own_content_range() {
        let part = |range: &str, bytes: &str| {
            format!(
                "--edge\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/{WIDE}\r\n\r\n{bytes}\r\n"
            )
        };
        let text = format!("{}{}--edge--\r\n", part("0-2", "abc"), part("7-7", "-"));
        let kind = "multipart/byteranges; boundary=edge";
        assert_eq!(parts(&body(kind, &text)).unwrap(), [(0, b"abc".to_vec()), (7, b"-".to_vec())]);
        assert!(parts(&body("application/octet-stream", &text)).is_err());
        assert!(parts(&body(kind, &text[..text.len() - 12])).is_err(), "no closing boundary");
        assert!(parts(&body(kind, &part("0-9", "abc"))).is_err(), "shorter than its range");
    }
}
