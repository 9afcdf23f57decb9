//! HTTP/2 with prior knowledge, spoken by hyper's own client.

use http::{Request, Version};
use http_body_util::{Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

type Client<B> = http2::SendRequest<B>;

async fn connect<B>(server: &TestServer) -> (Client<B>, JoinHandle<hyper::Result<()>>)
where
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    let io = TokioIo::new(server.connect().await);
    let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    (client, tokio::spawn(connection))
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://a{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn requests_are_served_and_bodies_come_back() {
    let server = start(short_limits()).await;
    let (mut client, _connection) = connect(&server).await;
    let response = client.send_request(get("/").map(|_| Full::default())).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    let sent = Bytes::from(vec![9; 3 << 20]);
    let request = Request::post("http://a/echo").body(Full::new(sent.clone())).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes() == sent);
}

/// A handler saw no host over HTTP/2, or the one of a header that contradicted the target.
#[tokio::test]
async fn the_host_is_that_of_the_target() {
    let server = start(short_limits()).await;
    let (mut client, _connection) = connect(&server).await;
    for (header, status) in [(None, 200), (Some("a"), 200), (Some("b"), 400)] {
        let mut request = get("/host");
        request.headers_mut().extend(header.map(|host| (http::header::HOST, host.parse().unwrap())));
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{header:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status != 200 || body == "a", "{body:?}");
    }
}

#[tokio::test]
async fn an_answer_that_has_no_content_has_no_length() {
    let server = start(short_limits()).await;
    let (mut client, _connection) = connect(&server).await;
    for (path, status) in [("/nothing", 204), ("/same", 304)] {
        for method in ["GET", "HEAD"] {
            let mut request = get(path);
            *request.method_mut() = method.parse().unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().get("content-length"), None, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn long_targets_and_large_headers_are_refused() {
    let server = start(short_limits()).await;
    let (mut client, _connection) = connect(&server).await;
    let response = client.send_request(get(&format!("/{}", "x".repeat(8192)))).await.unwrap();
    assert_eq!(response.status(), StatusCode::URI_TOO_LONG);
    let mut request = get("/");
    for _ in 0..68 {
        request.headers_mut().append("x", "y".repeat(1000).parse().unwrap());
    }
    // The client must not refuse by itself what the server announces as its limit.
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_client_that_takes_no_body_is_cut_though_it_reads_the_socket() {
    let server = start(short_limits()).await;
    let (mut client, connection) = connect(&server).await;
    let response = client.send_request(get("/big")).await.unwrap();
    let begin = Instant::now();
    server.connections_become(0).await;
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(400) && waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"stalled\"}"), Some("1".into()));
    assert!(response.into_body().collect().await.is_err(), "a cut is no clean end");
    drop((client, connection));
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let server = start(short_limits()).await;
    let (mut client, connection) = connect(&server).await;
    let response = client.send_request(get("/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let begin = Instant::now();
    // The client is kept, so it does not close by itself; h2 then reports the server's close as an error.
    let _ = timeout(PATIENCE, connection).await.unwrap().unwrap();
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(1500) && waited < Duration::from_secs(4), "{waited:?}");
    server.connections_become(0).await;
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"idle\"}"), Some("1".into()));
    assert!(client.send_request(get("/")).await.is_err());
}

#[tokio::test]
async fn a_handler_at_work_is_neither_idle_nor_stalled() {
    let server = start(short_limits()).await;
    let (mut client, _connection) = connect(&server).await;
    let waiting = tokio::spawn(async move { client.send_request(get("/slow")).await });
    sleep(Duration::from_millis(2500)).await;
    server.go.notify_one();
    let response = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "done");
}

#[tokio::test]
async fn shutdown_lets_a_running_stream_finish() {
    let server = start(short_limits()).await;
    let (mut client, connection) = connect(&server).await;
    let waiting = tokio::spawn(async move { client.send_request(get("/slow")).await });
    sleep(Duration::from_millis(100)).await;
    server.shutdown.cancel();
    sleep(Duration::from_millis(100)).await;
    server.go.notify_one();
    let response = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "done");
    timeout(PATIENCE, server.running).await.expect("run returns").unwrap();
    timeout(PATIENCE, connection).await.unwrap().unwrap().expect("a clean end");
}
