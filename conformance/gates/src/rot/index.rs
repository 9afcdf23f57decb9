//! Rot and loss of the index: it is only a view, so every answer stays right.

use anyhow::{Context, ensure};
use harness::jobs::Job;
use harness::random::Random;

use super::damage::{any_bit, files, flip};
use super::fixture::{Fixture, copy_tree};

pub fn jobs<'a>(fixture: &'a Fixture, other: &'a Fixture, flips: usize, seed: u64) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    let mut random = Random::new(seed);
    for number in 0..flips {
        let picked = files(&fixture.data().join("index")).map(|files| any_bit(&mut random, &files));
        let name = match &picked {
            Ok((path, bit)) => format!("{}, bit {bit}", path.strip_prefix(fixture.data()).unwrap_or(path).display()),
            Err(_) => String::new(),
        };
        jobs.push(Job::plain(format!("index flip {number}, {name}: every answer is right"), move || {
            let (path, bit) = picked?;
            let copy = fixture.copy()?;
            flip(&copy.data().join(path.strip_prefix(fixture.data())?), bit)?;
            copy.is_right()
        }));
    }
    jobs.push(Job::plain("the index is deleted: every answer is right", || {
        let copy = fixture.copy()?;
        std::fs::remove_dir_all(copy.data().join("index"))?;
        copy.is_right()
    }));
    jobs.push(Job::plain("a summary of the index is emptied: every answer is right", || empty_summary(fixture)));
    jobs.push(Job::plain("the index of another node stands there: every answer is right", || {
        let copy = fixture.copy()?;
        std::fs::remove_dir_all(copy.data().join("index"))?;
        copy_tree(&other.data().join("index"), &copy.data().join("index"))?;
        copy.is_right()
    }));
    jobs.push(Job::plain("the largest file of the index is cut in half: every answer is right", || {
        let copy = fixture.copy()?;
        let files = files(&copy.data().join("index"))?;
        let (path, length) = files.iter().max_by_key(|(_, length)| *length).context("no files")?;
        super::damage::cut(path, length / 2)?;
        copy.is_right()
    }));
    jobs
}

/// sled sometimes writes a snapshot. If it has not, this creates an empty one.
fn empty_summary(fixture: &Fixture) -> anyhow::Result<()> {
    let copy = fixture.copy()?;
    let all = files(&copy.data().join("index"))?;
    let is_summary =
        |path: &std::path::Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."));
    let mut emptied = 0;
    for (path, _) in all.iter().filter(|(path, _)| is_summary(path)) {
        super::damage::cut(path, 0)?;
        emptied += 1;
    }
    if emptied == 0 {
        let (log, _) = all.iter().find(|(path, _)| path.ends_with("db")).context("no log of sled")?;
        std::fs::write(log.with_file_name("snap.0000000000000000"), "")?;
        emptied = 1;
    }
    ensure!(emptied > 0, "no summary");
    copy.is_right()
}
