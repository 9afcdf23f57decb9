//! `status` in each state of a node.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::node::{Server, folder, run, run_with};

#[tokio::test]
async fn a_running_node_says_so_with_what_it_stores() {
    let (_folder, data) = folder();
    let node = Server::start(&data);
    node.push_blob("a", &[7; 5000]).await;
    let said = run(&data, &["status"]).with(0);
    for line in ["node             running\n", "state            ready\n", "stored           4.9 KiB in 1 file\n"] {
        assert!(said.contains(line), "{said}");
    }
    let objects = run(&data, &["status", "--json"]).objects(0);
    let [status] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!(status["node"], "running");
    assert_eq!(status["stored"]["bytes"], 5000);
    assert!(status["free_bytes"].as_u64().unwrap() > 0);
    // Exit code 5 came without a line with the reason.
    let said = run(&data, &["status", "--safe"]).with(5);
    assert!(said.contains("safe to close: no, this node keeps no copies elsewhere"), "{said}");
}

#[tokio::test]
async fn a_killed_node_is_stopped_though_its_socket_is_there() {
    let (_folder, data) = folder();
    let node = Server::start(&data);
    node.push_image("a", "x", b"layer").await;
    node.kill();
    assert!(data.join("admin.sock").exists());
    for words in [&["status"][..], &["status", "--safe"]] {
        let said = run(&data, words).with(4);
        assert!(said.contains("node             stopped\n") && said.contains("in 3 files"), "{said}");
    }
    assert_eq!(run(&data, &["status", "--json"]).objects(4)[0]["node"], "stopped");
    // The commands have changed nothing.
    let node = Server::start(&data);
    assert_eq!(node.pull_all("a").await.len(), 1);
    node.terminate();
    run(&data, &["status"]).with(4);
}

/// On a slow disk or with a large journal, `status` printed nothing for minutes, because it read all records first.
#[tokio::test]
async fn a_stopped_node_has_a_status_within_seconds_though_its_records_cannot_be_read() {
    let (_folder, data) = folder();
    let node = Server::start(&data);
    node.push_image("a", "x", b"layer").await;
    node.terminate();
    // Its name has a number. The other file is the next segment, which has none yet.
    let segment = fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    fs::remove_file(&segment).unwrap();
    // A process that opens a named pipe waits for a writer, and there is none.
    assert!(Command::new("mkfifo").arg(&segment).status().unwrap().success());
    let mut bounded = Command::new("timeout");
    bounded.arg("20").arg(env!("CARGO_BIN_EXE_skyberth")).env_clear();
    let started = Instant::now();
    let said = run_with(bounded, &data, &["status"]).with(4);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    for part in ["node             stopped\n", "in 3 files", "were not read within 3 s"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_stopped_node_tells_that_its_next_start_rebuilds_the_index() {
    let (_folder, data) = folder();
    Server::start(&data).terminate();
    let foreseen = |path: &Path| run(path, &["status"]).with(4).contains("the next start rebuilds the index");
    assert!(!foreseen(&data));
    fs::remove_dir_all(data.join("index")).unwrap();
    assert!(foreseen(&data));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_called_so_within_seconds() {
    let (_folder, data) = folder();
    let node = Server::start(&data);
    node.signal("-STOP");
    let started = Instant::now();
    let said = run(&data, &["status"]).with(3);
    assert!(said.contains("does not answer"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let other = run(&data, &["ls"]);
    assert!(other.code == Some(3) && other.err.contains("does not answer"), "{other:?}");
    node.signal("-CONT");
    run(&data, &["status"]).with(0);
}

#[test]
fn a_node_that_starts_or_stops_is_not_ready() {
    let (_folder, data) = folder();
    Server::start(&data).terminate();
    // A process that opens the directory has this lock before it accepts commands.
    let lock = std::fs::File::open(data.join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(run(&data, &["status"]).with(3).contains("starting"));
    assert_eq!(run(&data, &["ls"]).code, Some(3));
    assert_eq!(run(&data, &["gc"]).code, Some(3));
    drop(lock);
    run(&data, &["ls"]).with(0);
}

#[test]
fn a_directory_of_no_node_cannot_be_asked() {
    let (_folder, data) = folder();
    assert_eq!(run(&data, &["status"]).code, Some(2));
}
