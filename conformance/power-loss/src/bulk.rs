//! Pushes many manifests, so that the journal begins new segments and compacts.

use harness::client::{Connection, Request};
use harness::manifest::{IMAGE, artifact, descriptor};
use harness::site::sha256;
use serde_json::json;

use super::promise::{Key, Value};
use super::worker::Worker;

/// Size of annotations. Up to 4 KiB of them are kept in the journal.
const PAD: usize = 3900;

impl Worker {
    /// Pushes manifests that each take several KiB of the journal.
    pub fn push_many(&mut self, count: usize) -> anyhow::Result<()> {
        let site = self.repos[1].clone();
        if count > 0 {
            site.push_blob(b"{}")?;
        }
        let mut connection = Connection::open(&site.target)?;
        for number in 0..count {
            let subject = descriptor(IMAGE, &sha256(self.label.as_bytes()), 1000);
            let body = artifact("x/bulk", &subject, &json!({"n": number.to_string(), "pad": "p".repeat(PAD)}));
            let digest = body.digest();
            let key = Key::Manifest { repo: site.name.clone(), digest: digest.clone() };
            self.promises.begin(key.clone(), Value::There);
            let request = Request::new("PUT", site.manifest(&digest)).header("Content-Type", IMAGE).body(body.bytes);
            let answer = connection.send(&request)?.expect(201)?.clone();
            self.note(&[key], &answer)?;
        }
        Ok(())
    }
}

/// Pushes from all clients at once, with nothing in between.
pub fn push(workers: &mut [Worker], count: usize) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(move || worker.push_many(count))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })
}
