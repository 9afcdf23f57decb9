//! HTTP/2 frames (RFC 9113), and the windows that a server gives.

use std::collections::HashMap;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Bytes before the payload of a frame.
const HEAD: usize = 9;
/// The setting for windows of new streams.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Windows before any setting.
const DEFAULT_WINDOW: i64 = 65_535;
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// A frame: length, type, flags, stream, payload.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The start of a connection.
pub fn greeted() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The start of a connection whose client takes any number of bytes.
pub fn greeted_with_huge_windows() -> Vec<u8> {
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &LARGEST_WINDOW.to_be_bytes()].concat();
    let more = LARGEST_WINDOW - DEFAULT_WINDOW as u32;
    [PREFACE, &frame(SETTINGS, 0, 0, &setting), &frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes())].concat()
}

/// The head of a request on a stream. Texts have less than 127 bytes.
pub fn request(stream: u32, flags: u8, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    // By HPACK's static table (RFC 7541 appendix A): names 2 and 4 are `:method` and `:path`, field 6 is `http`.
    let mut block = [&[0x86, 0x02][..], &text(method), &[0x04], &text(path)].concat();
    for (name, value) in [(":authority", "localhost")].iter().chain(headers) {
        block.push(0);
        block.extend(text(name));
        block.extend(text(value));
    }
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

/// The windows that a server has given so far.
#[derive(Debug)]
pub struct Windows {
    /// Bytes that all streams of the connection may still send.
    pub connection: i64,
    /// Bytes that each new stream may send.
    pub initial: i64,
    /// Given to streams later on.
    pub updates: HashMap<u32, i64>,
}

impl Windows {
    /// The windows by all bytes that the server sent.
    pub fn given_by(mut bytes: &[u8]) -> Self {
        let mut windows = Windows { connection: DEFAULT_WINDOW, initial: DEFAULT_WINDOW, updates: HashMap::new() };
        while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
            let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
            let Some((payload, next)) = rest.split_at_checked(number(&head[..3]) as usize) else { break };
            let stream = number(&head[5..]) as u32;
            match head[3] {
                SETTINGS => {
                    let sizes =
                        payload.chunks_exact(6).filter(|one| number(&one[..2]) == i64::from(INITIAL_WINDOW_SIZE));
                    windows.initial = sizes.map(|one| number(&one[2..])).next_back().unwrap_or(windows.initial);
                }
                WINDOW_UPDATE if stream == 0 => windows.connection += number(payload),
                WINDOW_UPDATE => *windows.updates.entry(stream).or_default() += number(payload),
                _ => {}
            }
            bytes = next;
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_from_frames() {
        let setting = [0, 4, 0, 1, 0, 0];
        let said = [
            frame(SETTINGS, 0, 0, &setting),
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 5]),
            frame(PING, 0, 0, &[0; 8]),
            frame(WINDOW_UPDATE, 0, 3, &[0, 0, 1, 0]),
            frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]),
            vec![0, 0, 4, WINDOW_UPDATE],
        ];
        let windows = Windows::given_by(&said.concat());
        assert_eq!((windows.connection, windows.initial), (DEFAULT_WINDOW + 5, 65_536));
        assert_eq!(windows.updates, HashMap::from([(3, 257)]));
    }
}
