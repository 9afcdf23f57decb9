//! The only place that knows HTTP: parse a request, call the portal, render the answer.
//!
//! There is one file per group of endpoints. `route` is the grammar of all paths, `error` the form of errors, and
//! `cors` has the headers that browsers need on every answer.

mod access;
mod blocklist;
mod body;
mod cors;
mod costs;
mod dispatch;
mod download;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod health;
mod identity;
mod json;
mod left_out;
mod links;
mod pins;
mod raw_reads;
mod registry;
mod request;
mod resolve;
mod restore;
mod root;
mod route;
mod skyfile;
mod stats;
mod timeout;
mod trustless_file;
mod tus;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;

use crate::Portal;

/// The whole API. Requests should carry `axum::extract::ConnectInfo<SocketAddr>` of their peer.
pub fn router(portal: Arc<Portal>) -> Router {
    Router::new().fallback(dispatch::dispatch).with_state(portal)
}
