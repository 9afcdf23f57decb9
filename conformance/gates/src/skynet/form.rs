//! Builds a `multipart/form-data` body byte by byte.

use harness::client::Request;

const BOUNDARY: &str = "----a-boundary-of-the-judge";

/// The parts so far.
#[derive(Clone, Debug, Default)]
pub struct Form {
    body: Vec<u8>,
}

impl Form {
    pub fn new() -> Self {
        Form::default()
    }

    /// Adds a part with a file. Without a type, the part has no Content-Type.
    pub fn file(mut self, field: &str, name: &str, media_type: Option<&str>, bytes: &[u8]) -> Self {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        let mut head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n");
        if let Some(media_type) = media_type {
            head = format!("{head}Content-Type: {media_type}\r\n");
        }
        self.body.extend_from_slice(head.as_bytes());
        self.body.extend_from_slice(b"\r\n");
        self.body.extend_from_slice(bytes);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let end = format!("--{BOUNDARY}--\r\n");
        [self.body.as_slice(), end.as_bytes()].concat()
    }

    fn post(path: &str) -> Request {
        Request::new("POST", path).header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"))
    }

    pub fn request(&self, path: &str) -> Request {
        Form::post(path).body(self.bytes())
    }

    /// A request without a length, in pieces.
    pub fn chunked_request(&self, path: &str, piece: usize) -> Request {
        Form::post(path).chunked(self.bytes(), piece)
    }
}
