//! The canonical form: the single skyfile, hence the single skylink, of content in a profile.
//!
//! Its metadata has only digest and length, for any transport. The content is in the base sector if it fits, else in
//! sectors of a fanout. So the skylink is known before anything is sent.

use content_store::digest::Digest;
use skynet_formats::base_sector::{AssembleError, BaseSector};
use skynet_formats::layout::Layout;
use skynet_formats::profile::Profile;
use skynet_formats::sector::SectorRoot;

/// The location of a canonical skyfile's content, which decides how it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the base sector: sent raw, in one request.
    Small,
    /// In sectors of its own: sent by TUS.
    Large,
}

impl Form {
    /// The form of content of this length in a profile.
    pub fn of(digest: &Digest, length: u64, profile: Profile) -> Form {
        let head = (Layout::SIZE + metadata(digest, length).len()) as u64;
        let fits = head.checked_add(length).is_some_and(|needed| needed <= profile.sector_size().bytes() as u64);
        if fits { Form::Small } else { Form::Large }
    }
}

/// The metadata, byte for byte. Nothing in it needs escaping: a digest's grammar has no such character.
pub fn metadata(digest: &Digest, length: u64) -> Vec<u8> {
    format!(r#"{{"filename":"{}","length":{length}}}"#, digest.file_name()).into_bytes()
}

/// The bytes before the content in the base sector of small content; the content need not be read for them.
pub fn small_head(digest: &Digest, length: u64) -> Vec<u8> {
    let metadata = metadata(digest, length);
    [&Layout::without_fanout(length, metadata.len() as u64).encode()[..], &metadata].concat()
}

/// The base sector of small content.
pub fn small(digest: &Digest, content: &[u8], profile: Profile) -> Result<BaseSector, AssembleError> {
    BaseSector::small(profile.sector_size(), &metadata(digest, content.len() as u64), content)
}

/// The base sector of large content, from its fanout alone. With one data piece, the fanout is the list of unit roots,
/// with the profile's sector size as unit. With several it is not, because each piece has every n-th segment of the
/// content.
pub fn large(
    digest: &Digest,
    length: u64,
    profile: Profile,
    fanout: &[SectorRoot],
) -> Result<BaseSector, AssembleError> {
    BaseSector::large(profile, length, &metadata(digest, length), fanout)
}

/// True if the fanout of large content fits its base sector. Otherwise it is no skyfile, and this is known without
/// reading it.
pub fn fanout_fits(digest: &Digest, length: u64, profile: Profile) -> bool {
    !matches!(large(digest, length, profile, &[]), Err(AssembleError::FanoutTooLarge { .. }))
}

#[cfg(test)]
mod tests;
