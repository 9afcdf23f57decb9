//! A server that runs out of descriptors, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
#[ignore = "the child of `without_descriptors_the_server_waits_without_spinning`"]
async fn child() {
    let limits = Limits { header_timeout: PATIENCE, keep_alive_timeout: PATIENCE, ..short_limits() };
    let server = start(limits).await;
    println!("\nlistening {}", server.address);
    // The parent ends this process long before.
    sleep(PATIENCE * 3).await;
}

/// Processor time of a process so far, in ticks of 10 ms: fields 14 and 15 of proc(5) stat.
fn processor_ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split(' ').skip(12).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

/// Ends the child also when the test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn without_descriptors_the_server_waits_without_spinning() {
    let test = std::env::current_exe().unwrap();
    let script = "ulimit -n 32 && exec \"$0\" --exact server::tests::descriptors::child --ignored --nocapture";
    let child = Command::new("sh").args(["-c", script]).arg(test).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Ended(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix("listening ").map(str::to_owned)).unwrap();

    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(TcpStream::connect(&address).await.unwrap());
    }
    sleep(Duration::from_millis(300)).await;
    let before = processor_ticks(&child.0);
    sleep(Duration::from_secs(1)).await;
    let ticks = processor_ticks(&child.0) - before;
    assert!(ticks < 5, "{ticks} ticks of processor time in a second of waiting");

    // The last one is still in the queue: it is served as soon as descriptors are free again.
    let mut last = streams.pop().unwrap();
    last.write_all(HELLO).await.unwrap();
    assert!(timeout(Duration::from_millis(100), last.read_u8()).await.is_err(), "there were descriptors enough");
    drop(streams);
    read_until(&mut last, "hello").await;
}
