//! Everything that requests to a portal can use up: one account each, with its limit, and what a client gets when it is
//! used up.
//!
//! `http::costs` declares the resources of each route. The dispatcher takes the permit of an upload before its body is
//! read. The other resources are taken by the work, as soon as it knows what it needs. Every permit moves into the work.

use serving::Account;

/// A resource that clients of a portal share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Uploads in one request.
    Uploads,
    /// Resumable uploads.
    ResumableUploads,
    /// Bodies of resumable uploads that arrive.
    Bodies,
    /// Resumable uploads that are stored while they arrive.
    Ahead,
    /// Archives that are sent.
    Archives,
    /// Registry entries.
    Entries,
    /// Writes of registry entries.
    EntryWrites,
    /// Lookups of registry entries at peers.
    Lookups,
    /// Sectors that are fetched from peers.
    Sectors,
    /// Proofs that are computed.
    Proofs,
    /// Skyfiles that are fetched whole to be pinned.
    Pins,
    /// Space of the file system.
    Disk,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 12] = {
        use Resource::{
            Ahead, Archives, Bodies, Disk, Entries, EntryWrites, Lookups, Pins, Proofs, ResumableUploads, Sectors,
            Uploads,
        };
        [Uploads, ResumableUploads, Bodies, Ahead, Archives, Entries, EntryWrites, Lookups, Sectors, Proofs, Pins, Disk]
    };

    /// Its name in errors.
    pub const fn name(self) -> &'static str {
        self.account().name
    }

    /// Its account: the table.
    pub const fn account(self) -> Account {
        let [name, limit, share, used_up, back] = match self {
            Resource::Uploads => {
                ["uploads", "`portal.max_uploads`", "half", "a wait, then 429 or 503", "the content is stored"]
            }
            Resource::ResumableUploads => [
                "resumable uploads",
                "`portal.max_resumable_uploads`",
                "half",
                "a finished or idle one is forgotten; else a wait, then 503",
                "the upload is terminated, expired or forgotten",
            ],
            Resource::Bodies => [
                "bodies of resumable uploads",
                "`portal.max_uploads`, once more",
                "half",
                "a wait, then 503",
                "the body was written",
            ],
            Resource::Ahead => [
                "uploads ahead",
                "a quarter of `portal.max_uploads`",
                "half",
                "the upload is stored when it is complete",
                "the upload is stored",
            ],
            Resource::Archives => {
                ["archives", "`portal.max_archives`", "half", "a wait, then 429 or 503", "the last byte was sent"]
            }
            Resource::Entries => [
                "registry entries",
                "`portal.max_entries`",
                "half, counted for each address or API key",
                "429 or 507",
                "never: entries do not expire",
            ],
            Resource::EntryWrites => {
                ["writes of registry entries", "`portal.registry_rate`", "all of it", "429", "time passes"]
            }
            Resource::Lookups => ["lookups at peers", "`portal.lookup_rate`", "all of it", "429", "time passes"],
            Resource::Sectors => [
                "sectors from peers",
                "4 base sectors and 8 others at once",
                "no share",
                "a wait",
                "the sector is stored",
            ],
            Resource::Proofs => ["proofs", "4 at once", "no share", "a wait", "the proof is computed"],
            Resource::Pins => ["pins of absent skyfiles", "8 at once", "no share", "a wait", "the skyfile is here"],
            Resource::Disk => {
                ["free space", "`portal.disk_reserve`", "no share", "507", "skyfiles are unpinned and swept"]
            }
        };
        Account { name, limit, share, used_up, back }
    }
}
