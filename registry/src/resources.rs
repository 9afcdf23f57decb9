//! Everything that requests can use up: one account each, with its limit, and what a client gets when it is used up.
//!
//! `http::costs` declares the resources of each operation. The dispatcher takes the permits that a body needs before it
//! is read. The other resources are taken by the work, as soon as it knows how much it needs. Every permit moves into
//! the work, and comes back when the work has ended, even if the client has left. `docs/reference/resources.md` is made
//! from this page.

use serving::Account;

/// A resource that clients share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Connections of one listener.
    Connections,
    /// Connections beyond the limit, for one health check each.
    HealthChecks,
    /// Memory of requests and of answers that were not sent yet.
    Requests,
    /// Passwords that are checked.
    Logins,
    /// Bytes that clients may send ahead over HTTP/2.
    Windows,
    /// Bodies of blobs that arrive. Each has a thread.
    Bodies,
    /// Upload sessions.
    Uploads,
    /// Syncs of chunks that are appended.
    Syncs,
    /// Memory of manifests above 32 KiB, from their first byte to their commit.
    LargeManifests,
    /// Manifests that are checked and committed.
    Manifests,
    /// The writer of the catalog.
    Writer,
    /// Large manifests that are read whole.
    LargeReads,
    /// Readers of the data of the start page.
    StartPage,
    /// Units of cold content that are fetched.
    ColdReads,
    /// Bytes that are on this node and not on the portals.
    Staging,
    /// Space of a file system.
    Disk,
    /// Lines of the log.
    LogLines,
}

impl Resource {
    /// All of them, in the order of the page.
    pub const ALL: [Resource; 17] = {
        use Resource::{
            Bodies, ColdReads, Connections, Disk, HealthChecks, LargeManifests, LargeReads, LogLines, Logins,
            Manifests, Requests, Staging, StartPage, Syncs, Uploads, Windows, Writer,
        };
        [
            Connections,
            HealthChecks,
            Requests,
            Logins,
            Windows,
            Bodies,
            Uploads,
            Syncs,
            LargeManifests,
            Manifests,
            Writer,
            LargeReads,
            StartPage,
            ColdReads,
            Staging,
            Disk,
            LogLines,
        ]
    };

    /// Its name in errors.
    pub const fn name(self) -> &'static str {
        self.account().name
    }

    /// Its account: the table.
    pub const fn account(self) -> Account {
        let [name, limit, share, used_up, back] = match self {
            Resource::Connections => {
                ["connections", "`server.max_connections`", "half", "a wait, then 429 or 503", "the connection closes"]
            }
            Resource::HealthChecks => {
                ["health checks", "16", "8", "no connection", "the check was answered, within 5 s"]
            }
            Resource::Requests => [
                "requests",
                "48 MiB, and one for each connection",
                "no share",
                "a wait, then 503",
                "the answer was sent",
            ],
            Resource::Logins => ["logins", "2 at once", "half", "a wait, then 429", "the password was checked"],
            Resource::Windows => [
                "windows of HTTP/2",
                "48 MiB, and 64 KiB for each connection",
                "a third of what is left, for a connection",
                "a small window",
                "the connection closes",
            ],
            Resource::Bodies => [
                "request bodies",
                "`registry.max_transfers`",
                "half",
                "a wait, then 429 or 503",
                "the body was written",
            ],
            Resource::Uploads => [
                "open uploads",
                "`registry.max_uploads`",
                "half",
                "an idle one ends; else a wait, then 429 or 503",
                "the upload is closed, cancelled or expired",
            ],
            Resource::Syncs => ["syncs of chunks", "the disk", "2 at once", "a wait", "the chunk is on the disk"],
            Resource::LargeManifests => [
                "large manifests",
                "32 MiB",
                "half, while more than half is used",
                "a wait, then 429 or 503",
                "the manifest is committed or refused",
            ],
            Resource::Manifests => {
                ["manifests", "256", "no share", "a wait, then 503", "the manifest is committed or refused"]
            }
            Resource::Writer => {
                ["commits", "one batch at a time", "large ones take turns", "a wait", "the batch is on the disk"]
            }
            Resource::LargeReads => ["reads of large manifests", "4", "no share", "a wait", "the manifest was read"],
            Resource::StartPage => {
                ["requests for this page", "1, and 32 that wait", "no share", "a wait, then 503", "the data was read"]
            }
            Resource::ColdReads => ["cold reads", "8 units at once", "no share", "a wait", "the unit has arrived"],
            Resource::Staging => [
                "staged bytes",
                "`storage.staging_limit`",
                "no share",
                "idle uploads end; else 503",
                "the content is on the portals, or its upload has ended",
            ],
            Resource::Disk => {
                ["free space", "`storage.reserve`", "no share", "507", "files are deleted, collected or evicted"]
            }
            Resource::LogLines => {
                ["log lines", "what standard error takes", "no share", "no line; it is dropped and counted", "at once"]
            }
        };
        Account { name, limit, share, used_up, back }
    }
}
