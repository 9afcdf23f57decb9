//! `kill -9` of a process that appends and compacts on the real disk.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const DIRECTORY: &str = "SKYBERTH_TEST_JOURNAL";
const CHILD: &str = "catalog::local::journal::tests::killed::appends_until_killed";

fn real() -> Options {
    Options { segment_bytes: 16 << 10, reserve_bytes: 1 << 10, compact_at_least: 40 << 10, ..Options::default() }
}

/// The process to kill. It prints each sequence after it was acknowledged, and ends by itself if it is not killed.
#[test]
#[ignore = "is run by kill_minus_nine_loses_nothing_that_was_acknowledged"]
fn appends_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let (mut journal, _) = Journal::open(Path::new(&directory), None, real()).unwrap();
    for _ in 0..20_000 {
        let from = journal.last_sequence() as usize;
        let facts: Vec<Fact> = (from..from + 1 + from % 7).map(|n| set(n, n)).collect();
        let range = journal.append(&facts, 1, AppendKind::Ordinary).unwrap();
        println!("\nacknowledged {}", range.end());
        if journal.needs_compaction() {
            compact(&mut journal);
        }
    }
}

#[test]
fn kill_minus_nine_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut last = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let mut seen = acknowledged.by_ref().nth(40 + round * 37).expect("the child appends");
        child.kill().unwrap();
        // Sequences printed before it died count, too.
        seen = acknowledged.last().unwrap_or(seen);
        child.wait().unwrap();
        let (journal, opened) = Journal::open(&path, Some(JournalId::from_bytes(found_id(&path))), real()).unwrap();
        assert!(opened.last_sequence >= seen && seen > last, "{opened:?}, acknowledged {seen}");
        let mut found = records(&journal);
        found.sort_by_key(|record| record.sequence);
        for (n, record) in found.iter().enumerate() {
            assert_eq!((record.sequence, &record.fact), (n as u64 + 1, &set(n, n)));
        }
        assert_eq!(found.len() as u64, opened.last_sequence);
        last = opened.last_sequence;
    }
}

/// The id from a header, since the child generated it.
fn found_id(directory: &Path) -> [u8; 16] {
    let name = names(directory).into_iter().find(|name| name.starts_with("segment-0")).unwrap();
    fs::read(directory.join(name)).unwrap()[16..32].try_into().unwrap()
}
