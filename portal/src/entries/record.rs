//! The record of an entry on disk (`docs/on-disk-format.md`, "Portal: registry entries").

use content_store::record::{Format, Undecodable};
use skynet_formats::datakey::DataKey;
use skynet_formats::entry::{ENTRY_DATA_LIMIT, Entry, EntryId, EntryType, SignedEntry};
use skynet_formats::public_key::PublicKey;

/// Bytes of the fields before the data.
pub(super) const NUMBERS: usize = 136;

pub(super) const FORMAT: Format = Format::new(*b"SKYENTR\0", 1, NUMBERS + ENTRY_DATA_LIMIT);

pub(super) fn encode(signed: &SignedEntry) -> Vec<u8> {
    let entry = signed.entry();
    let fields: [&[u8]; 5] = [
        &entry.revision().to_le_bytes(),
        signed.public_key().as_bytes(),
        entry.datakey().as_bytes(),
        signed.signature(),
        entry.data(),
    ];
    FORMAT.encode([entry.kind() as u8, 0], &fields)
}

/// Decodes the entry of this id. The signature is verified again, because a checksum detects damage, not forgery.
pub(super) fn decode(record: &[u8], id: &EntryId) -> Result<SignedEntry, Undecodable> {
    FORMAT.decode(record, |marks, fields| {
        let [kind, 0] = marks else { return None };
        let revision = fields.u64()?;
        let (key, datakey, signature) = (fields.array()?, fields.array()?, fields.array()?);
        let (kind, datakey) = (EntryType::try_from(kind).ok()?, DataKey::from_bytes(datakey));
        let entry = Entry::new(kind, datakey, fields.rest().to_vec(), revision).ok()?;
        entry.signed(PublicKey::from_bytes(key), signature).ok().filter(|entry| entry.id() == *id)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;
    use content_store::checksum::{CHECKSUM_LENGTH, checksum};
    use proptest::prelude::*;

    #[test]
    fn records_come_back_as_written() {
        for data in [&b""[..], &[7; 34], &[255; ENTRY_DATA_LIMIT]] {
            for revision in [0, 1, u64::MAX] {
                let entry = entry(1, "name", revision, data);
                let record = encode(&entry);
                assert_eq!(decode(&record, &entry.id()), Ok(entry));
            }
        }
    }

    /// The layout of the documentation, written out by hand.
    #[test]
    fn fields_stand_where_the_documentation_says() {
        let entry = entry(1, "name", 0x0102_0304_0506_0708, b"abc");
        let record = encode(&entry);
        assert_eq!(record[..16], *b"SKYENTR\0\x01\0\x01\0\xa3\0\0\0");
        assert_eq!(record[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(record[24..56], *entry.public_key().as_bytes());
        assert_eq!(record[56..88], *entry.entry().datakey().as_bytes());
        assert_eq!(record[88..152], *entry.signature());
        assert_eq!(record[152..155], *b"abc");
        assert_eq!(record[155..], checksum(&record[..155]));
    }

    #[test]
    fn a_record_under_another_name_is_damaged() {
        let other = entry(1, "another", 0, b"").id();
        assert_eq!(decode(&encode(&entry(1, "name", 0, b"")), &other), Err(Undecodable::Garbage));
    }

    proptest! {
        /// Behind a checksum that fits stands anything but what was signed.
        #[test]
        fn no_sound_checksum_makes_up_for_a_signature(
            at in 8..186_usize,
            byte: u8,
            revision: u64,
        ) {
            let entry = entry(1, "name", revision, &[3; 34]);
            let mut record = encode(&entry);
            record.truncate(record.len() - CHECKSUM_LENGTH);
            record[at] = byte;
            let sum = checksum(&record);
            record.extend_from_slice(&sum);
            if let Ok(read) = decode(&record, &entry.id()) {
                prop_assert_eq!(read, entry);
            }
        }
    }
}
