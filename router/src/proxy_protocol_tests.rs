use super::*;
use proptest::prelude::*;

const V4: &[u8] = &[
    203, 0, 113, 7, 198, 51, 100, 1, // 203.0.113.7 to 198.51.100.1
    0x12, 0x67, 0x63, 0xDD, // 4711 to 25565
];

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[command, family], &length, rest].concat()
}

fn ends(source: &str, destination: &str) -> Ends {
    Ends {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn v4() -> Ends {
    ends("203.0.113.7:4711", "198.51.100.1:25565")
}

fn v6() -> Ends {
    ends("[2001:db8::7]:4711", "[2001:db8::1]:25565")
}

/// The header's meaning, with a greeting behind it that is not touched.
fn told(header: &[u8]) -> Option<Ends> {
    match read(&[header, &[16, 0, 1, 2]].concat()) {
        Ok(Progress::Complete(ends, length)) if length == header.len() => ends,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_versions_and_families_name_the_client_and_what_it_connected_to() {
    assert_eq!(
        told(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 25565\r\n"),
        Some(v4())
    );
    assert_eq!(
        told(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25565\r\n"),
        Some(v6())
    );
    assert_eq!(told(&v2(0x21, 0x11, V4)), Some(v4()));
    let with_tlvs = [V4, &[0x04, 0, 3, 9, 9, 9]].concat();
    assert_eq!(told(&v2(0x21, 0x11, &with_tlvs)), Some(v4()));
    assert_eq!(told(&header(Version::V2, v6()).unwrap()), Some(v6()));
}

#[test]
fn an_ipv4_client_in_the_clothes_of_ipv6_is_an_ipv4_client() {
    assert_eq!(
        told(b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 4711 25565\r\n"),
        Some(v4())
    );
}

/// Upstream panics on some of these, and lets others past its filters.
#[test]
fn what_is_not_about_a_tcp_client_says_nothing_of_one() {
    let paths = [b'/'; V2_ADDRESS_BYTES_MAX];
    let v6 = [0; 36];
    for (what, header) in [
        ("UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec()),
        (
            "UNKNOWN with addresses",
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
        ),
        ("LOCAL", v2(0x20, 0x00, &[])),
        ("LOCAL with addresses", v2(0x20, 0x11, V4)),
        ("LOCAL with too few of them", v2(0x20, 0x21, V4)),
        ("LOCAL of an unknown family", v2(0x20, 0x77, V4)),
        ("UNSPEC", v2(0x21, 0x00, &[])),
        ("UNSPEC with something", v2(0x21, 0x00, V4)),
        ("UDP over IPv4", v2(0x21, 0x12, V4)),
        ("UDP over IPv6", v2(0x21, 0x22, &v6)),
        ("UNIX stream", v2(0x21, 0x31, &paths)),
        ("UNIX datagram", v2(0x21, 0x32, &paths)),
    ] {
        assert_eq!(told(&header), None, "{what}");
    }
}

#[test]
fn a_malformed_header_is_told_as_such() {
    for (what, header) in [
        ("too few addresses", v2(0x21, 0x11, &[0; 11])),
        ("none", v2(0x21, 0x21, &[])),
        ("half a path", v2(0x21, 0x31, &[0; 215])),
        ("no such family", v2(0x21, 0x41, V4)),
        ("no such protocol", v2(0x21, 0x13, V4)),
        ("nothing", b"PROXY \r\n".to_vec()),
        (
            "no such protocol",
            b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(),
        ),
        ("the wrong family", b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec()),
        ("no ports", b"PROXY TCP4 1.1.1.1 2.2.2.2\r\n".to_vec()),
        (
            "no port",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n".to_vec(),
        ),
        ("too much", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n".to_vec()),
        ("no text", b"PROXY TCP4 \xFF.1.1.1 2.2.2.2 1 2\r\n".to_vec()),
    ] {
        assert_eq!(read(&header), Err(HeaderError::Malformed), "{what}");
    }
    for command in [0x00, 0x11, 0x22, 0x2F, 0x31, 0xFF] {
        let error = Err(HeaderError::Command(command));
        assert_eq!(read(&v2(command, 0x11, V4)), error);
    }
}

#[test]
fn a_header_is_as_long_as_it_may_be_and_no_longer() {
    let longest = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - V1_END.len(), b'x');
        [&line, V1_END].concat()
    };
    assert_eq!(told(&longest(V1_BYTES_MAX)), None);
    let over = longest(V1_BYTES_MAX + 1);
    assert_eq!(read(&over), Err(HeaderError::TooLong(V1_BYTES_MAX)));
    assert_eq!(read(&over[..V1_BYTES_MAX - 1]), Ok(Progress::More));

    let most = vec![0; HEADER_BYTES_MAX - V2_FIXED_BYTES];
    assert_eq!(told(&v2(0x21, 0x31, &most)), None);
    // Refused by its length, before any of it has come.
    let over = v2(0x21, 0x31, &[most, vec![0]].concat());
    let error = Err(HeaderError::TooLong(HEADER_BYTES_MAX));
    assert_eq!(read(&over[..V2_FIXED_BYTES]), error);
}

#[test]
fn what_is_minecraft_is_no_header_from_its_second_byte_on() {
    for first in 0..=u8::MAX {
        let absent = read(&[first, 0]);
        assert_eq!(absent, Ok(Progress::Absent), "{first}");
    }
    for legacy in [&[0xFE][..], &[0xFE, 0x01], &[0xFE, 0x01, 0xFA]] {
        assert_eq!(read(legacy), Ok(Progress::Absent));
    }
    assert_eq!(read(&[]), Ok(Progress::More));
    assert_eq!(read(b"P"), Ok(Progress::More));
}

#[test]
fn a_header_of_our_own_is_what_the_protocol_says() {
    let line = header(Version::V1, v4()).unwrap();
    assert_eq!(line, b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 25565\r\n");
    let line = header(Version::V1, v6()).unwrap();
    assert_eq!(line, b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25565\r\n");
    assert_eq!(header(Version::V2, v4()).unwrap(), v2(0x21, 0x11, V4));

    let dual_stack = ends("[::ffff:203.0.113.7]:4711", "[::ffff:198.51.100.1]:25565");
    let bytes = header(Version::V2, dual_stack).unwrap();
    assert_eq!(bytes, v2(0x21, 0x11, V4));

    // One end in each family: the one that can hold both.
    let mixed = ends("203.0.113.7:4711", "[2001:db8::1]:25565");
    let line = header(Version::V1, mixed).unwrap();
    assert_eq!(
        line,
        b"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 4711 25565\r\n"
    );
    assert_eq!(header(Version::V2, mixed).unwrap()[13], 0x21);
}

/// Bytes that are headers, nearly headers, and none.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let rest = proptest::collection::vec(any::<u8>(), 0..300);
    let command = prop_oneof![Just(0x20_u8), Just(0x21), any::<u8>()];
    let family = prop_oneof![
        prop::sample::select(vec![0x00_u8, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32]),
        any::<u8>()
    ];
    let length = prop_oneof![0_u16..300, any::<u16>()];
    let binary =
        (command, family, length, rest.clone()).prop_map(|(command, family, length, rest)| {
            let length = length.to_be_bytes();
            [V2_SIGNATURE, &[command, family], &length, &rest].concat()
        });
    let text =
        "PROXY( |TCP[46]|UNKNOWN|UDP4| [0-9.:a-f]{0,40}| [0-9]{0,6}|\r|\n|\r\n){0,9}[a-z]{0,20}"
            .prop_map(String::into_bytes);
    prop_oneof![binary, text, rest]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_in_any_pieces_mean_the_same_and_nothing_behind_a_header_is_read(
        bytes in streams(),
        behind in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = &bytes[..bytes.len().min(HEADER_BYTES_MAX + 1)];
        let whole = read(bytes);
        // Byte by byte, until it is told what it is.
        let mut first = Ok(Progress::More);
        for length in 0..=bytes.len() {
            first = read(&bytes[..length]);
            if first != Ok(Progress::More) {
                prop_assert!(length <= HEADER_BYTES_MAX);
                break;
            }
        }
        prop_assert_eq!(first, whole);
        if let Ok(Progress::Complete(_, length)) = whole {
            prop_assert!(length <= bytes.len() && length <= HEADER_BYTES_MAX);
            prop_assert_eq!(read(&[&bytes[..length], &behind].concat()), whole);
            prop_assert_eq!(read(&bytes[..length - 1]), Ok(Progress::More));
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        text: bool,
    ) {
        let version = if text { Version::V1 } else { Version::V2 };
        let (source, destination) = (SocketAddr::from(source), SocketAddr::from(destination));
        let bytes = header(version, Ends { source, destination }).unwrap();
        prop_assert!(bytes.len() <= V1_BYTES_MAX);
        let told = told(&bytes).unwrap();
        prop_assert_eq!(told.source, canonical(source));
        prop_assert_eq!(told.destination, canonical(destination));
    }
}
