//! Keeps all files of content while a backup copies them.

use std::sync::Arc;

use super::{Item, Output};
use crate::service::Registry;

/// Keeps files until the caller leaves. Files of content that is deleted meanwhile are removed by the next collection.
pub(super) async fn hold(registry: &Arc<Registry>, out: &Output) {
    let _kept = registry.content.keep_files();
    tracing::info!("a backup begins: no file of content is removed until it ends");
    out.item(Item::Held).await;
    out.left().await;
    tracing::info!("a backup ended: files of content may be removed again");
}
