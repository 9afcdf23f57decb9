//! `kill -9` at any instant: what was acknowledged stands, and nothing is damaged.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Fixture, entry};
use crate::entries::EntryStore;

const DIRECTORY_VARIABLE: &str = "PORTAL_ENTRIES_KILL_TEST_DIRECTORY";
const KILLS: u64 = 20;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Not a test by itself: the process that is killed. It tells on its standard output what it has been promised.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) else { return };
    let store = EntryStore::open(Path::new(&directory), super::LIMIT).unwrap();
    let standing = store.get(&entry(1, NAMES[0], 0, b"").id()).unwrap();
    let mut revision = standing.map_or(0, |standing| standing.entry().revision());
    loop {
        revision += 1;
        for (at, name) in NAMES.iter().enumerate() {
            store.put(&entry(1, name, revision, &revision.to_le_bytes())).unwrap();
            println!("\nput {at} {revision}");
        }
    }
}

#[test]
fn killed_at_any_instant_the_store_keeps_what_it_acknowledged() {
    let mut fixture = Fixture::new();
    let mut acknowledged = [0; NAMES.len()];
    for kill in 0..KILLS {
        let mut child = start_child(&fixture.directory.path().join("entries"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30 + kill * 7));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in output.lines().map_while(Result::ok) {
            let Some((at, revision)) = line.strip_prefix("put ").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            // A last line may be torn, and then be a smaller number.
            let revision: u64 = revision.parse().unwrap_or(0);
            let at: usize = at.parse().unwrap();
            acknowledged[at] = revision.max(acknowledged[at]);
        }
        killer.join().unwrap();
        fixture.reopen();
        assert_eq!(fixture.names("damaged"), Vec::<String>::new());
        for (name, acknowledged) in NAMES.iter().zip(acknowledged) {
            let standing = fixture.store.get(&entry(1, name, 0, b"").id()).unwrap();
            let revision = standing.map_or(0, |standing| standing.entry().revision());
            assert!(revision >= acknowledged, "{name}: {revision} after {acknowledged} was acknowledged");
        }
    }
    assert!(acknowledged.iter().all(|revision| *revision > 0), "no child got anywhere");
    eprintln!("{acknowledged:?} were acknowledged over {KILLS} kills");
}

fn start_child(directory: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "entries::tests::kill::child", "--nocapture"]).env(DIRECTORY_VARIABLE, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}
