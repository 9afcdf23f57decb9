//! The signals that end the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What shells report for a process that SIGINT ended: 128 + 2.
const INTERRUPTED: i32 = 130;

/// A token that the first SIGTERM or SIGINT cancels; a second one exits at once. Call once, within the runtime, whose
/// end also ends the task that listens.
pub fn shutdown_token() -> io::Result<CancellationToken> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    tokio::spawn(listen(terminate, interrupt, token.clone()));
    Ok(token)
}

async fn listen(mut terminate: Signal, mut interrupt: Signal, token: CancellationToken) {
    next(&mut terminate, &mut interrupt).await;
    tracing::info!("shutting down; a second signal ends at once");
    token.cancel();
    next(&mut terminate, &mut interrupt).await;
    // Every acknowledged write is on disk already: ending here is no worse than a crash, which the next start handles.
    std::process::exit(INTERRUPTED);
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
