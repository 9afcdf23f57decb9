//! Rot of the journal: it is refused and named, or has no effect. There is never a wrong answer.

use anyhow::{Context, bail, ensure};
use harness::jobs::Job;
use harness::random::Random;

use super::damage::{flip, zero};
use super::fixture::{Copy, Fixture, LAST, VICTIM, copy_tree};

/// Length of a segment's header. Batches follow it.
const HEADER: usize = 64;

pub fn jobs<'a>(fixture: &'a Fixture, other: &'a Fixture, flips: usize, seed: u64) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    jobs.push(Job::plain("a record in the middle rots: the start is refused, `fsck` is named and exits 1", || {
        let copy = with_victim(fixture)?;
        copy.refuses_and_names_fsck()?;
        copy.fsck(&[])?.with_code(1).map(drop)
    }));
    jobs.push(Job::plain("after `fsck --repair` all that validates is there", || repaired(fixture)));
    jobs.push(Job::plain("the last batch rots after a clean stop: the start is refused, `fsck` is named", || {
        let copy = fixture.copy()?;
        let [from, to] = fixture.used;
        flip(&copy.segment()?, usize::midpoint(from, to) * 8)?;
        copy.refuses_and_names_fsck()?;
        copy.fsck(&[])?.with_code(1)?;
        copy.fsck(&["--repair"])?.sound().context("fsck --repair")?;
        fixture.before_last.same(&copy.ask()?)
    }));
    for (name, half) in [("second", 1), ("first", 0)] {
        jobs.push(Job::plain(
            format!("the {name} half of the last batch was not written: it is cut, the others are there"),
            move || {
                let copy = fixture.copy()?;
                let [from, to] = fixture.used;
                let middle = usize::midpoint(from, to);
                let (from, to) = if half == 1 { (middle, to) } else { (from, middle) };
                zero(&copy.segment()?, from, to)?;
                // As on a killed node. A stopped one has recorded the end of its journal.
                std::fs::remove_file(copy.data().join("index/mark"))?;
                fixture.before_last.same(&copy.ask()?)
            },
        ));
    }
    jobs.push(Job::plain("the journal of another node stands there: the start is refused, `fsck` is named", || {
        let copy = fixture.copy()?;
        std::fs::remove_dir_all(copy.data().join("journal"))?;
        copy_tree(&other.data().join("journal"), &copy.data().join("journal"))?;
        copy.refuses_and_names_fsck().map(drop)
    }));
    jobs.push(Job::plain("the journal is gone: the start is refused", || {
        let copy = fixture.copy()?;
        std::fs::remove_dir_all(copy.data().join("journal"))?;
        copy.refuses().map(drop)
    }));
    let mut random = Random::new(seed);
    for number in 0..flips {
        let (place, bit) = any_place(&mut random, fixture);
        let name = format!("journal flip {number}, bit {bit} in the {place:?}");
        jobs.push(Job::new(name, move || flipped(fixture, place, bit).map(str::to_owned)));
    }
    jobs
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Records,
    LastBatch,
    UnusedSpace,
}

/// Mostly a record. If chosen uniformly over the file, nearly all bits would be in unused space.
fn any_place(random: &mut Random, fixture: &Fixture) -> (Place, usize) {
    let [before, after] = fixture.used;
    let (place, from, to) = match random.below(10) {
        0 => (Place::Header, 0, HEADER),
        1 | 2 => (Place::LastBatch, before, after),
        3 | 4 => (Place::UnusedSpace, after.next_multiple_of(8), 8 << 20),
        _ => (Place::Records, HEADER, before),
    };
    (place, from * 8 + random.below((to - from) * 8))
}

/// The reaction of a node to one flipped bit.
fn flipped(fixture: &Fixture, place: Place, bit: usize) -> anyhow::Result<&'static str> {
    let copy = fixture.copy()?;
    flip(&copy.segment()?, bit)?;
    let Ok(server) = copy.start() else { return copy.refuses().map(|_| "refused") };
    drop(server);
    let found = copy.ask()?;
    if fixture.answers.same(&found).is_ok() {
        ensure!(place != Place::Records, "a damaged record went unnoticed");
        return Ok("every answer is right");
    }
    fixture.answers.same(&found).map(|()| "")
}

/// A copy whose victim's record is damaged.
fn with_victim(fixture: &Fixture) -> anyhow::Result<Copy<'_>> {
    let copy = fixture.copy()?;
    let path = copy.segment()?;
    let bytes = std::fs::read(&path)?;
    let at = bytes.windows(VICTIM.len()).position(|window| window == VICTIM.as_bytes()).context("no victim")?;
    flip(&path, at * 8)?;
    Ok(copy)
}

fn repaired(fixture: &Fixture) -> anyhow::Result<()> {
    let copy = with_victim(fixture)?;
    let said = copy.fsck(&["--repair"])?.sound().context("fsck --repair")?.said.clone();
    ensure!(said.contains("lost"), "it does not say what is lost: {said}");
    let found = copy.ask()?;
    let list = format!("/v2/{}/tags/list", fixture.repo);
    for path in fixture.answers.differing(&found) {
        if !path.contains(VICTIM) && !path.contains(&list) {
            bail!("{path} differs after the repair, and is not of the record that was damaged");
        }
    }
    ensure!(fixture.answers.differing(&found).iter().all(|path| !path.contains(LAST)), "the last tag is lost");
    ensure!(!fixture.answers.differing(&found).is_empty(), "nothing was damaged");
    copy.fsck(&[])?.sound().context("fsck after the repair").map(drop)
}
