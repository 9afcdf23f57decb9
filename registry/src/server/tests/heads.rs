//! Heads that are invalid, slow or too large.

use super::*;
use crate::testing::TestLog;

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const MS_400: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_tls_handshake_is_answered_in_plain_http() {
    let server = start(short_limits()).await;
    // A ClientHello record of 512 bytes, and more behind it than is read to recognize it.
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(517, 0xab);
    let mut stream = server.connect().await;
    stream.write_all(&hello).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head} {body:?}");
    assert!(body.contains("plain HTTP"));
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"tls\"}"), Some("1".into()));
}

#[tokio::test]
async fn an_answer_that_has_no_content_has_no_length() {
    let server = start(short_limits()).await;
    for (path, status) in [("/nothing", 204), ("/same", 304)] {
        for method in ["GET", "HEAD"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = server.exchange(request.as_bytes()).await.to_lowercase();
            assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
            assert!(!answer.contains("content-length"), "{method}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_in_time() {
    let server = start(short_limits()).await;
    let waited = time_to_close(&mut server.connect().await).await;
    assert!(waited >= MS_400 && waited < PATIENCE, "{waited:?}");
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"silent\"}"), Some("1".into()));
}

#[tokio::test]
async fn a_head_in_single_bytes_is_closed_in_time() {
    let server = start(short_limits()).await;
    let (mut read, mut write) = server.connect().await.into_split();
    let writing = tokio::spawn(async move {
        while write.write_all(b"GET / HTTP/1.1\r\nX: ").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let begin = Instant::now();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, read.read_to_end(&mut answer)).await.expect("the server closes");
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    server.connections_become(0).await;
    writing.abort();
}

#[tokio::test]
async fn a_slow_second_head_has_no_more_time_than_the_first() {
    let server = start(short_limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(HELLO).await.unwrap();
    read_until(&mut stream, "hello").await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let waited = time_to_close(&mut stream).await;
    assert!(waited >= MS_400 && waited < PATIENCE, "{waited:?}");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_of_its_last_request() {
    let server = start(short_limits()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(HELLO).await.unwrap();
        read_until(&mut stream, "hello").await;
        sleep(MS_400 * 3 / 2).await;
    }
    let waited = time_to_close(&mut stream).await;
    assert!(waited >= MS_400 && waited < MS_400 * 8, "{waited:?}");
}

#[tokio::test]
async fn a_stalled_h2_preface_is_closed_in_time() {
    let server = start(short_limits()).await;
    // Half a preface; a whole one without the SETTINGS that must follow; SETTINGS without any request.
    let settings = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    for sent in [&settings[..10], &settings[..24], &settings] {
        let mut stream = server.connect().await;
        stream.write_all(sent).await.unwrap();
        let waited = time_to_close(&mut stream).await;
        assert!(waited >= MS_400 / 2 && waited < MS_400 * 3, "{waited:?} after {} bytes", sent.len());
    }
    server.connections_become(0).await;
}

fn assert_oci_error(answer: &str, status: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    assert!(head.to_lowercase().contains("connection: close"), "{head}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["errors"][0]["code"], "UNSUPPORTED");
}

#[tokio::test]
async fn a_long_target_is_answered_414_and_large_headers_431() {
    let server = start(short_limits()).await;
    let target = |length| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length));
    assert!(
        server.exchange(target(8191).replace("Host", "Connection: close\r\nHost").as_bytes()).await.contains("404")
    );
    assert_oci_error(&server.exchange(target(8192).as_bytes()).await, "414");
    let headers = |count| {
        let lines = format!("X: {}\r\n", "y".repeat(1000)).repeat(count);
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n")
    };
    assert!(server.exchange(headers(65).as_bytes()).await.ends_with("hello"));
    assert_oci_error(&server.exchange(headers(66).as_bytes()).await, "431");
}

#[tokio::test]
async fn heads_beyond_what_is_parsed_are_refused_without_a_body() {
    let server = start(short_limits()).await;
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    for head in [endless, many] {
        let answer = server.exchange(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

/// Two hosts, or none, were accepted, and a proxy and this server could have chosen different ones.
#[tokio::test]
async fn a_request_over_http11_has_one_host() {
    let server = start(short_limits()).await;
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n"] {
        let answer = server.exchange(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await;
        assert_oci_error(&answer, "400");
    }
    let old = server.exchange(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 400 "), "{old}");
    // A health check of an old balancer.
    assert!(server.exchange(b"GET / HTTP/1.0\r\n\r\n").await.ends_with("hello"));
}

/// The parser treated them as line ends, but a proxy in front might not.
#[tokio::test]
async fn a_bare_line_feed_in_a_head_is_refused() {
    let server = start(short_limits()).await;
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nX: b\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
    ] {
        let answer = server.exchange(format!("{head}{}", "x".repeat(50)).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
    }
    // A bare LF in a later head, after a body with all kinds of line ends.
    let mut stream = server.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\na\nb\r\nc\n\n").await.unwrap();
    read_until(&mut stream, "a\nb\r\nc\n\n").await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// A head that came before the answer to another one was not checked.
#[tokio::test]
async fn a_pipelined_head_is_checked_too() {
    let server = start(short_limits()).await;
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let clean = server.exchange(format!("{}{last}", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(300)).as_bytes()).await;
    assert_eq!((answers(&clean), clean.matches("hello").count()), (301, 301));
    let bare = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\n\r\n";
    let answer = server.exchange(format!("{bare}{last}").as_bytes()).await;
    let (first, second) = answer.split_once("hello").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 ") && second.starts_with("HTTP/1.1 400 "), "{answer}");
    // What comes behind a body can be told from it only by its parser.
    let behind = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET / HTTP/1.1\r\nHost: a\n\r\n";
    let answer = server.exchange(behind.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("okHTTP/1.1 400 "), "{answer}");
    // Both requests are answered if the second is sent after the first answer.
    let mut stream = server.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    read_until(&mut stream, "ok").await;
    stream.write_all(last.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut stream).await.ends_with("hello"));
}

/// A push whose head was too large left no trace of its 431.
#[tokio::test]
async fn a_refused_head_is_logged_and_counted() {
    let (log, server) = (TestLog::new(), start(short_limits()).await);
    let long = "x".repeat(9000);
    let heads = [
        (format!("PUT /{long}?secret HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "PUT"),
        (format!("PUT /a HTTP/1.1\r\n{}\r\n", format!("X: {long}\r\n").repeat(8)), 431, "PUT"),
        ("PUT /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(), 501, "PUT"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000)), 414, "-"),
        (format!("PUT /a HTTP/1.1\r\nX: {}", "y".repeat(200_000)), 431, "-"),
        ("PUT /\x01 HTTP/1.1\r\n\r\n".to_owned(), 400, "-"),
    ];
    for (head, status, method) in heads {
        let answer = server.exchange(head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        server.connections_become(0).await;
        let lines = log.take();
        let [line] = &lines[..] else { panic!("{status} {method}: {lines:?}") };
        assert_eq!((&line["method"], &line["status"], &line["route"]), (&method.into(), &status.into(), &"-".into()));
        assert_eq!((&line["message"], &line["client"]), (&"request".into(), &"127.0.0.1".into()));
        assert!(line["path"].as_str().unwrap().len() <= 256 + 3 && !line.to_string().contains("secret"), "{line}");
    }
    for (method, status, count) in [("PUT", 414, "1"), ("PUT", 431, "1"), ("PUT", 501, "1"), ("other", 400, "1")] {
        let series = format!(
            "skyberth_http_request_duration_seconds_count{{operation=\"none\",method=\"{method}\",status=\"{status}\"}}"
        );
        assert_eq!(server.metric(&series).as_deref(), Some(count), "{series}");
    }
}

#[tokio::test]
async fn a_refused_head_of_a_read_has_no_line_where_reads_have_none() {
    let (log, server) = (TestLog::new(), start(short_limits()).await);
    let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    assert!(server.exchange(head.as_bytes()).await.starts_with("HTTP/1.1 414 "));
    assert_eq!(log.take(), Vec::<serde_json::Value>::new());
}
