//! The PROXY protocol: a header before the first byte of a connection says whose it is. Versions 1
//! and 2, as HAProxy's `proxy-protocol.txt` has them.
//!
//! Where a header ends is found here, so that it may come in any pieces and nothing behind it is
//! touched; what a whole one says, and how one is written, is `proxy-header`'s.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};

/// Longest header of version 1, its line end included (2.1).
pub const V1_BYTES_MAX: usize = 107;
/// Longest address block of version 2: two paths of UNIX sockets (2.2).
const V2_ADDRESS_BYTES_MAX: usize = 216;
/// Most bytes of a version 2 header behind its addresses. What is said there (TLS, unique ids,
/// names) takes some hundred bytes, and is not looked at.
pub const V2_TLV_BYTES_MAX: usize = 2048;
/// Longest header that is read.
pub const HEADER_BYTES_MAX: usize = V2_FIXED_BYTES + V2_ADDRESS_BYTES_MAX + V2_TLV_BYTES_MAX;

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V1_END: &[u8] = b"\r\n";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length of the rest.
const V2_FIXED_BYTES: usize = 16;
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

/// A version that is spoken to backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// From where to where a connection goes, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// What it has connected to.
    pub destination: SocketAddr,
}

/// What the bytes of a connection begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No header.
    Absent,
    /// Perhaps one; more bytes will tell.
    More,
    /// One, of that many bytes. Without ends it says nothing of a TCP client: the proxy speaks for
    /// itself (`LOCAL`), does not know (`UNKNOWN`), or proxies datagrams or UNIX sockets.
    Complete(Option<Ends>, usize),
}

/// A header that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Longer than a header may be.
    #[error("the PROXY header is longer than {0} bytes")]
    TooLong(usize),
    /// Of a version or with a command that does not exist.
    #[error("the PROXY header has version and command {0:#04x}")]
    Command(u8),
    /// Anything else.
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// Looks for a header at the beginning of `bytes`.
///
/// Its two first bytes tell it from everything Minecraft: of a handshake the second one is 0.
///
/// # Errors
/// See [`HeaderError`].
pub fn read(bytes: &[u8]) -> Result<Progress, HeaderError> {
    if begins(bytes, V1_SIGNATURE) {
        read_v1(bytes)
    } else if begins(bytes, V2_SIGNATURE) {
        read_v2(bytes)
    } else {
        Ok(Progress::Absent)
    }
}

/// Whether `bytes` begin with `signature`, as far as there are any.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(a, b)| a == b)
}

fn read_v1(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let line = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let end = line.windows(V1_END.len()).position(|pair| pair == V1_END);
    let Some(end) = end else {
        return if bytes.len() < V1_BYTES_MAX {
            Ok(Progress::More)
        } else {
            Err(HeaderError::TooLong(V1_BYTES_MAX))
        };
    };
    decode(bytes, end + V1_END.len())
}

fn read_v2(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let fixed = bytes.get(V2_SIGNATURE.len()..V2_FIXED_BYTES);
    let Some(&[command, _family, high, low]) = fixed else {
        return Ok(Progress::More);
    };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    match command {
        V2_LOCAL | V2_PROXY if length > HEADER_BYTES_MAX => {
            Err(HeaderError::TooLong(HEADER_BYTES_MAX))
        }
        V2_LOCAL | V2_PROXY if length > bytes.len() => Ok(Progress::More),
        // Its addresses are to be thrown away, whatever they are (2.2).
        V2_LOCAL => Ok(Progress::Complete(None, length)),
        V2_PROXY => decode(bytes, length),
        other => Err(HeaderError::Command(other)),
    }
}

/// What the header of `length` bytes says.
fn decode(bytes: &[u8], length: usize) -> Result<Progress, HeaderError> {
    let header = bytes.get(..length).unwrap_or(bytes);
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    // That there are too few bytes is a mistake of a whole header too.
    let (header, _) =
        ProxyHeader::parse(header, config).map_err(|_error| HeaderError::Malformed)?;
    let ends = match header.proxied_address() {
        Some(told) if told.protocol == Protocol::Stream => Some(Ends {
            source: canonical(told.source),
            destination: canonical(told.destination),
        }),
        _ => None,
    };
    Ok(Progress::Complete(ends, length))
}

/// The header that tells a backend whose connection it is.
///
/// # Errors
/// None: whatever the families of the two ends, there is one that both can be written in.
pub fn header(version: Version, ends: Ends) -> io::Result<Vec<u8>> {
    let (source, destination) = (canonical(ends.source), canonical(ends.destination));
    let (source, destination) = if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (in_ipv6(source), in_ipv6(destination))
    };
    let header = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
    let mut bytes = Vec::with_capacity(V1_BYTES_MAX);
    let written = match version {
        Version::V1 => header.encode_v1(&mut bytes),
        Version::V2 => header.encode_v2(&mut bytes),
    };
    written.map_err(|error| io::Error::other(format!("PROXY header: {error}")))?;
    Ok(bytes)
}

/// IPv4 addresses that are written as IPv6 are IPv4 addresses; scopes and flows are left out.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn in_ipv6(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => Ipv4Addr::to_ipv6_mapped(&ip),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), address.port())
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
