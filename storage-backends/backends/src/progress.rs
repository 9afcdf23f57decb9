//! The progress of a put, kept by the caller: what it needs to resume, and the copies that it has made.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Locator;

/// Longest token in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// A token that only its backend understands. It may give access to the upload: treat it as a secret, and its content
/// as hostile.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResumeToken(Box<str>);

/// The text is too long for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resume token has {MAX_TOKEN} bytes at most")]
pub struct TokenTooLong;

impl ResumeToken {
    /// What the backend wrote.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ResumeToken {
    type Error = TokenTooLong;

    fn try_from(text: String) -> Result<Self, TokenTooLong> {
        if text.len() > MAX_TOKEN { Err(TokenTooLong) } else { Ok(ResumeToken(text.into())) }
    }
}

impl From<ResumeToken> for String {
    fn from(token: ResumeToken) -> String {
        token.0.into()
    }
}

impl std::fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ResumeToken({} bytes)", self.0.len())
    }
}

/// The progress of a put of one piece of content at one backend. The caller removes its token once the content is
/// placed or is no longer to be placed.
pub trait Progress: Send + Sync {
    /// The last token kept.
    fn last(&self) -> Option<ResumeToken>;

    /// Replaces the token, durably when it returns if resuming is to survive a crash. A failure costs a repetition, not
    /// the upload, so it is not reported.
    fn keep(&self, token: ResumeToken) -> BoxFuture<'_, ()>;

    /// A copy was made, although the put may go on to others, or fail there. Only a backend of several reports copies:
    /// one endpoint answers with its only one.
    fn copied(&self, copy: Locator) -> BoxFuture<'_, ()>;
}

/// Keeps a token and copies in memory.
#[derive(Debug, Default)]
pub struct ProgressInMemory {
    token: Mutex<Option<ResumeToken>>,
    copies: Mutex<Vec<Locator>>,
}

impl ProgressInMemory {
    /// Begins with this token.
    pub fn new(token: Option<ResumeToken>) -> Self {
        ProgressInMemory { token: Mutex::new(token), copies: Mutex::default() }
    }

    /// The reported copies.
    pub fn copies(&self) -> Vec<Locator> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Progress for ProgressInMemory {
    fn last(&self) -> Option<ResumeToken> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, token: ResumeToken) -> BoxFuture<'_, ()> {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Box::pin(async {})
    }

    fn copied(&self, copy: Locator) -> BoxFuture<'_, ()> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_short_and_not_printed() {
        assert_eq!(ResumeToken::try_from("x".repeat(MAX_TOKEN + 1)), Err(TokenTooLong));
        let token = ResumeToken::try_from("http://portal/skynet/tus/secret".to_owned()).unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<ResumeToken>(&json).unwrap(), token);
    }
}
