//! Faults of a portal, and their meaning for the caller.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use skynet_formats::skylink::Skylink;

use crate::BackendError;

/// Most characters of a portal's message in the log.
const MAX_MESSAGE: usize = 200;

/// A portal's failure, as written to the log.
#[derive(Debug, thiserror::Error)]
#[error("{portal}: {action}: {problem}")]
pub(super) struct PortalError {
    /// Its address.
    pub(super) portal: Arc<str>,
    /// The requested action.
    pub(super) action: &'static str,
    /// The fault.
    pub(super) problem: Problem,
}

/// The fault of a portal.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// It answered this status; the message is its own, shortened, without control characters.
    #[error("{status} {message:?}")]
    Status { status: StatusCode, message: String },
    /// It could not be reached, or broke off.
    #[error("{0}")]
    Transport(#[source] reqwest::Error),
    /// Its answer ended before it was complete.
    #[error("the answer ended after {found} of {expected} bytes")]
    EndedEarly { expected: u64, found: u64 },
    /// Its answer does not follow the protocol.
    #[error("no {0} in the answer")]
    Malformed(&'static str),
    /// Its answer was longer than any useful one.
    #[error("an answer of more than {0} bytes")]
    TooLong(u64),
    /// It accepted a part of an upload without progress, as skyd does when it cannot keep a part that it has begun.
    #[error("the upload is still at {0} bytes")]
    NoProgress(u64),
    /// It mistook the content for another one.
    #[error("the content is at {expected}, and it says {found}")]
    OtherAddress { expected: Skylink, found: Skylink },
    /// It lays out content in another way.
    #[error("its profile is {found:?} instead of {expected}")]
    OtherProfile { expected: String, found: String },
    /// It serves the content of a registry, perhaps this one, and stores nothing.
    #[error("it is the read-only gateway of a registry, where nothing can be placed")]
    Gateway,
    /// It says that it is one whose key it does not have.
    #[error("its proof of who it is does not verify")]
    NotSigned,
    /// It answered other bytes than those asked for.
    #[error("another range than the one asked for")]
    OtherRange,
}

impl PortalError {
    /// It cannot now.
    pub(super) fn unavailable(self, retry_after: Option<Duration>) -> BackendError {
        BackendError::Unavailable { retry_after, cause: Box::new(self) }
    }

    /// It will not.
    pub(super) fn refused(self) -> BackendError {
        BackendError::Refused { cause: Box::new(self) }
    }

    /// It does what no honest one does.
    pub(super) fn misbehaves(self) -> BackendError {
        BackendError::Misbehaves { cause: Box::new(self) }
    }
}

/// The relevant parts of an unexpected answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal<'a> {
    pub(super) status: StatusCode,
    pub(super) is_html: bool,
    pub(super) message: &'a str,
}

/// The reaction that an answer calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is not there.
    Absent,
    /// A retry may succeed, or another portal.
    Later,
    /// It will not succeed here.
    Never,
    /// It has no room.
    Full,
}

impl Refusal<'_> {
    /// The meaning of the status. Portals differ: a download that took too long is a 500 of skyd and sometimes a 404,
    /// and servers before skyd answer pages in HTML.
    pub(super) fn meaning(&self) -> Meaning {
        let timed_out = ["timed out", "timeout", "did not succeed"].iter().any(|words| self.message.contains(words));
        match self.status.as_u16() {
            401 | 403 | 451 => Meaning::Never,
            404 | 410 if timed_out || self.is_html => Meaning::Later,
            404 | 410 => Meaning::Absent,
            507 => Meaning::Full,
            408 | 423 | 425 | 429 | 500..=599 => Meaning::Later,
            400..=499 if timed_out => Meaning::Later,
            // 413 among them: another limit than ours.
            400..=499 if !self.is_html => Meaning::Never,
            400..=499 => Meaning::Later,
            // Redirects are not followed: they would carry our credentials elsewhere.
            _ => Meaning::Never,
        }
    }
}

/// A message that is valid in a line of a log.
pub(super) fn sanitized(message: &str) -> String {
    message.chars().filter(|character| !character.is_control()).take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meaning(status: u16, is_html: bool, message: &str) -> Meaning {
        let status = StatusCode::from_u16(status).unwrap();
        Refusal { status, is_html, message }.meaning()
    }

    #[test]
    fn answers_mean_what_skyd_and_portals_mean_by_them() {
        let html = "<html>";
        let table = [
            (404, false, "failed to fetch skylink: root not found", Meaning::Absent),
            (404, false, "", Meaning::Absent),
            (404, false, "registry lookup timed out", Meaning::Later),
            (404, true, html, Meaning::Later),
            (500, false, "base sector download did not succeed: timed out after 30s", Meaning::Later),
            (500, true, html, Meaning::Later),
            (502, true, html, Meaning::Later),
            (503, false, "", Meaning::Later),
            (507, false, "", Meaning::Full),
            (408, false, "", Meaning::Later),
            (423, false, "", Meaning::Later),
            (429, true, html, Meaning::Later),
            (401, true, html, Meaning::Never),
            (403, false, "", Meaning::Never),
            (451, false, "blocked", Meaning::Never),
            (400, false, "no filename provided", Meaning::Never),
            (400, true, html, Meaning::Later),
            (413, false, "", Meaning::Never),
            (307, false, "", Meaning::Never),
            (204, false, "", Meaning::Never),
        ];
        for (status, is_html, message, expected) in table {
            assert_eq!(meaning(status, is_html, message), expected, "{status} {message}");
        }
    }

    proptest! {
        #[test]
        fn messages_fit_a_line(message in ".{0,400}") {
            let clean = sanitized(&message);
            let fits = clean.chars().count() <= MAX_MESSAGE;
            prop_assert!(fits && !clean.chars().any(char::is_control), "{:?}", clean);
        }
    }
}
