//! Registry entries, signed by the judge.

use anyhow::ensure;
use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey};
use harness::client::{Request, Response};
use serde_json::{Value, json};

use super::link::Link;
use crate::skynet::site::Site;

/// A key pair with a data key, which identify one entry.
#[derive(Clone, Debug)]
pub struct Place {
    key: SigningKey,
    data_key: [u8; 32],
}

/// The content of an entry.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub place: &'a Place,
    pub data: Vec<u8>,
    pub revision: u64,
}

pub fn blake2b(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = blake2b_simd::Params::new().hash_length(32).to_state();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().as_bytes().try_into().expect("32 bytes were asked for")
}

impl Place {
    /// A place determined by this word and unique to it.
    pub fn new(site: &Site, word: &str) -> Self {
        let seed = blake2b(&[site.unique().as_bytes(), b" seed ", word.as_bytes()]);
        let data_key = blake2b(&[site.unique().as_bytes(), b" key ", word.as_bytes()]);
        Place { key: SigningKey::from_bytes(&seed), data_key }
    }

    /// Another data key of the same owner.
    pub fn beside(&self, word: &str) -> Self {
        Place { key: self.key.clone(), data_key: blake2b(&[&self.data_key, word.as_bytes()]) }
    }

    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    pub fn data_key(&self) -> String {
        HEXLOWER.encode(&self.data_key)
    }

    pub fn id(&self) -> [u8; 32] {
        blake2b(&[b"ed25519\0\0\0\0\0\0\0\0\0", &32_u64.to_le_bytes(), &self.public_key(), &self.data_key])
    }

    /// The resolver skylink.
    pub fn link(&self) -> Link {
        Link::of(&[[1, 0].as_slice(), &self.id()].concat()).expect("2 and 32 bytes")
    }

    pub fn entry(&self, data: &[u8], revision: u64) -> Entry<'_> {
        Entry { place: self, data: data.to_vec(), revision }
    }

    pub fn query(&self) -> String {
        format!("publickey=ed25519%3A{}&datakey={}", HEXLOWER.encode(&self.public_key()), self.data_key())
    }

    pub fn read(&self, site: &Site) -> anyhow::Result<Response> {
        site.get(format!("/skynet/registry?{}", self.query()))
    }
}

impl Entry<'_> {
    /// The hash that is signed, and compared as proof of work.
    pub fn hash(&self) -> [u8; 32] {
        let length = (self.data.len() as u64).to_le_bytes();
        blake2b(&[&self.place.data_key, &length, &self.data, &self.revision.to_le_bytes()])
    }

    pub fn signature(&self) -> [u8; 64] {
        self.place.key.sign(&self.hash()).to_bytes()
    }

    /// The entry as JSON of Go and the older SDKs.
    pub fn json(&self) -> Value {
        json!({
            "publickey": { "algorithm": "ed25519", "key": BASE64.encode(&self.place.public_key()) },
            "datakey": self.place.data_key(),
            "revision": self.revision,
            "data": BASE64.encode(&self.data),
            "signature": self.signature().as_slice(),
        })
    }

    /// The entry as JSON of skynet-js, with all bytes as arrays.
    pub fn json_of_arrays(&self) -> Value {
        let mut body = self.json();
        body["publickey"]["key"] = json!(self.place.public_key());
        body["data"] = json!(self.data);
        body
    }

    /// Expects a read to return this entry with its signature.
    pub fn stands(&self, site: &Site) -> anyhow::Result<()> {
        let said = self.place.read(site)?.expect(200)?.json()?;
        let want = json!({
            "data": HEXLOWER.encode(&self.data),
            "datakey": self.place.data_key(),
            "revision": self.revision,
            "publickey": self.json()["publickey"],
            "signature": HEXLOWER.encode(&self.signature()),
            "type": 1,
        });
        ensure!(said == want, "the entry is {said}, not {want}");
        Ok(())
    }

    pub fn post(&self, site: &Site) -> anyhow::Result<Response> {
        post(site, "/skynet/registry", "application/json", &self.json())
    }
}

pub fn post(site: &Site, path: &str, media_type: &str, body: &Value) -> anyhow::Result<Response> {
    site.send(&Request::new("POST", path).header("Content-Type", media_type).body(body.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of skynet-js.
    #[test]
    fn hashes_are_those_of_the_sdk() {
        let data_key = blake2b(&[&10_u64.to_le_bytes(), b"HelloWorld"]);
        let place = Place { key: SigningKey::from_bytes(&[1; 32]), data_key };
        let entry = place.entry(b"abc", 123_456_789);
        let want = "788dddf5232807611557a3dc0fa5f34012c2650526ba91d55411a2b04ba56164";
        assert_eq!(HEXLOWER.encode(&entry.hash()), want);
    }
}
