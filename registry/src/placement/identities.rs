//! Follows who the endpoints are. An address that answers with another identity is another endpoint: copies of the one
//! before do not count until it is back, or they are found at another place.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Remote;
use super::names::members;
use crate::content::LocalContent;

/// Longest wait for an endpoint to say who it is.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Asks again and again, until `stop`.
pub(super) async fn run(here: &Arc<LocalContent>, remote: &Arc<Remote>, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let asking = async {
            ask_all(here, remote).await;
            tokio::time::sleep(remote.settings.identify_every).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = asking => {}
        }
    }
}

/// Asks all endpoints who they are; false if one of them does not answer. Once it returns true, only copies at those that
/// are there count.
pub(crate) async fn ask_all(here: &Arc<LocalContent>, remote: &Arc<Remote>) -> bool {
    let members = members(&remote.backend);
    let asked = members.iter().map(|member| timeout(ANSWERS_WITHIN, member.identify()));
    let mut all = true;
    for (member, answer) in members.iter().zip(join_all(asked).await) {
        match (answer, member.endpoint()) {
            (Ok(Ok(_)), Some(name)) => remote.audits.answered(&name),
            (Ok(Ok(_)), None) => {}
            (Ok(Err(_)) | Err(_), _) => all = false,
        }
    }
    let followed = Arc::clone(remote);
    // This fails only while the process ends.
    let _ = tokio::task::spawn_blocking(move || followed.look_around()).await;
    remote.follow(&here.catalog).await && all
}
