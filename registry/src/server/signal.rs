//! The signals that end the process, and the deadline of a stop.

use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What shells report for a process that SIGINT ended: 128 + 2.
const INTERRUPTED: i32 = 130;
/// Exit status if the stop did not finish before its deadline.
const LATE: i32 = 2;

/// A token that the first SIGTERM or SIGINT cancels. From then on the process has `deadline` to end; a second signal
/// ends it at once. SIGHUP ends nothing: `tls` listens to it, too. Call this once, within the runtime. The listening
/// task ends with the runtime.
pub fn shutdown_token(deadline: Duration) -> io::Result<CancellationToken> {
    let signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    };
    let token = CancellationToken::new();
    tokio::spawn(listen(signals, token.clone(), deadline));
    Ok(token)
}

async fn listen(mut signals: Signals, token: CancellationToken, deadline: Duration) {
    signals.end().await;
    std::mem::forget(end_within(deadline));
    let within_ms = deadline.as_millis() as u64;
    tracing::info!(within_ms, "stopping; a second signal ends the process at once");
    token.cancel();
    signals.end().await;
    // Every acknowledged write is on disk already. Ending here is no worse than a crash, which the next start handles.
    std::process::exit(INTERRUPTED);
}

/// The end of the process, unless this is dropped in time.
#[derive(Debug)]
#[must_use]
pub struct Deadline {
    _met: mpsc::Sender<()>,
}

/// Ends the process after this time, whatever hangs, unless the deadline is dropped before. A thread, since blocking work
/// can hold up the runtime's own end.
pub fn end_within(time: Duration) -> Deadline {
    let (met, watch) = mpsc::channel();
    thread::spawn(move || {
        if watch.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("the stop took too long, so the process exits now; the next start completes it");
            std::process::exit(LATE);
        }
    });
    Deadline { _met: met }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Waits for SIGTERM or SIGINT. It also receives SIGHUP, which would otherwise end the process without a flush.
    async fn end(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                Some(()) = self.hangup.recv() => {
                    tracing::info!("SIGHUP reloads changed certificates, and no settings: these need a restart");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Lines};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use serving::AccessLog;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::config::{Log, LogFormat};
    use crate::telemetry::logs::init;

    #[tokio::test]
    #[ignore = "the child of `the_first_signal_cancels_and_the_second_exits`"]
    async fn child() {
        let deadline = std::env::var(DEADLINE_MS).map_or(30_000, |text| text.parse().unwrap());
        if std::env::var_os(LOG_HANGS).is_some() {
            let log = Log { level: "info".into(), format: LogFormat::Text, access: AccessLog::Off };
            std::mem::forget(init(&log).unwrap());
            // More than a pipe holds.
            for number in 0..20_000 {
                tracing::info!(number, "a line");
            }
        }
        let token = shutdown_token(Duration::from_millis(deadline)).unwrap();
        println!("child: ready");
        // The parent ends this process long before.
        let patience = Duration::from_secs(30);
        if timeout(patience, token.cancelled()).await.is_ok() {
            println!("child: cancelled");
            sleep(patience).await;
        }
    }

    const DEADLINE_MS: &str = "SIGNAL_TEST_DEADLINE_MS";
    const LOG_HANGS: &str = "SIGNAL_TEST_LOG_HANGS";

    struct Started {
        child: Child,
        lines: Lines<BufReader<ChildStdout>>,
    }

    impl Started {
        fn new(deadline_ms: &str) -> Self {
            Started::with(deadline_ms, &[])
        }

        fn with(deadline_ms: &str, variables: &[(&str, &str)]) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "server::signal::tests::child", "--ignored", "--nocapture"])
                .env(DEADLINE_MS, deadline_ms)
                .envs(variables.iter().copied())
                .stdout(Stdio::piped())
                // Nobody reads it.
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut started = Started { child, lines };
            started.wait_for("child: ready");
            started
        }

        fn wait_for(&mut self, text: &str) {
            assert!(self.lines.any(|line| line.unwrap().ends_with(text)), "no `{text}`");
        }

        fn send(&self, signal: &str) {
            let pid = self.child.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        }
    }

    #[test]
    fn the_first_signal_cancels_and_the_second_exits() {
        for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
            let mut started = Started::new("30000");
            started.send(first);
            started.wait_for("child: cancelled");
            assert!(started.child.try_wait().unwrap().is_none());
            started.send(second);
            assert_eq!(started.child.wait().unwrap().code(), Some(INTERRUPTED));
        }
    }

    #[test]
    fn a_hangup_does_not_end_the_process() {
        let mut started = Started::new("30000");
        started.send("HUP");
        started.send("TERM");
        started.wait_for("child: cancelled");
        started.send("TERM");
        assert_eq!(started.child.wait().unwrap().code(), Some(INTERRUPTED));
    }

    /// The first line blocked the stop and the watch over it, so that only SIGKILL ended the process.
    #[test]
    fn a_log_that_nobody_reads_holds_up_no_stop() {
        let mut started = Started::with("200", &[(LOG_HANGS, "1")]);
        started.send("HUP");
        started.send("TERM");
        started.wait_for("child: cancelled");
        assert_eq!(started.child.wait().unwrap().code(), Some(LATE));
    }

    #[test]
    fn a_stop_that_hangs_ends_at_its_deadline() {
        let mut started = Started::new("200");
        started.send("TERM");
        assert_eq!(started.child.wait().unwrap().code(), Some(LATE));
    }
}
