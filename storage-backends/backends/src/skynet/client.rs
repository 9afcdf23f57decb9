//! HTTP with one portal: credentials, deadlines, and bounded answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect};
use tokio::time::{Instant, timeout, timeout_at};

use super::config::{Access, Deadlines, PortalConfig};
use super::problem::{Meaning, PortalError, Problem, Refusal, sanitized};
use crate::{BackendError, ByteStream, UNIT};

/// Bytes of an error's body that are read.
const MAX_ERROR_BODY: u64 = 4 * 1024;

/// Longest time to stay away, whatever a portal asks for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Time between two checks of an upload's progress.
const PROGRESS_STEP: Duration = Duration::from_secs(1);

/// Speaks with one portal. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    config: PortalConfig,
    deadlines: Deadlines,
    name: Arc<str>,
}

impl Client {
    /// Connects when it is first used.
    pub(super) fn new(config: PortalConfig, deadlines: Deadlines) -> Result<Self, BackendError> {
        let name: Arc<str> = config.url.to_string().into();
        let unsuitable = |cause: &str| BackendError::Unsuitable { cause: format!("{name}: {cause}").into() };
        if !config.access.is_sendable() {
            return Err(unsuitable("its credential cannot stand in a header"));
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_roots::client_config())
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(deadlines.connect)
            .no_proxy()
            .build()
            .map_err(|error| unsuitable(&error.to_string()))?;
        Ok(Client { http, config, deadlines, name })
    }

    /// The portal's address.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its name in locators when it was last asked by an earlier process.
    pub(super) fn known_as(&self) -> Option<&String> {
        self.config.known_as.as_ref()
    }

    /// True for a bare skyd, without a portal before it.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.config.access, Access::Skyd(_))
    }

    /// A request with the headers that the portal requires in each.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let agent = if self.is_bare() { "Sia-Agent" } else { "skyberth" };
        let request = self.http.request(method, self.config.url.at(path)).header(USER_AGENT, agent);
        // A Skyberth portal shall answer from its own content: content that only its peers have is no copy there.
        let request = request.header("skyberth-peer", "1");
        match self.config.access.header() {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }

    /// Sends a request with a body of this many bytes, and waits for the head of the answer, which must have this
    /// status.
    pub(super) async fn send(
        &self,
        action: &'static str,
        request: RequestBuilder,
        body: u64,
        expected: StatusCode,
    ) -> Result<Response, BackendError> {
        let response = self.send_any(action, request, body).await?;
        if response.status() == expected { Ok(response) } else { Err(self.refusal(action, response).await) }
    }

    /// Sends a request with a body, and accepts any status.
    pub(super) async fn send_any(
        &self,
        action: &'static str,
        request: RequestBuilder,
        body: u64,
    ) -> Result<Response, BackendError> {
        let after = self.deadlines.connect + self.deadlines.first_byte + self.deadlines.transfer(body);
        match timeout(after, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.transport(action, error)),
            Err(_) => Err(BackendError::TimedOut { waited_for: "answer", after }),
        }
    }

    /// Sends a body that is made while it is sent: the portal must accept each piece of it in time, and then answer.
    pub(super) async fn send_streamed(
        &self,
        action: &'static str,
        request: RequestBuilder,
        progress: &Progress,
        expected: StatusCode,
    ) -> Result<Response, BackendError> {
        let after = self.deadlines.connect + self.deadlines.first_byte + self.deadlines.transfer(UNIT);
        let mut sending = std::pin::pin!(request.send());
        let response = loop {
            tokio::select! {
                sent = &mut sending => break sent.map_err(|error| self.transport(action, error))?,
                () = tokio::time::sleep(after.min(PROGRESS_STEP)) => {
                    if progress.portal_waited_for().is_some_and(|waited| waited >= after) {
                        return Err(BackendError::TimedOut { waited_for: "progress of an upload", after });
                    }
                }
            }
        };
        if response.status() == expected { Ok(response) } else { Err(self.refusal(action, response).await) }
    }

    /// The whole of a short answer.
    pub(super) async fn short_body(
        &self,
        action: &'static str,
        mut response: Response,
        limit: u64,
    ) -> Result<Vec<u8>, BackendError> {
        let mut body = Vec::new();
        let after = self.deadlines.first_byte;
        let read = async {
            while let Some(piece) = response.chunk().await.map_err(|error| self.transport(action, error))? {
                body.extend_from_slice(&piece);
                if body.len() as u64 > limit {
                    return Err(self.error(action, Problem::TooLong(limit)).misbehaves());
                }
            }
            Ok(())
        };
        timeout(after, read).await.map_err(|_| BackendError::TimedOut { waited_for: "end of an answer", after })??;
        Ok(body)
    }

    /// The answer's bytes as they arrive: exactly `expected`, or an error.
    pub(super) fn stream(&self, action: &'static str, response: Response, expected: u64) -> ByteStream {
        let total = self.deadlines.first_byte + self.deadlines.transfer(expected);
        let reader = Reader { client: self.clone(), action, response, expected, found: 0, end: Instant::now() + total };
        stream::try_unfold(reader, Reader::next).boxed()
    }

    /// The meaning of an answer with an unexpected status.
    pub(super) async fn refusal(&self, action: &'static str, mut response: Response) -> BackendError {
        let status = response.status();
        let retry_after = retry_after(&response);
        let is_html = content_type(&response).is_some_and(|kind| kind.contains("html"));
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(piece)) = response.chunk().await {
                let room = (MAX_ERROR_BODY as usize).saturating_sub(body.len());
                body.extend_from_slice(&piece[..piece.len().min(room)]);
                if body.len() as u64 >= MAX_ERROR_BODY {
                    break;
                }
            }
        };
        // The bytes received by then must suffice.
        let _ = timeout(self.deadlines.idle, read).await;
        let message = String::from_utf8_lossy(&body);
        let refusal = Refusal { status, is_html, message: &message };
        let error = self.error(action, Problem::Status { status, message: sanitized(&message) });
        match refusal.meaning() {
            Meaning::Absent => BackendError::NotFound,
            Meaning::Later => error.unavailable(retry_after),
            Meaning::Never => error.refused(),
            Meaning::Full => BackendError::Full { cause: Box::new(error) },
        }
    }

    /// An error of this portal.
    pub(super) fn error(&self, action: &'static str, problem: Problem) -> PortalError {
        PortalError { portal: Arc::clone(&self.name), action, problem }
    }

    pub(super) fn transport(&self, action: &'static str, error: reqwest::Error) -> BackendError {
        // The error already names the address, and a query may have secrets.
        self.error(action, Problem::Transport(error.without_url())).unavailable(None)
    }
}

fn content_type(response: &Response) -> Option<&str> {
    response.headers().get(CONTENT_TYPE)?.to_str().ok()
}

/// In seconds; dates are not understood, since portals do not send them.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The side that is waited for while a body is sent. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Option<Instant>>>);

impl Progress {
    /// The portal is waited for from now on.
    pub(super) fn new() -> Self {
        Progress(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    /// The unchanged pieces. Records which side is waited for: the source during the next piece, else the portal.
    pub(super) fn watch<S>(&self, pieces: S) -> impl Stream<Item = S::Item> + Send + 'static
    where
        S: Stream + Send + 'static,
        S::Item: Send,
    {
        let state = (Box::pin(pieces), self.clone());
        stream::unfold(state, |(mut pieces, progress)| async move {
            progress.set(None);
            let piece = pieces.next().await;
            progress.set(Some(Instant::now()));
            piece.map(|piece| (piece, (pieces, progress)))
        })
    }

    fn set(&self, portal_since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = portal_since;
    }

    /// `None` while the source is waited for.
    fn portal_waited_for(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }
}

/// An answer being read.
struct Reader {
    client: Client,
    action: &'static str,
    response: Response,
    expected: u64,
    found: u64,
    end: Instant,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackendError> {
        loop {
            if self.found == self.expected {
                return Ok(None);
            }
            let after = self.client.deadlines.idle;
            let deadline = self.end.min(Instant::now() + after);
            let piece = match timeout_at(deadline, self.response.chunk()).await {
                Ok(piece) => piece.map_err(|error| self.client.transport(self.action, error))?,
                Err(_) => return Err(BackendError::TimedOut { waited_for: "piece of an answer", after }),
            };
            let Some(piece) = piece else {
                let problem = Problem::EndedEarly { expected: self.expected, found: self.found };
                return Err(self.client.error(self.action, problem).unavailable(None));
            };
            self.found += piece.len() as u64;
            if self.found > self.expected || piece.len() as u64 > UNIT {
                return Err(self.client.error(self.action, Problem::TooLong(self.expected)).misbehaves());
            }
            if !piece.is_empty() {
                return Ok(Some((piece, self)));
            }
        }
    }
}
