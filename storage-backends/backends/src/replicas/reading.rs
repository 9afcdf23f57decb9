//! One read from several backends: it continues at another one after a failure, and also asks another one if one is
//! slow.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::{Replicas, name, nobody, worst_last};
use crate::{BackendError, ByteStream, Content, Locator};

/// Most backends asked for the same bytes at once: each uses a unit of memory.
const MAX_ATTEMPTS: usize = 2;

/// A read in progress.
pub(super) struct Anywhere {
    replicas: Replicas,
    content: Content,
    locator: Locator,
    rest: Range<u64>,
    /// The backend that gave the last bytes.
    current: Option<(usize, ByteStream)>,
}

/// A request to one member for the next bytes.
struct Attempt {
    number: usize,
    result: Result<(Bytes, ByteStream), BackendError>,
}

impl Anywhere {
    pub(super) fn new(replicas: &Replicas, content: &Content, locator: &Locator, rest: Range<u64>) -> Self {
        let (content, locator) = (content.clone(), locator.clone());
        Anywhere { replicas: replicas.clone(), content, locator, rest, current: None }
    }

    /// The next bytes, from the first member that has them.
    pub(super) async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut attempts = FuturesUnordered::new();
        // The members not asked for these bytes yet.
        let mut others = self.replicas.in_order();
        if let Some((number, open)) = self.current.take() {
            others.retain(|other| *other != number);
            attempts.push(Box::pin(pull(number, open)) as BoxFuture<'static, Attempt>);
        }
        others.reverse();
        let mut failure = None;
        if attempts.is_empty() {
            attempts.extend(others.pop().map(|number| self.begin(number)));
        }
        while !attempts.is_empty() {
            let may_ask = !others.is_empty() && attempts.len() < MAX_ATTEMPTS;
            let attempt = tokio::select! {
                Some(attempt) = attempts.next() => attempt,
                () = tokio::time::sleep(self.replicas.patience), if may_ask => {
                    let number = others.pop().expect("it is not empty");
                    let (digest, next) = (self.content.digest(), name(&*self.replicas.members[number]));
                    tracing::info!(%digest, at = self.rest.start, next, "no backend has answered in time; asking another");
                    attempts.push(self.begin(number));
                    continue;
                }
            };
            match attempt.result {
                Ok((bytes, open)) => {
                    self.rest.start += bytes.len() as u64;
                    self.current = Some((attempt.number, open));
                    drop(attempts);
                    return Ok(Some((bytes, self)));
                }
                Err(error) if !error.concerns_backend_only() => return Err(error),
                Err(error) => {
                    self.tell(attempt.number, &error);
                    failure = Some(worst_last(failure, error));
                    // At once, even while a slow one may still answer.
                    attempts.extend(others.pop().map(|number| self.begin(number)));
                }
            }
        }
        Err(failure.unwrap_or_else(nobody))
    }

    fn begin(&self, number: usize) -> BoxFuture<'static, Attempt> {
        let (member, content) = (Arc::clone(&self.replicas.members[number]), self.content.clone());
        let (locator, rest) = (self.locator.clone(), self.rest.clone());
        Box::pin(async move {
            match member.get(&content, &locator, rest).await {
                Ok(open) => pull(number, open).await,
                Err(error) => Attempt { number, result: Err(error) },
            }
        })
    }

    fn tell(&self, number: usize, error: &BackendError) {
        if matches!(error, BackendError::NotFound) {
            return;
        }
        let backend = name(&*self.replicas.members[number]);
        tracing::warn!(backend, %error, digest = %self.content.digest(), at = self.rest.start, "reading elsewhere");
    }
}

async fn pull(number: usize, mut open: ByteStream) -> Attempt {
    let result = match open.next().await {
        Some(Ok(bytes)) => Ok((bytes, open)),
        Some(Err(error)) => Err(error),
        None => Err(BackendError::Unavailable { retry_after: None, cause: "the stream ended before its end".into() }),
    };
    Attempt { number, result }
}
