//! The server over TLS.

use http::Version;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls::{Certificate, Current};

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const NAME: &str = "registry.example";

/// A certificate for [`NAME`] by itself, and a client's view of it.
fn made() -> (Certificate, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let pair = Certificate::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (pair, certificate.der().clone())
}

struct Secured {
    server: TestServer,
    current: Arc<Current>,
    trusted: CertificateDer<'static>,
}

impl Secured {
    async fn start(limits: Limits) -> Self {
        let (certificate, trusted) = made();
        let current = Current::new(certificate);
        let tls = Tls { strict_transport: Some("max-age=7".parse().unwrap()), ..Tls::new(Arc::clone(&current)) };
        Secured { server: start_with(limits, Some(tls)).await, current, trusted }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.offering(&["http/1.1"]).await.unwrap()
    }

    /// A connection whose client offers these protocols.
    async fn offering(&self, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = self.server.connect().await;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), socket).await
    }

    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }

    fn refused(&self, reason: &str) -> Option<String> {
        self.server.metric(&format!("skyberth_connections_refused_total{{reason=\"{reason}\"}}"))
    }

    async fn refused_becomes(&self, reason: &str) {
        let counted = async {
            while self.refused(reason).is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("nothing refused as {reason}"));
    }
}

#[tokio::test]
async fn both_protocols_are_offered_and_requests_know_their_scheme() {
    let secured = Secured::start(short_limits()).await;
    let answer = secured.exchange(&LAST.to_vec().replacen("/ ", "/scheme ")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("https"), "{answer}");
    assert!(answer.contains("\r\nstrict-transport-security: max-age=7\r\n"), "{answer}");
    let stream = secured.offering(&["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://registry.example/scheme").body(http_body_util::Empty::<Bytes>::new());
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "https");
    drop(client);
    let _ = connection.await;
    let plain = start(short_limits()).await;
    let answer = plain.exchange(&LAST.to_vec().replacen("/ ", "/scheme ")).await;
    assert!(answer.ends_with("http") && !answer.contains("strict-transport"), "{answer}");
}

/// Replaces the first occurrence of a text.
trait Replace {
    fn replacen(&self, from: &str, to: &str) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn replacen(&self, from: &str, to: &str) -> Vec<u8> {
        String::from_utf8(self.clone()).unwrap().replacen(from, to, 1).into_bytes()
    }
}

#[tokio::test]
async fn plain_http_is_told_to_use_tls() {
    let secured = Secured::start(short_limits()).await;
    let answer = secured.server.exchange(&[HELLO, &[b'x'; 5000]].concat()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())) && body.contains("https"),
        "{head} {body}"
    );
    assert_eq!(secured.refused("plain").as_deref(), Some("1"));
}

#[tokio::test]
async fn no_shared_protocol_or_no_handshake_is_refused_at_once() {
    let secured = Secured::start(Limits { header_timeout: PATIENCE, ..short_limits() }).await;
    assert!(secured.offering(&["acme-tls/1"]).await.is_err());
    secured.refused_becomes("handshake").await;
    let mut garbage = secured.server.connect().await;
    garbage.write_all(&[0x16, 3, 1, 0, 9, 1, 0, 0, 5, 0, 0, 0, 0, 0]).await.unwrap();
    assert!(time_to_close(&mut garbage).await < PATIENCE / 2);
    secured.server.connections_become(0).await;
    assert_eq!(secured.refused("handshake").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_handshake_that_stops_is_closed_in_time() {
    let secured = Secured::start(short_limits()).await;
    // Nothing, a part of a ClientHello record, and a whole handshake without a request.
    let mut silent = [secured.server.connect().await, secured.server.connect().await];
    silent[1].write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
    let mut greeted = secured.connect().await;
    for stream in &mut silent {
        assert!(time_to_close(stream).await < PATIENCE);
    }
    assert!(time_to_close(&mut greeted).await < PATIENCE);
    secured.server.connections_become(0).await;
    assert_eq!(secured.refused("silent").as_deref(), Some("3"));
}

/// The checks of a head look at the bytes of a connection, which TLS encrypts.
#[tokio::test]
async fn heads_are_checked_as_on_a_plain_port() {
    let secured = Secured::start(short_limits()).await;
    for head in [
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "\u{16}\u{3}\u{1}GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = secured.exchange(format!("{head}{}", "x".repeat(50)).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
    }
    let bare = ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\n\r\n"].concat();
    let answer = secured.exchange(bare.as_bytes()).await;
    let (first, second) = answer.split_once("hello").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 ") && second.starts_with("HTTP/1.1 400 "), "{answer}");
    let many = secured.exchange(&[HELLO.repeat(200), LAST.to_vec()].concat()).await;
    assert_eq!(answers(&many), 201);
    let mut slow = secured.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(time_to_close(&mut slow).await < PATIENCE);
}

/// What TLS has encrypted and the kernel does not take was flushed without a limit of time.
#[tokio::test]
async fn a_peer_that_reads_nothing_is_cut() {
    let secured = Secured::start(short_limits()).await;
    let mut stream = secured.connect().await;
    stream.write_all(&HELLO.to_vec().replacen("/ ", "/big ")).await.unwrap();
    secured.server.connections_become(1).await;
    secured.server.connections_become(0).await;
    assert_eq!(secured.refused("stalled").as_deref(), Some("1"));
    let mut answer = Vec::new();
    let cut = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(cut.is_err() && answer.len() < BIG, "a cut is no clean end");
}

#[tokio::test]
async fn large_bodies_pass_whole_in_both_directions() {
    let secured = Secured::start(Limits { write_stall_timeout: PATIENCE, ..short_limits() }).await;
    let answer = {
        let mut stream = secured.connect().await;
        stream.write_all(&LAST.to_vec().replacen("/ ", "/big ")).await.unwrap();
        let mut answer = vec![0; 1 << 16];
        let read = stream.read(&mut answer).await.unwrap();
        answer.truncate(read);
        // The end of the server, meanwhile, cuts nothing.
        secured.server.shutdown.cancel();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().expect("a clean end");
        answer
    };
    assert!(answer.len() > BIG, "{} bytes", answer.len());
    let secured = Secured::start(short_limits()).await;
    let (mut read, mut write) = tokio::io::split(secured.connect().await);
    let body = vec![9; 3 << 20];
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let sending = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&body).await.unwrap();
        write.flush().await.unwrap();
        write
    });
    let mut answer = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut answer)).await.unwrap().expect("a clean end");
    drop(sending.await.unwrap());
    assert!(answer.ends_with(&vec![9; 3 << 20]));
}

/// Clients that close without a TLS alert would have lost a push that was sent whole.
#[tokio::test]
async fn a_peer_that_leaves_without_an_alert_is_served_as_on_a_plain_port() {
    let secured = Secured::start(short_limits()).await;
    let mut stream = secured.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    stream.get_mut().0.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_cuts_no_other() {
    let mut secured = Secured::start(Limits { keep_alive_timeout: PATIENCE, ..short_limits() }).await;
    let mut old = secured.connect().await;
    old.write_all(HELLO).await.unwrap();
    read_until(&mut old, "hello").await;
    let (certificate, trusted) = made();
    secured.current.replace(certificate);
    old.write_all(HELLO).await.unwrap();
    read_until(&mut old, "hello").await;
    assert!(secured.offering(&["http/1.1"]).await.is_err(), "the old certificate is still shown");
    secured.trusted = trusted;
    assert!(secured.exchange(LAST).await.ends_with("hello"));
    old.write_all(HELLO).await.unwrap();
    read_until(&mut old, "hello").await;
}
