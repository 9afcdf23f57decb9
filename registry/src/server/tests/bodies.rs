//! Bodies that stall, crawl, or are not wanted.

use super::*;

#[tokio::test]
async fn a_body_that_stops_is_given_up_and_one_that_crawls_is_not() {
    let server = start(short_limits()).await;
    let head = b"POST /idle HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";
    let mut stream = server.connect().await;
    stream.write_all(head).await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("\r\n\r\n3"), "{answer}");

    // 10 bytes in 10 steps of 150 ms: longer than every limit, yet never 300 ms without a byte.
    let mut stream = server.connect().await;
    stream.write_all(head).await.unwrap();
    for _ in 0..10 {
        sleep(Duration::from_millis(150)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n10"), "{answer}");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut() {
    let server = start(short_limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.connections_become(1).await;
    let begin = Instant::now();
    server.connections_become(0).await;
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(400) && waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"stalled\"}"), Some("1".into()));
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_cut() {
    let server = start(short_limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut memory, mut count) = (vec![0; 4 << 20], 0);
    loop {
        // Half the limit between reads of what the buffers hold, until the whole has taken four times the limit.
        if count < BIG / 2 {
            sleep(Duration::from_millis(300)).await;
        }
        let read = timeout(PATIENCE, stream.read(&mut memory)).await.unwrap().unwrap();
        if read == 0 {
            break;
        }
        count += read;
    }
    assert!(count > BIG, "{count} bytes came");
}

#[tokio::test]
async fn an_answer_ahead_of_a_large_body_is_not_lost_to_a_reset() {
    let server = start(short_limits()).await;
    let (mut read, mut write) = server.connect().await.into_split();
    let sending = tokio::spawn(async move {
        write.write_all(b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n").await?;
        for _ in 0..32 {
            write.write_all(&vec![1; 1 << 18]).await?;
        }
        Ok::<_, io::Error>(write)
    });
    // The client sends everything before it looks: the answer must still be there.
    let write = timeout(PATIENCE, sending).await.unwrap().unwrap().expect("the body is taken or dropped, not reset");
    let mut answer = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut answer)).await.unwrap().expect("no reset");
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    drop(write);
    server.connections_become(0).await;
}
