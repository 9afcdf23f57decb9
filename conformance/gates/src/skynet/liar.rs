//! A server that gives one answer to whatever it is asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use harness::client::Response;

/// It lives as long as the process; its thread waits for connections.
#[derive(Debug)]
pub struct Liar {
    authority: String,
}

impl Liar {
    /// Listens on loopback and answers each request with this body.
    pub fn answering(answer: &Response) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let authority = listener.local_addr()?.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.body.len());
        let whole = [head.as_bytes(), &answer.body].concat();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Ok(reading) = stream.try_clone() else { continue };
                let lines = BufReader::new(reading).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let _ = stream.write_all(&whole);
            }
        });
        Ok(Liar { authority })
    }

    pub fn authority(&self) -> String {
        self.authority.clone()
    }
}
