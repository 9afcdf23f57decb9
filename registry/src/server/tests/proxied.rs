//! Connections of proxies that name their clients by the PROXY protocol. The proxy is 127.0.0.2.

use super::*;

const LAST: &[u8] = b"GET /peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const PROXY: u8 = 2;

async fn start_proxied(limits: Limits) -> TestServer {
    let server = config::Server { trusted_proxies: vec!["127.0.0.2".parse().unwrap()], ..config::Server::default() };
    let config = config::Config { server, ..config::Config::default() };
    start_behind(limits, Entry { tls: None, proxy_protocol: true }, HeadLog::from(&config)).await
}

fn line(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 127.0.0.1 5678 443\r\n").into_bytes()
}

async fn exchange(server: &TestServer, from: u8, parts: &[&[u8]]) -> String {
    let mut stream = server.connect_from(from).await;
    stream.write_all(&parts.concat()).await.unwrap();
    read_to_end(&mut stream).await
}

/// Sends this and waits for the end, before which the server says nothing. Bytes that it did not read cause a reset.
async fn hangs_up(server: &TestServer, from: u8, parts: &[&[u8]]) {
    let mut stream = server.connect_from(from).await;
    stream.write_all(&parts.concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    assert_eq!(String::from_utf8_lossy(&answer), "");
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_and_nobody_else_does() {
    let server = start_proxied(short_limits()).await;
    let binary = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 8, 127, 0, 0, 1, 0, 7, 1, 187]].concat();
    for (header, client) in
        [(line("192.0.2.7"), "192.0.2.7:5678"), (binary, "192.0.2.8:7"), (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.2:")]
    {
        let answer = exchange(&server, PROXY, &[&header, LAST]).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(body.starts_with(client), "{answer}");
    }
    let itself = exchange(&server, 3, &[LAST]).await;
    assert!(itself.contains("127.0.0.3:"), "{itself}");
    let spoof = exchange(&server, 3, &[&line("192.0.2.7"), LAST]).await;
    assert!(spoof.starts_with("HTTP/1.1 400 ") && !spoof.contains("192.0.2.7"), "{spoof}");
}

#[tokio::test]
async fn a_proxy_that_names_nobody_is_not_served() {
    let server = start_proxied(short_limits()).await;
    hangs_up(&server, PROXY, &[LAST]).await;
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"proxy\"}"), Some("1".into()));
    let mut silent = server.connect_from(PROXY).await;
    silent.write_all(b"PROXY TCP4 ").await.unwrap();
    assert!(time_to_close(&mut silent).await < PATIENCE);
    // A check that the port is open is no fault.
    drop(server.connect_from(PROXY).await);
    server.connections_become(0).await;
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"proxy\"}"), Some("1".into()));
}

/// All clients behind the proxy would have had the share of one, or none.
#[tokio::test]
async fn shares_are_those_of_the_named_clients() {
    let server = start_proxied(Limits { max_connections: 4, keep_alive_timeout: PATIENCE, ..short_limits() }).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect_from(PROXY).await;
        stream.write_all(&[&line("192.0.2.7")[..], request].concat()).await.unwrap();
        read_until(&mut stream, "hello").await;
        held.push(stream);
    }
    hangs_up(&server, PROXY, &[&line("192.0.2.7"), request]).await;
    assert_eq!(server.metric("skyberth_connections_refused_total{reason=\"share\"}"), Some("1".into()));
    let other = exchange(&server, PROXY, &[&line("192.0.2.9"), LAST]).await;
    assert!(other.contains("192.0.2.9:"), "{other}");
    drop(held);
}
