use super::*;
use crate::protocol::{decode_frame, put_bytes};
use proptest::prelude::*;

const UUID: u128 = 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF;

fn start(rest: &[&[u8]]) -> Vec<u8> {
    [&b"\x00\x05Steve"[..], &rest.concat()].concat()
}

fn key() -> Vec<u8> {
    let mut out = vec![1, 0, 0, 0, 0, 0, 0, 0, 9];
    put_bytes(&[7; 162], &mut out);
    put_bytes(&[8; 256], &mut out);
    out
}

#[test]
fn name_and_uuid_are_read_in_the_layout_of_every_version() {
    let uuid = UUID.to_be_bytes();
    for (protocol, rest, found) in [
        (5, vec![], None),
        (47, vec![], None),
        (758, vec![], None),
        (759, vec![&[0][..]], None),
        (759, vec![&key()], None),
        (760, vec![&[0, 0]], None),
        (760, vec![&[0, 1], &uuid], Some(UUID)),
        (760, vec![&key(), &[1], &uuid], Some(UUID)),
        (760, vec![&key(), &[0]], None),
        (761, vec![&[0]], None),
        (763, vec![&[1], &uuid], Some(UUID)),
        (764, vec![&uuid], Some(UUID)),
        (776, vec![&uuid], Some(UUID)),
        (0x4000_0105, vec![&uuid], Some(UUID)),
    ] {
        let body = start(&rest);
        let decoded = LoginStart::decode(protocol, &body).unwrap();
        assert_eq!(
            decoded,
            LoginStart {
                name: "Steve",
                uuid: found
            },
            "{protocol}: {rest:x?}"
        );
    }
}

#[test]
fn what_does_not_add_up_after_the_name_is_no_uuid_and_no_error() {
    let uuid = UUID.to_be_bytes();
    for (protocol, rest) in [
        (47, vec![&uuid[..]]),
        (760, vec![&[1, 0], &uuid]),
        (761, vec![&[1], &uuid[1..]]),
        (763, vec![&[1], &uuid, &[0]]),
        (764, vec![]),
        (767, vec![&uuid, &uuid]),
    ] {
        let body = start(&rest);
        let decoded = LoginStart::decode(protocol, &body).unwrap();
        assert_eq!(
            decoded,
            LoginStart {
                name: "Steve",
                uuid: None
            },
            "{protocol}: {rest:x?}"
        );
    }
}

#[test]
fn a_name_of_over_64_bytes_is_refused() {
    let mut body = vec![0];
    put_string(&"x".repeat(65), &mut body);
    assert!(matches!(
        LoginStart::decode(769, &body),
        Err(DecodeError::TooLong { .. })
    ));
}

#[test]
fn a_disconnect_is_json_in_a_string_in_a_frame() {
    assert_eq!(disconnect("no"), b"\x0F\x00\x0D{\"text\":\"no\"}");
    assert_eq!(
        disconnect_with(&json!([{ "text": "n" }, "o"])),
        b"\x14\x00\x12[{\"text\":\"n\"},\"o\"]"
    );
}

#[test]
fn requests_are_as_on_the_wire() {
    assert_eq!(
        plugin_request(0x4000_0001, "a:b", &[7]),
        b"\x0B\x04\x81\x80\x80\x80\x04\x03a:b\x07"
    );
    assert_eq!(set_compression_off(), [6, 3, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    assert_eq!(cookie_request("a:b"), b"\x05\x05\x03a:b");
}

#[test]
fn success_has_the_layout_of_each_version() {
    let profile = [&UUID.to_be_bytes()[..], b"\x05Steve\x00"].concat();
    for (protocol, rest) in [
        (766, vec![1]),
        (767, vec![1]),
        (768, vec![]),
        (775, vec![]),
        (776, UUID.to_be_bytes().to_vec()),
    ] {
        let frame = encode_frame(2, &[&profile[..], &rest].concat());
        assert_eq!(success(protocol, UUID, "Steve"), frame, "{protocol}");
    }
}

#[test]
fn replies_are_read_from_their_bytes() {
    let key = "a:b";
    for (body, reply) in [
        (
            &b"\x02\x81\x80\x80\x80\x04\x00"[..],
            LoginReply::PluginResponse {
                id: 0x4000_0001,
                data: None,
            },
        ),
        (
            b"\x02\x05\x01ok",
            LoginReply::PluginResponse {
                id: 5,
                data: Some(b"ok"),
            },
        ),
        (b"\x03", LoginReply::Acknowledged),
        (
            b"\x04\x03a:b\x00",
            LoginReply::CookieResponse { key, payload: None },
        ),
        (
            b"\x04\x03a:b\x01\x02ok",
            LoginReply::CookieResponse {
                key,
                payload: Some(b"ok"),
            },
        ),
        (b"\x01\x00\x00", LoginReply::Other(1)),
    ] {
        assert_eq!(LoginReply::decode(body), Ok(reply), "{body:x?}");
    }
}

#[test]
fn replies_have_limits() {
    let mut long = b"\x04\x03a:b\x01".to_vec();
    put_bytes(&[0; COOKIE_BYTES_MAX], &mut long);
    assert!(LoginReply::decode(&long).is_ok());
    assert!(long.len() <= LOGIN_REPLY_FRAME_BYTES_MAX);
    let mut long = b"\x04\x03a:b\x01".to_vec();
    put_bytes(&[0; COOKIE_BYTES_MAX + 1], &mut long);
    assert!(LoginReply::decode(&long).is_err());
    for cut in [
        &b"\x02"[..],
        b"\x02\x05",
        b"\x04\x03a:",
        b"\x04\x03a:b",
        b"",
    ] {
        assert!(LoginReply::decode(cut).is_err(), "{cut:x?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(protocol: i32, bytes: Vec<u8>) {
        let _ = LoginStart::decode(protocol, &bytes);
        let _ = LoginReply::decode(&bytes);
        let _ = decode_frame(&bytes, LOGIN_START_FRAME_BYTES_MAX);
    }

    #[test]
    fn whatever_follows_the_name_never_costs_the_name(
        protocol in prop_oneof![750..780, any::<i32>()], rest: Vec<u8>
    ) {
        let body = start(&[&rest]);
        prop_assert_eq!(LoginStart::decode(protocol, &body).unwrap().name, "Steve");
    }

    #[test]
    fn the_answer_to_a_plugin_request_comes_back(id: i32, data: Option<Vec<u8>>) {
        let mut body = vec![2];
        varint::encode(id, &mut body);
        body.push(u8::from(data.is_some()));
        body.extend(data.iter().flatten());
        let data = data.as_deref();
        prop_assert_eq!(LoginReply::decode(&body), Ok(LoginReply::PluginResponse { id, data }));
    }
}
