//! All placed content is pulled again without local files, and no local file is removed before that is safe.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Request, Target};
use harness::expect::pulled;
use harness::gate::{note, wait_until};
use harness::proxy::Fault;
use harness::site::{ALGORITHMS, Site};
use harness::{local, status};

use super::images::Library;
use super::stack::{Mark, Stack};
use super::{KIB, MIB, TIMED_OUT, patience};
use crate::answers::Answers;
use crate::case::Bench;

/// Lengths around the capacity of a base sector besides its metadata, and around a unit.
const LENGTHS: [usize; 9] = [0, 1, KIB, 32 * KIB, 4 * MIB - 512, 4 * MIB - 100, 4 * MIB, 9 * MIB, 40 * MIB];

pub fn everything(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::new(bench, 2)?;
    let server = stack.start()?;
    // The largest under one algorithm is enough on every change.
    let shorter = bench.scale.pick(7, 8, 9);
    let repo = Site::new(server.target(), "cold").repo("a");
    let mut libraries = vec![Library::push(repo, &["sha256"], &LENGTHS)?];
    let others = Site::new(server.target(), "cold").repo("b");
    libraries.push(Library::push(others, &ALGORITHMS[1..], &LENGTHS[..shorter])?);
    stack.settle(&server.target(), patience(bench))?;
    let requests: Vec<String> = libraries.iter().map(Library::requests).collect::<anyhow::Result<Vec<_>>>()?.concat();
    let before = Answers::ask(&server.target(), &requests).context("before")?;

    let server = stack.make_cold(server)?;
    let target = server.target();
    let sent = stack.sent();
    let heads: Vec<String> = libraries.iter().flat_map(Library::heads).collect();
    Answers::ask(&target, &heads).context("cold HEADs")?;
    ensure!(stack.sent() < sent + 64 * KIB as u64, "HEADs of {} blobs made the portals send content", heads.len());
    let here = local::content_bytes(&stack.options.data)?;
    ensure!(here < MIB as u64, "{here} bytes of content are local, so nothing is cold");
    let after = Answers::ask(&target, &requests).context("cold")?;
    before.same(&after)?;
    libraries.iter().try_for_each(Library::check)?;
    note(&format!("{} answers, {} MiB sent by the portals", before.len(), (stack.sent() - sent) / MIB as u64));
    Ok(())
}

/// The profile of release skyd, and its answer for the longest of these contents.
const RELEASE: &str = "4MiB/10+20";
const RECORDED: (usize, &str) = (50 * MIB, "AAC3WRfAW7oC-4Tw4SbDTo3PQ9rBr6kdCkVLcMvzP3SiiA");

pub fn several_pieces(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::of_profile(bench, 2, 2, RELEASE)?;
    let server = stack.start()?;
    let repo = Site::new(server.target(), "pieces").repo("a");
    let library = Library::push(repo.clone(), &["sha256"], &[0, KIB, 4 * MIB - 100, 4 * MIB, 9 * MIB])?;
    let recorded = recorded_content(RECORDED.0);
    let item = repo.push_blob(&recorded)?;
    stack.settle(&server.target(), patience(bench))?;
    for portal in &stack.portals {
        let answer = Target::parse(&portal.url())?.send(&Request::new("HEAD", format!("/{}", RECORDED.1)))?;
        answer.expect(200).context("the skylink that release skyd has for it")?;
    }
    let requests = library.requests()?;
    let before = Answers::ask(&server.target(), &requests).context("before")?;
    let server = stack.make_cold(server)?;
    let after = Answers::ask(&server.target(), &requests).context("cold")?;
    before.same(&after)?;
    library.check()?;
    pulled(&repo, &repo.blob(&item), &item, &recorded)
}

/// SHA-256 of the length's digits, repeated.
fn recorded_content(length: usize) -> Vec<u8> {
    use sha2::Digest as _;
    let block = sha2::Sha256::digest(length.to_string());
    block.iter().copied().cycle().take(length).collect()
}

/// The budget of the local cache.
const BUDGET: u64 = 16 * MIB as u64;
/// Long enough to read some content back, too short to read all of it.
const BETWEEN_STARTS: Duration = Duration::from_secs(2);

/// Bytes of the downloads since a mark that are complete.
fn read_whole(stack: &Stack, mark: &Mark) -> u64 {
    let all = stack.since(mark);
    all.iter().filter(|one| one.is_download() && one.ended.is_some()).map(|one| one.sent).sum()
}

pub fn eviction(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::new(bench, 2)?.with(&[("SKYBERTH_STORAGE_CACHE_SIZE", "16MiB")]);
    let mut server = stack.start()?;
    let target = server.target();
    // Accepts uploads but returns nothing: the content is placed, but must not be relied on.
    stack.set_all(&Fault::says(TIMED_OUT));
    let lengths = [4 * MIB, 9 * MIB, MIB, 5 * MIB, 4 * MIB - 300, 12 * MIB, 3 * MIB, 2 * MIB, 6 * MIB];
    let library = Library::push(Site::new(target.clone(), "evict").repo("a"), &["sha256"], &lengths)?;
    // Downloads that fail hold up uploads to the same portal, until a start tries all again.
    let deadline = Instant::now() + patience(bench);
    while let Err(error) = status::wait_placed(&target, Duration::from_secs(20)) {
        ensure!(Instant::now() < deadline, error);
        server = server.kill()?.start()?;
    }
    server = server.kill()?.start()?;
    // It checks its cache when it starts, and then at least this often.
    std::thread::sleep(Duration::from_secs(bench.scale.pick(3, 3, 35)));
    let data = &stack.options.data;
    let here = local::content_bytes(data)?;
    ensure!(here >= library.bytes(), "{here} of {} bytes are local before anything was read back", library.bytes());
    library.check().context("before anything was read back")?;

    let mark = stack.mark();
    stack.set_all(&Fault::None);
    let (mut early, mut starts) = (None, 0);
    let deadline = Instant::now() + patience(bench);
    let mut looks_below = || {
        // Files are counted first: the bytes read can only grow meanwhile.
        let here = local::content_bytes(data).unwrap_or(u64::MAX);
        let (gone, read) = (library.bytes().saturating_sub(here), read_whole(&stack, &mark));
        if gone > read && early.is_none() {
            early = Some((gone, read));
        }
        here <= BUDGET
    };
    // Each start retries failed reads and checks the cache, which otherwise happens every minute. So content is evicted
    // as soon as some was read back.
    while !wait_until(BETWEEN_STARTS, &mut looks_below) && Instant::now() < deadline {
        server = server.kill()?.start()?;
        starts += 1;
    }
    ensure!(early.is_none(), "{early:?}: bytes gone from here, bytes read back until then");
    let here = local::content_bytes(data)?;
    ensure!(here <= BUDGET, "{here} bytes are still local after {starts} starts, the limit is {BUDGET}");
    note(&format!("{here} bytes are local after {} were read back in {starts} starts", read_whole(&stack, &mark)));
    library.check().context("evicted")?;
    let _server = server.kill()?.start()?;
    let below = wait_until(Duration::from_mins(1), || local::content_bytes(data).is_ok_and(|here| here <= BUDGET));
    ensure!(below, "{} bytes are local after pulls, the limit is {BUDGET}", local::content_bytes(data)?);
    library.check().context("evicted again")
}
