//! A walk over all referenced content, in pages.

use std::sync::Arc;
use std::vec;

use crate::content::{Error, LocalContent};
use crate::oci::{Algorithm, Digest};

/// Digests read in one step.
const PAGE: usize = 256;

/// A walk over all referenced content.
#[derive(Debug)]
pub(super) struct Walk {
    /// The first digest is after this one; `None`: at the beginning.
    start: Option<Digest>,
    after: Option<Digest>,
    page: vec::IntoIter<Digest>,
    /// It reached the end, and goes on at the beginning, up to its start.
    wrapped: bool,
    ended: bool,
}

impl Walk {
    pub(super) fn from_the_start() -> Self {
        Walk { start: None, after: None, page: Vec::new().into_iter(), wrapped: true, ended: false }
    }

    /// A walk from a random digest to the end, then from the beginning. Digests are random themselves, so what comes
    /// first is a random choice.
    pub(super) fn from_anywhere() -> Self {
        let mut random = [0; 16];
        // Without randomness, it begins at the beginning.
        let Ok(()) = getrandom::fill(&mut random) else { return Walk::from_the_start() };
        let start = Some(Digest::of(Algorithm::Sha256, &random));
        Walk { after: start.clone(), start, page: Vec::new().into_iter(), wrapped: false, ended: false }
    }

    /// The next digest; `None` at the end.
    pub(super) async fn next(&mut self, here: &Arc<LocalContent>) -> Result<Option<Digest>, Error> {
        loop {
            if let Some(digest) = self.page.next() {
                if self.wrapped && self.start.as_ref().is_some_and(|start| digest > *start) {
                    self.ended = true;
                    return Ok(None);
                }
                return Ok(Some(digest));
            }
            if self.ended {
                return Ok(None);
            }
            let after = self.after.clone();
            let page =
                here.reading(move |catalog| Ok::<_, Error>(catalog.referenced_after(after.as_ref(), PAGE)?)).await?;
            if page.len() < PAGE {
                (self.ended, self.wrapped, self.after) = (self.wrapped, true, None);
            } else {
                self.after = page.last().cloned();
            }
            self.page = page.into_iter();
        }
    }
}
