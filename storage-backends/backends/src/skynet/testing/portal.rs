//! A portal on a port of the loopback: raw and TUS uploads, reads with ranges, pinning, statistics.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{StreamExt as _, stream};
use skynet_formats::GATEWAY_HEADER;
use skynet_formats::identity::{IdentityKey, SEED_LENGTH, parse_nonce};
use skynet_formats::profile::Profile;
use skynet_formats::skylink::Skylink;
use tokio::task::JoinHandle;

use super::store::Store;
use super::trouble::{Plan, Route, Trouble};
use crate::EndpointId;
use crate::skynet::config::{Access, PortalConfig};

/// A skylink of 100 KiB that is never uploaded here.
const OTHER_SKYLINK: &str = "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA";

/// A portal that lives as long as this.
#[derive(Debug)]
pub struct TestPortal {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    plan: Plan,
    profile: Profile,
    access: Access,
    identity: IdentityKey,
    requests: Mutex<Vec<String>>,
    /// Connections outlive the portal for a moment.
    gone: AtomicBool,
}

impl Drop for TestPortal {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::SeqCst);
        self.server.abort();
    }
}

impl TestPortal {
    /// An open portal.
    pub async fn start(profile: Profile) -> Self {
        TestPortal::start_with(profile, Access::Open).await
    }

    /// Opens a portal, or a bare skyd, that requires these credentials.
    pub async fn start_with(profile: Profile, access: Access) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut seed = [0; SEED_LENGTH];
        getrandom::fill(&mut seed).expect("the system has randomness once it has booted");
        let shared = Arc::new(Shared {
            store: Store::new(profile),
            plan: Plan::default(),
            profile,
            access,
            identity: IdentityKey::from_seed(&seed),
            requests: Mutex::default(),
            gone: AtomicBool::new(false),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        TestPortal { address, shared, server }
    }

    /// The configuration of a client for it.
    pub fn config(&self) -> PortalConfig {
        let url = format!("http://{}", self.address).parse().expect("an address makes a URL");
        PortalConfig::new(url, self.shared.access.clone())
    }

    /// Its name in locators.
    pub fn identity(&self) -> String {
        EndpointId::from_bytes(*self.shared.identity.public().as_bytes()).to_string()
    }

    /// Does wrong at the nth request of this kind from now on; 0 is the next one.
    pub fn at(&self, route: Route, nth: u64, trouble: Trouble) {
        self.shared.plan.at(route, nth, trouble);
    }

    /// Does wrong at every request of this kind.
    pub fn always(&self, route: Route, trouble: Trouble) {
        self.shared.plan.always(route, trouble);
    }

    /// Does right again.
    pub fn clear(&self) {
        self.shared.plan.clear();
    }

    /// How many requests of this kind there have been.
    pub fn calls(&self, route: Route) -> u64 {
        self.shared.plan.calls(route)
    }

    /// Forgets all uploads that have not ended.
    pub fn lose_uploads(&self) {
        self.shared.store.lose_uploads();
    }

    /// Whether it has this skylink.
    pub fn has(&self, skylink: &str) -> bool {
        self.shared.store.find(skylink).is_some()
    }

    /// All requests so far, but those that ask who it is: method, path and query.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if shared.gone.load(Ordering::SeqCst) {
        return page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "gone");
    }
    if request.uri().path() != "/skynet/identity" {
        let line = format!("{} {}", request.method(), request.uri());
        shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
    if !shared.lets_in(request.headers()) {
        return page(StatusCode::UNAUTHORIZED, "text/html", "<html>who are you?</html>");
    }
    let path = request.uri().path().to_owned();
    let Some((route, name)) = shared.route(request.method(), &path) else {
        return page(StatusCode::NOT_FOUND, "text/html", "<html>no such page</html>");
    };
    let trouble = shared.plan.next(route);
    match trouble {
        Some(Trouble::Answer(status, kind, body)) => {
            drain(request).await;
            page(code(status), kind, body)
        }
        Some(Trouble::Busy(status, seconds)) => {
            drain(request).await;
            with(page(code(status), "text/plain", ""), "retry-after", seconds)
        }
        Some(Trouble::AnswerAfterwards(status)) => {
            shared.handle(route, name, trouble, request).await;
            page(code(status), "application/json", r#"{"message":"timed out"}"#)
        }
        Some(Trouble::Stall) => std::future::pending().await,
        Some(Trouble::Endless) => Response::new(Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096]))
        }))),
        Some(Trouble::Gateway) => with(shared.handle(route, name, None, request).await, GATEWAY_HEADER, "read-only"),
        _ => shared.handle(route, name, trouble, request).await,
    }
}

/// An answer before the body is read would close the connection, and might be lost with it.
async fn drain(request: Request) {
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

impl Shared {
    fn is_bare(&self) -> bool {
        matches!(self.access, Access::Skyd(_))
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let agent = !self.is_bare() || text(headers, "user-agent").contains("Sia-Agent");
        agent && self.access.header().is_none_or(|(name, value)| headers.get(name) == Some(&value))
    }

    fn route(&self, method: &Method, path: &str) -> Option<(Route, String)> {
        let below = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
        let read = |skylink: String| match *method {
            Method::HEAD => Some((Route::Head, skylink)),
            Method::GET => Some((Route::Get, skylink)),
            _ => None,
        };
        match (method.as_str(), path) {
            ("GET", "/skynet/stats") => Some((Route::Stats, String::new())),
            ("GET", "/skynet/identity") if !self.is_bare() => Some((Route::Identity, String::new())),
            ("GET", _) if path.starts_with("/skynet/health/skylink/") && !self.is_bare() => {
                Some((Route::Health, below("/skynet/health/skylink/")?))
            }
            ("POST", "/skynet/tus") => Some((Route::TusCreate, String::new())),
            ("HEAD", _) if path.starts_with("/skynet/tus/") => Some((Route::TusHead, below("/skynet/tus/")?)),
            ("PATCH", _) => Some((Route::TusPatch, below("/skynet/tus/")?)),
            ("POST", _) if path.starts_with("/skynet/pin/") => Some((Route::Pin, below("/skynet/pin/")?)),
            ("POST", _) if path.starts_with("/skynet/unpin/") => Some((Route::Unpin, below("/skynet/unpin/")?)),
            ("POST", _) => Some((Route::Upload, below("/skynet/skyfile")?)),
            ("GET", _) if path.starts_with("/skynet/basesector/") => {
                Some((Route::BaseSector, below("/skynet/basesector/")?))
            }
            _ if self.is_bare() => read(below("/skynet/skylink/")?),
            _ => read(below("/")?.parse::<Skylink>().ok()?.to_string()),
        }
    }

    async fn handle(&self, route: Route, name: String, trouble: Option<Trouble>, request: Request) -> Response {
        match route {
            Route::Stats => page(StatusCode::OK, "application/json", &format!(r#"{{"profile":"{}"}}"#, self.profile)),
            Route::Identity => self.prove(request.uri().query().unwrap_or_default(), trouble),
            Route::Upload => self.upload(&name, trouble, request).await,
            Route::TusCreate => self.create(request.headers()),
            Route::TusHead => self.upload_state(&name, trouble),
            Route::TusPatch => self.part(&name, trouble, request).await,
            Route::Head | Route::Get => self.read(&name, trouble, request.headers()),
            Route::BaseSector => self.base_sector(&name, trouble),
            Route::Health => self.health(&name, trouble),
            Route::Pin if self.store.pin(&name) => page(StatusCode::OK, "application/json", r#"{"siapath":""}"#),
            Route::Unpin if self.store.unpin(&name) => page(StatusCode::NO_CONTENT, "text/plain", ""),
            Route::Pin | Route::Unpin => message(StatusCode::NOT_FOUND, "skylink not found"),
        }
    }

    fn health(&self, skylink: &str, trouble: Option<Trouble>) -> Response {
        let Some(pinned) = self.store.is_pinned(skylink) else {
            return message(StatusCode::NOT_FOUND, "failed to get skylink health: root not found");
        };
        let part = u8::from(!matches!(trouble, Some(Trouble::LostUnit)));
        let health = format!(r#"{{"basesectorredundancy":1,"fanoutredundancy":[1,{part}],"pinned":{pinned}}}"#);
        page(StatusCode::OK, "application/json", &health)
    }

    fn prove(&self, query: &str, trouble: Option<Trouble>) -> Response {
        let Some(mut nonce) = query.strip_prefix("nonce=").and_then(parse_nonce) else {
            return message(StatusCode::BAD_REQUEST, "no nonce");
        };
        if matches!(trouble, Some(Trouble::OldProof)) {
            nonce[0] ^= 1;
        }
        let proof = serde_json::to_string(&self.identity.prove(&nonce)).expect("it is plain JSON");
        page(StatusCode::OK, "application/json", &proof)
    }

    async fn upload(&self, path: &str, trouble: Option<Trouble>, request: Request) -> Response {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            return message(StatusCode::BAD_REQUEST, "no content type");
        }
        if self.is_bare() && (path.len() < 2 || !self.store.take_path(path)) {
            return message(StatusCode::BAD_REQUEST, "a siapath that is new is needed");
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let Some(name) = query.strip_prefix("filename=").filter(|name| !name.contains('&')) else {
            return message(StatusCode::BAD_REQUEST, "no filename provided");
        };
        let Ok(bytes) = axum::body::to_bytes(request.into_body(), 8 << 20).await else {
            return message(StatusCode::BAD_REQUEST, "the body broke off");
        };
        let metadata = format!(r#"{{"filename":"{name}","length":{}}}"#, bytes.len());
        match self.store.add(metadata.as_bytes(), bytes) {
            Ok(skylink) => {
                let skylink = told(trouble, skylink);
                page(StatusCode::OK, "application/json", &format!(r#"{{"skylink":"{skylink}","bitfield":0}}"#))
            }
            Err(error) => message(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    fn create(&self, headers: &HeaderMap) -> Response {
        let Ok(length) = text(headers, "upload-length").parse() else {
            return message(StatusCode::BAD_REQUEST, "no upload length");
        };
        if self.is_bare() && text(headers, "skynetmaxuploadsize").is_empty() {
            return message(StatusCode::BAD_REQUEST, "no SkynetMaxUploadSize");
        }
        let fields = text(headers, "upload-metadata").split(',').filter_map(|field| field.split_once(' '));
        let metadata = fields
            .filter(|(name, _)| *name == "skyfilemetadata")
            .find_map(|(_, value)| BASE64.decode(value.as_bytes()).ok());
        let Some(metadata) = metadata else { return message(StatusCode::BAD_REQUEST, "no metadata") };
        let id = self.store.begin(length, metadata);
        // Portals that stand behind others tell addresses that do not work from outside.
        with(page(StatusCode::CREATED, "text/plain", ""), "location", &format!("http://10.0.0.1:1/skynet/tus/{id}"))
    }

    fn upload_state(&self, id: &str, trouble: Option<Trouble>) -> Response {
        let Some(upload) = self.store.with_upload(id, |upload| upload.clone()) else {
            return page(StatusCode::NOT_FOUND, "text/plain", "");
        };
        if upload.locked {
            return page(StatusCode::LOCKED, "text/plain", "");
        }
        let mut response = page(StatusCode::OK, "text/plain", "");
        response = with(response, "upload-offset", &upload.bytes.len().to_string());
        response = with(response, "upload-length", &upload.length.to_string());
        let Some(skylink) = upload.skylink else { return response };
        let skylink = told(trouble, skylink);
        match self.is_bare() {
            true => with(response, "upload-metadata", &format!("a YQ==,Skylink {}", BASE64.encode(skylink.as_bytes()))),
            false => with(response, "skynet-skylink", &skylink),
        }
    }

    async fn part(&self, id: &str, trouble: Option<Trouble>, request: Request) -> Response {
        let offset: Option<u64> = text(request.headers(), "upload-offset").parse().ok();
        let started = self.store.with_upload(id, |upload| {
            let free = !upload.locked && Some(upload.bytes.len() as u64) == offset;
            upload.locked |= free;
            free
        });
        match started {
            None => return message(StatusCode::NOT_FOUND, "no such upload"),
            Some(false) => return message(StatusCode::CONFLICT, "another offset, or locked"),
            Some(true) => {}
        }
        match trouble {
            Some(Trouble::TakeNothing) => {
                self.store.end_part(id);
                drain(request).await;
                let kept = offset.unwrap_or_default().to_string();
                return with(page(StatusCode::NO_CONTENT, "text/plain", ""), "upload-offset", &kept);
            }
            Some(Trouble::Forget) => {
                self.store.lose_uploads();
                drain(request).await;
                return message(StatusCode::INTERNAL_SERVER_ERROR, "can't grow number of chunks of deleted file");
            }
            _ => {}
        }
        // It ends too if this future is dropped because the client is gone.
        let guard = PartGuard { store: &self.store, id };
        let mut left = match trouble {
            Some(Trouble::TakeOnly(bytes)) => bytes as usize,
            _ => usize::MAX,
        };
        let mut body = request.into_body().into_data_stream();
        while let Some(Ok(bytes)) = body.next().await {
            let taken = bytes.len().min(left);
            left -= taken;
            self.store.with_upload(id, |upload| upload.bytes.extend_from_slice(&bytes[..taken]));
            if left == 0 {
                drop(guard);
                return message(StatusCode::INTERNAL_SERVER_ERROR, "upload timed out");
            }
        }
        drop(guard);
        let reached = self.store.with_upload(id, |upload| upload.bytes.len()).unwrap_or_default();
        with(page(StatusCode::NO_CONTENT, "text/plain", ""), "upload-offset", &reached.to_string())
    }

    fn base_sector(&self, skylink: &str, trouble: Option<Trouble>) -> Response {
        let Some(mut sector) = self.store.base_sector(skylink) else {
            return message(StatusCode::NOT_FOUND, "failed to fetch base sector: root not found");
        };
        if let Some(Trouble::WrongByte(at)) = trouble {
            sector[at as usize] ^= 1;
        }
        Response::new(body(sector.into(), trouble))
    }

    fn read(&self, skylink: &str, trouble: Option<Trouble>, headers: &HeaderMap) -> Response {
        let Some(bytes) = self.store.find(skylink) else {
            return message(StatusCode::NOT_FOUND, "failed to fetch skylink: root not found");
        };
        let bytes = match trouble {
            Some(Trouble::WrongByte(at)) if at < bytes.len() as u64 => {
                let mut changed = bytes.to_vec();
                changed[at as usize] ^= 1;
                Bytes::from(changed)
            }
            _ => bytes,
        };
        let range = range(text(headers, "range")).filter(|_| !matches!(trouble, Some(Trouble::IgnoreRange)));
        let (first, end) = range.map_or((0, bytes.len()), |(first, last)| (first, (last + 1).min(bytes.len())));
        if first > end {
            return message(StatusCode::RANGE_NOT_SATISFIABLE, "no such range");
        }
        let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut response = Response::new(body(bytes.slice(first..end), trouble));
        *response.status_mut() = status;
        response = with(response, "content-length", &(end - first).to_string());
        if range.is_some() {
            response = with(response, "content-range", &format!("bytes {first}-{}/{}", end - 1, bytes.len()));
        }
        response
    }
}

struct PartGuard<'a> {
    store: &'a Store,
    id: &'a str,
}

impl Drop for PartGuard<'_> {
    fn drop(&mut self) {
        self.store.end_part(self.id);
    }
}

fn told(trouble: Option<Trouble>, skylink: String) -> String {
    if matches!(trouble, Some(Trouble::WrongSkylink)) { OTHER_SKYLINK.to_owned() } else { skylink }
}

fn body(bytes: Bytes, trouble: Option<Trouble>) -> Body {
    let begin = |length: u64| {
        let begin = bytes.slice(..bytes.len().min(length as usize));
        stream::once(async move { Ok::<_, std::io::Error>(begin) })
    };
    match trouble {
        Some(Trouble::BreakAfter(length)) => {
            let end = async {
                // Lets the bytes already given go out before the connection breaks.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                Err(std::io::Error::other("broken"))
            };
            Body::from_stream(begin(length).chain(stream::once(end)))
        }
        Some(Trouble::StallAfter(length)) => Body::from_stream(begin(length).chain(stream::pending())),
        _ => Body::from(bytes),
    }
}

/// `bytes=first-last`
fn range(header: &str) -> Option<(usize, usize)> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("tests name statuses that exist")
}

fn page(status: StatusCode, kind: &str, body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    with(response, "content-type", kind)
}

fn message(status: StatusCode, text: &str) -> Response {
    page(status, "application/json", &format!(r#"{{"message":"{text}"}}"#))
}

fn with(mut response: Response, name: &'static str, value: &str) -> Response {
    response.headers_mut().insert(name, value.parse().expect("it can stand in a header"));
    response
}
