//! Targets for fuzzing: requests to a portal, through all that handles them.

use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Method, Request};
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::{SectorRoot, sector_root};
use skynet_formats::skylink::Skylink;
use tokio::runtime::{Builder, Runtime};

use super::dispatch::dispatch;
use super::download::is_active;
use crate::options::for_tests;
use crate::{Portal, PortalOptions, Sector, SectorSource, SourceFile, Stretch};

/// Longest answer that is read. The longest possible one is an archive of a sector of roots.
const MAX_ANSWER: usize = 4 << 20;

/// A line with path and query, lines of headers, an empty line, and a body.
struct Parts<'a> {
    first: &'a str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
        let mut lines = bytes[..end].split(|byte| *byte == b'\n');
        let first = std::str::from_utf8(lines.next()?).ok()?;
        let header = |line: &[u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
            Some((HeaderName::from_bytes(&line[..colon]).ok()?, value))
        };
        let headers = lines.take(64).filter_map(header).collect();
        Some(Parts { first, headers, body: &bytes[end + 2..] })
    }

    fn request(&self, method: Method, target: &str, body: Body) -> Option<Request<Body>> {
        let mut request = Request::builder().method(method).uri(target).body(body).ok()?;
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1234))));
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Some(request)
    }
}

/// A portal for the inputs of one thread.
struct Site {
    runtime: Runtime,
    portal: Arc<Portal>,
    /// The files of a portal that stores; removed at the end.
    directory: Option<PathBuf>,
}

impl Site {
    fn new(portal: impl FnOnce(PortalOptions) -> (Portal, Option<PathBuf>)) -> Self {
        let profile = "4KiB/1+4".parse::<Profile>().expect("a profile");
        let (portal, directory) = portal(PortalOptions { profile, ..for_tests() });
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Site { runtime, portal: Arc::new(portal), directory }
    }

    /// A portal that stores.
    fn storing() -> Self {
        Site::new(|options| {
            let name = format!("skyberth-fuzzing-{}-{:?}", std::process::id(), std::thread::current().id());
            let directory = std::env::temp_dir().join(name);
            (Portal::open(&directory, options).expect("a portal"), Some(directory))
        })
    }

    /// Status and body of the answer, which must be as long as it says, and no fault of ours.
    fn answer(&self, request: Request<Body>) -> (u16, Bytes) {
        let is_head = request.method() == Method::HEAD;
        let (head, body) = self.runtime.block_on(async {
            let (head, body) = dispatch(State(Arc::clone(&self.portal)), request).await.into_parts();
            (head, to_bytes(body, MAX_ANSWER).await)
        });
        let status = head.status.as_u16();
        let body = body.unwrap_or_default();
        // skyd also answers 500 for what is no skyfile. Our own faults name the request in the log.
        assert!(status != 500 || !String::from_utf8_lossy(&body).contains("(request "), "{body:?}");
        let stated = head.headers.get(CONTENT_LENGTH).map(|length| length.to_str().expect("digits").to_owned());
        assert!(is_head || stated.is_none_or(|stated| stated == body.len().to_string() || body.is_empty()));
        (status, body)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

thread_local! {
    static STORING: OnceCell<Site> = const { OnceCell::new() };
    static GIVEN: OnceCell<(Site, Arc<GivenSector>)> = const { OnceCell::new() };
}

fn storing<T>(work: impl FnOnce(&Site) -> T) -> T {
    STORING.with(|site| work(site.get_or_init(Site::storing)))
}

/// A GET, HEAD or OPTIONS.
pub(crate) fn request(bytes: &[u8]) {
    let Some(parts) = Parts::of(bytes) else { return };
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let Some(request) = parts.request(method, parts.first, Body::empty()) else { return };
        storing(|site| site.answer(request));
    }
}

/// An upload that stores nothing. However its bytes arrive, the skylink is the same.
pub(crate) fn multipart(bytes: &[u8]) {
    let Some(parts) = Parts::of(bytes) else { return };
    let target = format!("/skynet/skyfile?dryrun=true&{}", parts.first);
    let body = Bytes::copy_from_slice(parts.body);
    let pieces: Vec<_> = body.chunks(7).map(|piece| io::Result::Ok(body.slice_ref(piece))).collect();
    let bodies = [Body::from(body), Body::from_stream(stream::iter(pieces))];
    let answers = bodies.map(|body| {
        let request = parts.request(Method::POST, &target, body)?;
        Some(storing(|site| site.answer(request)))
    });
    let [Some((status, whole)), Some((same, in_pieces))] = answers else { return };
    assert_eq!(status, same);
    assert!(status != 200 || whole == in_pieces);
}

/// A base sector with its header.
pub(crate) fn restore(bytes: &[u8]) {
    post("/skynet/restore", bytes);
}

/// Registry entries: one, and a list.
pub(crate) fn entries(bytes: &[u8]) {
    post("/skynet/registry", bytes);
    post("/skynet/registrymulti", bytes);
}

fn post(target: &str, body: &[u8]) {
    let request = Parts { first: target, headers: Vec::new(), body };
    let made = request.request(Method::POST, target, Body::from(body.to_vec()));
    storing(|site| site.answer(made.expect("a valid target")));
}

/// What follows the skylink in a URL, headers, and the base sector.
pub(crate) fn download(bytes: &[u8]) {
    let Some(parts) = Parts::of(bytes) else { return };
    GIVEN.with(|given| {
        let (site, source) = given.get_or_init(|| {
            let source = Arc::new(GivenSector::default());
            let shared: Arc<dyn SectorSource> = Arc::<GivenSector>::clone(&source);
            (Site::new(|options| (Portal::gateway(shared, options), None)), source)
        });
        let Some(skylink) = source.set(parts.body) else { return };
        for method in [Method::GET, Method::HEAD] {
            let Some(request) = parts.request(method, &format!("/{skylink}{}", parts.first), Body::empty()) else {
                return;
            };
            site.answer(request);
        }
    });
}

/// A declared type. Whatever a browser could make of it, the list of passive types decides for each part.
pub(crate) fn media_type(bytes: &[u8]) {
    let declared = String::from_utf8_lossy(bytes);
    assert!(is_active(&format!("{declared},text/html")));
    assert!(is_active(&format!("text/html,{declared}")));
    if !is_active(&declared) {
        assert!(!is_active(&declared.to_ascii_uppercase()));
        assert!(!declared.split([',', ';']).next().is_some_and(|first| first.trim().is_empty()));
    }
}

/// One base sector. All sectors that its fanout names are zeros.
#[derive(Debug, Default)]
struct GivenSector(Mutex<(Option<SectorRoot>, Bytes)>);

fn size() -> SectorSize {
    SectorSize::new(4096).expect("the smallest size")
}

impl GivenSector {
    fn set(&self, bytes: &[u8]) -> Option<Skylink> {
        let bytes = &bytes[..bytes.len().min(size().bytes())];
        let root = sector_root(size(), bytes);
        let skylink = Skylink::v1(root, 0, size().bytes() as u64).ok()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Some(root), Bytes::copy_from_slice(bytes));
        Some(skylink)
    }
}

impl SectorSource for GivenSector {
    fn find(&self, base: &SectorRoot) -> io::Result<Option<Arc<dyn SourceFile>>> {
        let (root, bytes) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let file = GivenFile { root: *base, bytes };
        Ok((root == Some(*base)).then(|| Arc::new(file) as Arc<dyn SourceFile>))
    }

    fn find_data(&self, _root: &SectorRoot) -> io::Result<Option<Sector>> {
        Ok(None)
    }
}

#[derive(Debug)]
struct GivenFile {
    root: SectorRoot,
    bytes: Bytes,
}

impl SourceFile for GivenFile {
    fn open(&self, root: &SectorRoot) -> io::Result<Option<Sector>> {
        let bytes = if *root == self.root { self.bytes.clone() } else { Bytes::new() };
        Sector::made(size(), bytes, None).map(Some)
    }

    fn content(&self) -> Option<Stretch> {
        None
    }
}
