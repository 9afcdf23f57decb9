//! The state that an interrupted upload needs to resume, kept by the caller.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

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

/// The storage for the token of one piece of content at one backend. The caller removes the token once the content is
/// placed or is no longer to be placed.
pub trait Resume: Send + Sync {
    /// The last token kept.
    fn last(&self) -> Option<ResumeToken>;

    /// Replaces the token, durably when it returns if resuming is to survive a crash. A failure costs a repetition, not
    /// the upload, so it is not reported.
    fn keep(&self, token: ResumeToken) -> BoxFuture<'_, ()>;
}

/// Keeps a token in memory.
#[derive(Debug, Default)]
pub struct ResumeInMemory(Mutex<Option<ResumeToken>>);

impl ResumeInMemory {
    /// Begins with this token.
    pub fn new(token: Option<ResumeToken>) -> Self {
        ResumeInMemory(Mutex::new(token))
    }
}

impl Resume for ResumeInMemory {
    fn last(&self) -> Option<ResumeToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, token: ResumeToken) -> BoxFuture<'_, ()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
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
