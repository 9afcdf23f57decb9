//! The resume tokens of all members in one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::{Locator, Progress, ResumeToken};

/// The tokens of all members in one, by their names: a JSON object.
pub(super) struct Tokens<'a> {
    outer: &'a dyn Progress,
    by_name: Mutex<BTreeMap<String, ResumeToken>>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(outer: &'a dyn Progress) -> Self {
        let known = outer.last().and_then(|token| serde_json::from_str(token.as_str()).ok());
        Tokens { outer, by_name: Mutex::new(known.unwrap_or_default()) }
    }
}

pub(super) struct MemberTokens<'a> {
    pub(super) all: &'a Tokens<'a>,
    pub(super) name: String,
}

impl Progress for MemberTokens<'_> {
    fn last(&self) -> Option<ResumeToken> {
        self.all.by_name.lock().unwrap_or_else(PoisonError::into_inner).get(&self.name).cloned()
    }

    fn keep(&self, token: ResumeToken) -> BoxFuture<'_, ()> {
        let all = {
            let mut by_name = self.all.by_name.lock().unwrap_or_else(PoisonError::into_inner);
            by_name.insert(self.name.clone(), token);
            serde_json::to_string(&*by_name).ok().and_then(|text| ResumeToken::try_from(text).ok())
        };
        match all {
            Some(all) => self.all.outer.keep(all),
            // Too many for one token: resuming is given up, not the put.
            None => Box::pin(async {}),
        }
    }

    /// The backend of all of them reports it, with the one that the member answers.
    fn copied(&self, _: Locator) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
