//! One request of the distribution API, as written in a script.

use serde::{Deserialize, Serialize};

use crate::model::content::Content;

/// A request. It names upload sessions by slots; the sender knows the `Location` of each slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// end-4a, end-4c.
    StartUpload {
        repo: String,
        slot: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        algorithm: Option<String>,
        /// A body that was not requested (row 41).
        #[serde(default, skip_serializing_if = "is_false")]
        junk: bool,
    },
    /// end-4b.
    PostBlob {
        repo: String,
        bytes: Content,
        digest: String,
        #[serde(default, skip_serializing_if = "is_false")]
        chunked: bool,
    },
    /// end-11. `bytes` is the content of the digest, if the group cannot know whether others have it.
    Mount {
        repo: String,
        slot: u32,
        digest: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<Content>,
    },
    /// end-5. `range` is sent as `Content-Range`.
    Patch {
        repo: String,
        slot: u32,
        bytes: Content,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<String>,
        #[serde(default, skip_serializing_if = "is_false")]
        chunked: bool,
    },
    /// end-13.
    UploadStatus { repo: String, slot: u32 },
    /// end-14.
    CancelUpload { repo: String, slot: u32 },
    /// end-6.
    CloseUpload {
        repo: String,
        slot: u32,
        digest: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<Content>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<String>,
    },
    /// end-2.
    GetBlob {
        repo: String,
        digest: String,
        #[serde(default, skip_serializing_if = "is_false")]
        head: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<String>,
    },
    /// end-10.
    DeleteBlob { repo: String, digest: String },
    /// end-7a, end-7b, and `?digest=` on a tag push (row 105).
    PutManifest {
        repo: String,
        reference: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        content_type: Option<String>,
        body: String,
    },
    /// end-3.
    GetManifest {
        repo: String,
        reference: String,
        #[serde(default, skip_serializing_if = "is_false")]
        head: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        if_none_match: Option<String>,
    },
    /// end-9.
    DeleteManifest { repo: String, reference: String },
    /// end-8a, end-8b.
    Tags {
        repo: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<String>,
    },
    /// `_catalog` with all its pages. Only the group's own repositories are judged.
    Catalog {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u32>,
    },
    /// end-12a and end-12b, with all pages.
    Referrers {
        repo: String,
        digest: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact_type: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u32>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Op {
    /// The session named by the request, if any.
    pub fn slot(&self) -> Option<u32> {
        match self {
            Op::Patch { slot, .. }
            | Op::UploadStatus { slot, .. }
            | Op::CancelUpload { slot, .. }
            | Op::CloseUpload { slot, .. } => Some(*slot),
            _ => None,
        }
    }

    /// True if the answer never has a body.
    pub fn is_head(&self) -> bool {
        matches!(self, Op::GetBlob { head: true, .. } | Op::GetManifest { head: true, .. })
    }

    /// Applies `change` to each repository name.
    pub fn rename(&mut self, change: &dyn Fn(&str) -> String) {
        match self {
            Op::Catalog { .. } => {}
            Op::Mount { repo, from, .. } => {
                *repo = change(repo);
                *from = from.as_deref().map(change);
            }
            Op::StartUpload { repo, .. }
            | Op::PostBlob { repo, .. }
            | Op::Patch { repo, .. }
            | Op::UploadStatus { repo, .. }
            | Op::CancelUpload { repo, .. }
            | Op::CloseUpload { repo, .. }
            | Op::GetBlob { repo, .. }
            | Op::DeleteBlob { repo, .. }
            | Op::PutManifest { repo, .. }
            | Op::GetManifest { repo, .. }
            | Op::DeleteManifest { repo, .. }
            | Op::Tags { repo, .. }
            | Op::Referrers { repo, .. } => *repo = change(repo),
        }
    }
}
