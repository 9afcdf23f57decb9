//! A server that takes everything and does nothing: an attacker aimed at it takes processor time, and harms nobody.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What each request over HTTP/1.1 gets.
const ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\nLocation: /v2/a/blobs/uploads/x\r\nContent-Length: 0\r\n\r\n";

#[derive(Debug)]
pub struct Sink {
    pub port: u16,
    stop: Arc<AtomicBool>,
}

impl Sink {
    pub fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (port, stop) = (listener.local_addr()?.port(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // A connection without a thread is closed, as by any server that has too many.
                let _ = thread::Builder::new().stack_size(64 << 10).spawn(move || swallow(stream));
            }
        });
        Ok(Sink { port, stop })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn swallow(mut stream: TcpStream) {
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        if piece[..length].windows(11).any(|part| part == b" HTTP/1.1\r\n") && stream.write_all(ANSWER).is_err() {
            return;
        }
    }
}
