//! Stands in for the skylinks of the formats.

use super::entry::EntryId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skylink([u8; 34]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a skylink of an unknown version")]
pub struct SkylinkError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Sector,
    Entry([u8; 32]),
}

impl Skylink {
    pub const SIZE: usize = 34;

    pub fn v2(id: [u8; 32]) -> Self {
        let mut bytes = [0; 34];
        bytes[0] = 1;
        bytes[2..].copy_from_slice(&id);
        Skylink(bytes)
    }

    pub fn from_bytes(bytes: &[u8; 34]) -> Result<Self, SkylinkError> {
        if bytes[0].trailing_zeros() >= 2 || bytes[..2] == [1, 0] { Ok(Skylink(*bytes)) } else { Err(SkylinkError) }
    }

    pub fn to_bytes(self) -> [u8; 34] {
        self.0
    }

    pub fn target(&self) -> Target {
        if self.0[..2] == [1, 0] {
            Target::Entry(*EntryId::from_bytes(self.0[2..].try_into().expect("32 bytes are left")).as_bytes())
        } else {
            Target::Sector
        }
    }
}
