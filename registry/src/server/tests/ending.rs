//! The number of connections, the end of the server.

use super::*;

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn beyond_the_cap_requests_wait_until_a_connection_closes() {
    let limits =
        Limits { max_connections: 2, permit_patience: PATIENCE, keep_alive_timeout: PATIENCE, ..short_limits() };
    let server = start(limits).await;
    let mut first = server.connect_from(2).await;
    let mut second = server.connect_from(3).await;
    for stream in [&mut first, &mut second] {
        stream.write_all(HELLO).await.unwrap();
        read_until(stream, "hello").await;
    }
    let mut third = server.connect().await;
    third.write_all(HELLO).await.unwrap();
    let early = timeout(Duration::from_millis(200), third.read_u8()).await;
    assert!(early.is_err(), "answered beyond the cap");
    drop(first);
    for _ in 0..2 {
        read_until(&mut third, "hello").await;
        third.write_all(HELLO).await.unwrap();
    }
}

/// With all connections in use, a health check had no answer, and the node was killed.
#[tokio::test]
async fn beyond_the_cap_a_health_check_is_answered() {
    let server = start(Limits { max_connections: 2, keep_alive_timeout: PATIENCE, ..short_limits() }).await;
    let mut all = [server.connect_from(2).await, server.connect_from(3).await];
    for stream in &mut all {
        stream.write_all(HELLO).await.unwrap();
        read_until(stream, "hello").await;
    }
    let check = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..20 {
        let answer = server.exchange(check).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    let answer = server.exchange(HELLO).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("UNAVAILABLE"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    let mut greedy = server.connect_from(2).await;
    greedy.write_all(HELLO).await.unwrap();
    let answer = read_to_end(&mut greedy).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("TOOMANYREQUESTS"), "{answer}");
}

#[tokio::test]
async fn shutdown_lets_a_running_response_finish_and_ends_the_idle() {
    let server = start(short_limits()).await;
    let mut idle = server.connect().await;
    idle.write_all(HELLO).await.unwrap();
    read_until(&mut idle, "hello").await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.connections_become(2).await;
    sleep(Duration::from_millis(50)).await;

    server.shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    server.connections_become(1).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "still accepting");
    assert!(!server.running.is_finished());
    server.go.notify_one();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"), "{answer}");
    timeout(PATIENCE, server.running).await.expect("run returns").unwrap();
    assert_eq!(server.metrics.connections_open.get(), 0);
}

#[tokio::test]
async fn shutdown_lets_a_running_download_finish_whole() {
    let server = start(Limits { write_stall_timeout: PATIENCE, ..short_limits() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 1 << 16];
    let mut count = stream.read(&mut answer).await.unwrap();
    server.shutdown.cancel();
    loop {
        let read = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
        if read == 0 {
            break;
        }
        count += read;
    }
    assert!(count > BIG, "{count} bytes came");
    timeout(PATIENCE, server.running).await.expect("run returns").unwrap();
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_is_cut() {
    let server = start(Limits { shutdown_grace: Duration::from_millis(300), ..short_limits() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.connections_become(1).await;
    let begin = Instant::now();
    server.shutdown.cancel();
    timeout(PATIENCE, server.running).await.expect("run returns").unwrap();
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(300) && waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!(read_to_end(&mut stream).await, "");
    assert_eq!(server.metrics.connections_open.get(), 0);
}

#[tokio::test]
async fn dropping_the_server_leaves_no_connection_behind() {
    let server = start(short_limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.connections_become(1).await;
    server.running.abort();
    assert_eq!(read_to_end(&mut stream).await, "");
    assert_eq!(server.metrics.connections_open.get(), 0);
}
