//! One question to several backends; the first answer wins.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::{Replicas, nobody, worst_last};
use crate::{Answer, Backend, BackendError};

/// Asks one after the other: the next one when one fails, or has not answered within `patience`.
pub(super) async fn first<'a, T>(
    replicas: &'a Replicas,
    patience: Duration,
    ask: impl Fn(&'a dyn Backend) -> Answer<'a, T> + Send,
) -> Result<T, BackendError> {
    let mut asked = FuturesUnordered::new();
    let mut failure = None;
    for number in replicas.in_order() {
        asked.push(ask(&*replicas.members[number]));
        let answer = tokio::select! {
            Some(answer) = asked.next() => answer,
            () = tokio::time::sleep(patience) => continue,
        };
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = Some(worst_last(failure, error)),
        }
    }
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = Some(worst_last(failure, error)),
        }
    }
    Err(failure.unwrap_or_else(nobody))
}
