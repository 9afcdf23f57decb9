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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Lines};
    use std::process::{ChildStdout, Command, Stdio};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    #[ignore = "the child of `the_first_signal_cancels_and_the_second_exits`"]
    async fn child() {
        let token = shutdown_token().unwrap();
        println!("child: ready");
        // The parent ends this process long before.
        let patience = Duration::from_secs(30);
        if timeout(patience, token.cancelled()).await.is_ok() {
            println!("child: cancelled");
            sleep(patience).await;
        }
    }

    fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) {
        assert!(lines.any(|line| line.unwrap().ends_with(text)), "no `{text}`");
    }

    #[test]
    fn the_first_signal_cancels_and_the_second_exits() {
        for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "server::signal::tests::child", "--ignored", "--nocapture"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let pid = child.id().to_string();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let send = |signal| assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
            wait_for(&mut lines, "child: ready");
            send(first);
            wait_for(&mut lines, "child: cancelled");
            assert!(child.try_wait().unwrap().is_none());
            send(second);
            assert_eq!(child.wait().unwrap().code(), Some(INTERRUPTED));
        }
    }
}
