//! The PROXY protocol, versions 1 and 2: a header before everything else, in which a proxy that passes TCP on names its
//! client (haproxy.org/download/2.9/doc/proxy-protocol.txt).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The first bytes of version 2. No header of version 1 is shorter.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// Most bytes behind the fixed part of version 2. They have the addresses, and then what is skipped: names, ids,
/// certificates of clients.
const LONGEST_REST: usize = 4 << 10;

/// The header is malformed, too long, or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid header of the PROXY protocol")]
pub(super) struct Invalid;

/// Reads the header, and no byte beyond it. Returns the client; `None` if the proxy speaks for itself, or does not
/// know.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Invalid> {
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await.map_err(|_| Invalid)?;
    if first == SIGNATURE { read_binary(stream).await } else { read_line(first, stream).await }
}

/// Version 1: a line of text, which must be read byte by byte, since nobody knows where it ends.
async fn read_line(first: [u8; 12], stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Invalid> {
    let mut line = Vec::with_capacity(LONGEST_LINE);
    line.extend_from_slice(&first);
    if !line.starts_with(b"PROXY ") {
        return Err(Invalid);
    }
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(Invalid);
        }
        line.push(stream.read_u8().await.map_err(|_| Invalid)?);
    }
    let text = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| Invalid)?;
    let mut words = text.split(' ');
    let family = words.nth(1).ok_or(Invalid)?;
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, source_port, destination_port] = words[..] else { return Err(Invalid) };
    let is_of_family =
        |address: &IpAddr| matches!((family, address), ("TCP4", IpAddr::V4(_)) | ("TCP6", IpAddr::V6(_)));
    let address = |text: &str| text.parse::<IpAddr>().ok().filter(is_of_family).ok_or(Invalid);
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text).ok_or(Invalid);
    let (source, _) = (address(source)?, address(destination)?);
    let (source_port, _) = (port(source_port)?, port(destination_port)?);
    Ok(Some(SocketAddr::new(source, source_port)))
}

/// Version 2, after its signature.
async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Invalid> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await.map_err(|_| Invalid)?;
    let [command, family, ..] = fixed;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > LONGEST_REST {
        return Err(Invalid);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await.map_err(|_| Invalid)?;
    match (command, family) {
        // TCP over IPv4, and over IPv6.
        (0x21, 0x11) => addresses(&rest, |bytes: [u8; 4]| Ipv4Addr::from(bytes).into()).map(Some),
        (0x21, 0x21) => addresses(&rest, |bytes: [u8; 16]| Ipv6Addr::from(bytes).into()).map(Some),
        // A health check of the proxy itself, or a client that it does not know.
        (0x20, _) | (0x21, 0x00) => Ok(None),
        _ => Err(Invalid),
    }
}

/// The source in a block of source, destination and both ports.
fn addresses<const N: usize>(block: &[u8], address: impl Fn([u8; N]) -> IpAddr) -> Result<SocketAddr, Invalid> {
    let (source, rest) = block.split_first_chunk::<N>().ok_or(Invalid)?;
    let (_, ports) = rest.split_first_chunk::<N>().ok_or(Invalid)?;
    let ([high, low, _, _], _) = ports.split_first_chunk::<4>().ok_or(Invalid)?;
    Ok(SocketAddr::new(address(*source), u16::from_be_bytes([*high, *low])))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    /// What is read, and the bytes that are left.
    fn read_all(sent: &[u8]) -> (Result<Option<SocketAddr>, Invalid>, &[u8]) {
        let mut left = sent;
        let read = read(&mut left).now_or_never().expect("memory never waits");
        (read, left)
    }

    fn client(sent: &[u8]) -> Result<Option<SocketAddr>, Invalid> {
        let with_more = [sent, b"\x16\x03\x01"].concat();
        let (found, left) = read_all(&with_more);
        if found.is_ok() {
            assert_eq!(left, b"\x16\x03\x01", "a byte beyond the header was read");
        }
        found
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    #[test]
    fn lines_of_version_one_name_the_client() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5678 443\r\n", Ok(Some("192.0.2.1:5678"))),
            ("PROXY TCP6 2001:db8::1 ::1 5678 443\r\n", Ok(Some("[2001:db8::1]:5678"))),
            ("PROXY UNKNOWN\r\n", Ok(None)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Ok(None)),
            ("PROXY TCP4 2001:db8::1 ::1 5678 443\r\n", Err(Invalid)),
            ("PROXY TCP6 192.0.2.1 10.0.0.1 5678 443\r\n", Err(Invalid)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5678\r\n", Err(Invalid)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n", Err(Invalid)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 +567 443\r\n", Err(Invalid)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 0567 443\r\n", Err(Invalid)),
            ("PROXY TCP4 192.0.2.1  10.0.0.1 567 443\r\n", Err(Invalid)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5678 443 \r\n", Err(Invalid)),
            ("PROXY UDP4 192.0.2.1 10.0.0.1 5678 443\r\n", Err(Invalid)),
            ("proxy TCP4 192.0.2.1 10.0.0.1 5678 443\r\n", Err(Invalid)),
            ("GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", Err(Invalid)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5678 443\n", Err(Invalid)),
            ("", Err(Invalid)),
        ] {
            let expected = expected.map(|text: Option<&str>| text.map(|text| text.parse().unwrap()));
            assert_eq!(client(line.as_bytes()), expected, "{line:?}");
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16));
        assert_eq!((longest.len(), client(longest.as_bytes())), (LONGEST_LINE, Ok(None)));
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 15));
        assert_eq!(client(longer.as_bytes()), Err(Invalid));
    }

    #[test]
    fn blocks_of_version_two_name_the_client() {
        let four = [&[192, 0, 2, 1, 10, 0, 0, 1][..], &5678_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat();
        let six = [&[0x20; 16][..], &[0; 16], &[0, 7, 0, 8]].concat();
        let with_more = [&four[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let of_four = Ok(Some("192.0.2.1:5678".parse().unwrap()));
        for (sent, expected) in [
            (binary(0x21, 0x11, &four), of_four),
            (binary(0x21, 0x11, &with_more), of_four),
            (binary(0x21, 0x21, &six), Ok(Some("[2020:2020:2020:2020:2020:2020:2020:2020]:7".parse().unwrap()))),
            (binary(0x20, 0x00, &[]), Ok(None)),
            (binary(0x20, 0x11, &four), Ok(None)),
            (binary(0x21, 0x00, &[]), Ok(None)),
            (binary(0x21, 0x11, &four[..11]), Err(Invalid)),
            (binary(0x21, 0x21, &four), Err(Invalid)),
            (binary(0x21, 0x12, &four), Err(Invalid)),
            (binary(0x21, 0x31, &[0; 216]), Err(Invalid)),
            (binary(0x11, 0x11, &four), Err(Invalid)),
            (binary(0x22, 0x11, &four), Err(Invalid)),
            (binary(0x20, 0x00, &vec![0; LONGEST_REST]), Ok(None)),
            (binary(0x20, 0x00, &vec![0; LONGEST_REST + 1]), Err(Invalid)),
        ] {
            assert_eq!(client(&sent), expected, "{:?}", &sent[..sent.len().min(40)]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_more_is_read_than_a_header_has(
            begin in prop::sample::select(vec![&b""[..], b"PROXY TCP4 ", b"PROXY UNKNOWN", &SIGNATURE]),
            rest in prop::collection::vec(any::<u8>(), 0..5000),
        ) {
            let sent = [begin, &rest].concat();
            let (found, left) = read_all(&sent);
            prop_assert!(sent.len() - left.len() <= SIGNATURE.len() + 4 + LONGEST_REST);
            if let Ok(Some(_)) = found {
                prop_assert!(sent.starts_with(b"PROXY TCP") || sent.starts_with(&SIGNATURE));
            }
        }

        #[test]
        fn each_address_is_read_as_it_was_written(source: SocketAddr, port: u16) {
            let line = match source {
                SocketAddr::V4(address) => format!("PROXY TCP4 {} 10.0.0.1 {} {port}\r\n", address.ip(), address.port()),
                SocketAddr::V6(address) => format!("PROXY TCP6 {} ::1 {} {port}\r\n", address.ip(), address.port()),
            };
            let found = client(line.as_bytes()).unwrap().unwrap();
            prop_assert_eq!((found.ip(), found.port()), (source.ip(), source.port()));
        }
    }
}
