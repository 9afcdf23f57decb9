//! Requests whose end two servers could see in different places: never a further request on that connection.

use super::*;

/// What an attacker hides behind the end of another request.
const HIDDEN: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn answer_to(server: &TestServer, headers: &str, body: &str) -> String {
    server.exchange(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}{HIDDEN}").as_bytes()).await
}

#[tokio::test]
async fn a_hidden_request_is_answered_where_nothing_is_wrong() {
    // The control of this file: the same bytes with one clear length are two requests.
    let server = start(short_limits()).await;
    let answer = answer_to(&server, "Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n").await;
    assert_eq!(answers(&answer), 2, "{answer}");
    // It is refused only because its line ends were not checked.
    assert!(answer.contains("okHTTP/1.1 400 ") && answer.contains("behind a body"), "{answer}");
}

#[tokio::test]
async fn two_kinds_of_length_end_the_connection_after_the_answer() {
    let server = start(short_limits()).await;
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "transfer-encoding: Chunked\r\ncontent-length: 12\r\n",
    ] {
        let answer = answer_to(&server, headers, "2\r\nok\r\n0\r\n\r\n").await;
        assert_eq!(answers(&answer), 1, "{headers} {answer}");
        let taken = answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok");
        assert!(taken || answer.starts_with("HTTP/1.1 400 "), "{headers} {answer}");
    }
}

#[tokio::test]
async fn lengths_that_cannot_be_trusted_are_refused() {
    let server = start(short_limits()).await;
    for (headers, status) in [
        ("Content-Length: 4\r\nContent-Length: 5\r\n", "400"),
        ("Content-Length: +4\r\n", "400"),
        ("Content-Length: -1\r\n", "400"),
        ("Content-Length: 4, 4\r\n", "400"),
        ("Content-Length: 99999999999999999999\r\n", "4"),
        ("Content-Length : 4\r\n", "400"),
        ("Transfer-Encoding : chunked\r\n", "400"),
        ("Transfer-Encoding: xchunked\r\n", "400"),
        ("Transfer-Encoding: chunked, identity\r\n", "400"),
        ("Transfer-Encoding: gzip, chunked\r\n", "501"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "501"),
    ] {
        let answer = answer_to(&server, headers, "2\r\nok\r\n0\r\n\r\n").await;
        assert_eq!(answers(&answer), 1, "{headers} {answer}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers} {answer}");
    }
}

#[tokio::test]
async fn bad_chunks_are_refused_and_end_the_connection() {
    let server = start(short_limits()).await;
    for body in [
        "zz\r\nok\r\n0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "\r\nok\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nok\r\n0\r\n\r\n",
        "10000000000000002\r\nok\r\n0\r\n\r\n",
        "2\r\nokay\r\n0\r\n\r\n",
        "2\nok\n0\n\n",
        "2\r\nokXX0\r\n\r\n",
    ] {
        let answer = answer_to(&server, "Transfer-Encoding: chunked\r\n", body).await;
        assert!(answers(&answer) <= 1 && !answer.contains("hello"), "{body:?} {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{body:?} {answer}");
    }
}

#[tokio::test]
async fn http_1_0_with_a_transfer_encoding_is_refused() {
    let server = start(short_limits()).await;
    let request = format!("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    let answer = server.exchange(request.as_bytes()).await;
    assert!(answer.contains(" 400 ") && !answer.contains("hello"), "{answer}");
}
