//! Against servers by script: what is written here is what a router or server would send.

use super::*;
use automc_router::protocol::handshake::Intent;
use automc_router::protocol::versions::Configuration;
use automc_router::protocol::{dialog, encode_frame, login, version};
use serde_json::json;
use std::net::Ipv4Addr;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;

const SECOND: Duration = Duration::from_secs(1);

/// What is sent to those whom the login has let in.
fn packets(protocol: i32) -> &'static Configuration {
    version::configuration(protocol).unwrap()
}

/// Clear Dialog, which the router never sends.
fn clear_dialog() -> Vec<u8> {
    encode_frame(0x11, &[])
}

fn player(protocol: i32) -> Player {
    Player {
        protocol,
        ..Player::new("a.example")
    }
}

/// A player who has knocked at whoever holds the other end.
fn knocked(protocol: i32) -> (Session<DuplexStream>, DuplexStream) {
    let (client, server) = duplex(64 * 1024);
    (player(protocol).on(client), server)
}

async fn read(server: &mut (impl AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    server.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// What the player makes of `bytes` and then nothing, and after how long.
async fn after(protocol: i32, bytes: &[u8]) -> (String, Duration) {
    let (mut session, mut server) = knocked(protocol);
    server.write_all(bytes).await.unwrap();
    let begin = Instant::now();
    let error = session.wait().await.unwrap_err();
    (format!("{error:#}"), begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn silence_is_borne_for_30_seconds_and_for_20_before_1_8() {
    for (protocol, seconds) in [(4, 20), (5, 20), (47, 30), (340, 30), (776, 30)] {
        let (error, time) = after(protocol, &[]).await;
        assert!(error.contains("timed out"), "{error}");
        assert_eq!(time, SECOND * seconds, "{protocol}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_byte_restarts_the_patience_even_of_half_a_packet() {
    let (mut session, mut server) = knocked(47);
    let refusal = login::disconnect("late");
    let sent = refusal.clone();
    let sending = tokio::spawn(async move {
        for byte in sent {
            tokio::time::sleep(SECOND * 29).await;
            server.write_all(&[byte]).await.unwrap();
        }
    });

    let outcome = session.wait().await.unwrap();

    assert_eq!(outcome, Outcome::Refused(json!({ "text": "late" })));
    assert_eq!(
        session.longest_silence(),
        SECOND * 29 * u32::try_from(refusal.len()).unwrap()
    );
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn patience_may_be_scaled() {
    let (mut session, _server) = knocked(769);
    session.player.patience = Some(SECOND / 10);
    let begin = Instant::now();
    assert!(session.step().await.is_err());
    assert_eq!(begin.elapsed(), SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn patience_is_the_same_in_configuration() {
    let (mut session, mut server) = knocked(771);
    let success = login::success(771, 7, "Steve");
    server.write_all(&success).await.unwrap();
    assert_eq!(session.wait().await.unwrap(), Outcome::In);
    let begin = Instant::now();
    assert!(session.configure().await.is_err());
    assert_eq!(begin.elapsed(), SECOND * 30);
}

#[tokio::test(start_paused = true)]
async fn each_request_of_a_hold_is_answered_and_seen() {
    let (mut session, mut server) = knocked(766);
    let requests = [
        login::plugin_request(0x4000_0000, "automc:hold", b""),
        login::plugin_request(0x4000_0001, "automc:hold", b""),
    ];
    let holding = async {
        for request in &requests {
            tokio::time::sleep(SECOND * 10).await;
            server.write_all(request).await.unwrap();
            // The same id, and that the channel is not known.
            let answer = read(&mut server, 8).await;
            assert_eq!(answer[..2], [7, 2]);
            assert_eq!(answer[2..7], request[2..7]);
            assert_eq!(answer[7], 0);
        }
        server
            .write_all(&login::cookie_request("automc:waited"))
            .await
            .unwrap();
        assert_eq!(
            read(&mut server, 17).await,
            b"\x10\x04\x0Dautomc:waited\x00"[..]
        );
        server
            .write_all(&login::set_compression_off())
            .await
            .unwrap();
        server
            .write_all(&login::success(766, 7, "Steve"))
            .await
            .unwrap();
    };

    let (outcome, ()) = tokio::join!(session.wait(), holding);

    assert_eq!(outcome.unwrap(), Outcome::In);
    assert_eq!(session.longest_silence(), SECOND * 10);
    let kinds: Vec<_> = session.seen.iter().map(|seen| &seen.packet).collect();
    let channel = "automc:hold".to_owned();
    assert_eq!(
        kinds,
        [
            &Packet::PluginRequest {
                id: 0x4000_0000,
                channel: channel.clone()
            },
            &Packet::PluginRequest {
                id: 0x4000_0001,
                channel
            },
            &Packet::CookieRequest {
                key: "automc:waited".to_owned()
            },
            &Packet::SetCompression(-1),
            &Packet::Success,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_packet_of_a_later_version_ends_the_patience_at_once() {
    let request = login::plugin_request(0, "a:b", b"");
    for (protocol, bytes) in [
        (5, login::set_compression_off()),
        (47, request.clone()),
        (340, request),
        (765, login::cookie_request("a:b")),
    ] {
        let (error, time) = after(protocol, &bytes).await;
        assert!(
            error.contains("does not know packet"),
            "{protocol}: {error}"
        );
        assert_eq!(time, Duration::ZERO);
    }
    let (error, _) = after(47, &encode_frame(3, &[0x40])).await;
    assert!(error.contains("compression"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_step_may_be_given_up_and_nothing_is_lost() {
    let (mut session, mut server) = knocked(393);
    let request = login::plugin_request(1, "a:b", b"");
    let (first, second) = request.split_at(4);
    server.write_all(first).await.unwrap();
    assert!(timeout(SECOND, session.step()).await.is_err());
    server.write_all(second).await.unwrap();
    assert_eq!(session.step().await.unwrap(), None);
    assert_eq!(read(&mut server, 4).await, [3, 2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn encryption_is_answered_in_the_layout_of_the_version() {
    for (protocol, length) in [
        (5, 1 + 2 * (2 + 128)),
        (47, 1 + 2 * (2 + 128)),
        (760, 1 + 1 + 2 * (2 + 128)),
        (761, 1 + 2 * (2 + 128)),
    ] {
        let (mut session, mut server) = knocked(protocol);
        server
            .write_all(&encode_frame(1, b"whatever"))
            .await
            .unwrap();
        assert_eq!(session.step().await.unwrap(), None);
        drop(session);
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), length + 2, "{protocol}");
        assert_eq!(answer[2], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_click_needs_a_dialog_that_offers_it() {
    let (mut session, mut server) = knocked(771);
    assert!(session.click(dialog::LEAVE).await.is_err());
    session.configuring = true;
    let shown = dialog::waiting(&json!("T"), &[json!("B")], &json!("L"));
    let show = packets(771).show_dialog(|| shown).unwrap().unwrap();
    server.write_all(&show).await.unwrap();
    session.step().await.unwrap();
    assert_eq!(session.dialogs().len(), 1);
    assert!(session.click("automc:stay").await.is_err());

    session.click(dialog::LEAVE).await.unwrap();
    assert_eq!(
        read(&mut server, 17).await,
        b"\x10\x08\x0Cautomc:leave\x01\x00"[..]
    );

    server.write_all(&clear_dialog()).await.unwrap();
    session.step().await.unwrap();
    assert!(session.click(dialog::LEAVE).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_login_success_of_another_layout_ends_the_way_to_configuration() {
    for (protocol, written_for, good) in [
        (766, 766, true),
        (767, 768, false),
        (768, 767, false),
        (775, 776, false),
        (776, 776, true),
        (776, 775, false),
    ] {
        let (mut session, mut server) = knocked(protocol);
        let success = login::success(written_for, 7, "Steve");
        server.write_all(&success).await.unwrap();
        session.wait().await.unwrap();
        assert_eq!(session.acknowledge().await.is_ok(), good, "{protocol}");
    }
    let (mut session, mut server) = knocked(769);
    let success = login::success(769, 7, "Alex");
    server.write_all(&success).await.unwrap();
    session.wait().await.unwrap();
    assert!(session.acknowledge().await.is_err());
}

/// A router by script that holds in the configuration state, over real sockets.
async fn hold(listener: TcpListener, arriving: Vec<u8>, port: u16) {
    let (mut first, _) = listener.accept().await.unwrap();
    let held = player(771);
    let knock = held.login_bytes();
    assert_eq!(read(&mut first, knock.len()).await, knock);
    first
        .write_all(&login::success(771, held.uuid, "Steve"))
        .await
        .unwrap();
    let said = [
        &b"\x01\x03"[..],
        b"\x19\x02\x0Fminecraft:brand\x07vanilla",
        b"\x0F\x00\x05en_us\x0C\x00\x01\x7F\x01\x00\x01\x00",
    ]
    .concat();
    assert_eq!(read(&mut first, said.len()).await, said);
    let packets = packets(771);
    first.write_all(&packets.keep_alive(9)).await.unwrap();
    assert_eq!(read(&mut first, 10).await, [9, 4, 0, 0, 0, 0, 0, 0, 0, 9]);
    for packet in [
        packets
            .show_dialog(|| json!({ "title": "T" }))
            .unwrap()
            .unwrap(),
        clear_dialog(),
        packets.store_cookie("automc:waited", b"yes").unwrap(),
        packets.transfer("a.example", port),
    ] {
        first.write_all(&packet).await.unwrap();
    }
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:x?}");

    let (mut second, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut second, arriving.len()).await, arriving);
    second
        .write_all(&login::cookie_request("automc:waited"))
        .await
        .unwrap();
    let cookie = b"\x14\x04\x0Dautomc:waited\x01\x03yes";
    assert_eq!(read(&mut second, cookie.len()).await, cookie);
    second
        .write_all(&login::success(771, held.uuid, "Steve"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_transferred_player_comes_back_with_its_cookies() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let arriving = Player {
        intent: Intent::Transfer,
        port: 4711,
        ..player(771)
    };
    let holding = tokio::spawn(hold(listener, arriving.login_bytes(), 4711));

    let (held, joined) = player(771).join_through_transfer(at).await.unwrap();

    assert_eq!(held.dialogs(), [&json!({ "title": "T" })]);
    assert_eq!(held.player.cookies["automc:waited"], b"yes");
    assert!(matches!(joined, Joined::In(_)), "{joined:?}");
    holding.await.unwrap();
}

#[tokio::test]
async fn a_kick_in_configuration_is_read_from_its_nbt() {
    let (mut session, mut server) = knocked(776);
    let kick = packets(776)
        .disconnect(&json!({ "text": "no", "bold": true }))
        .unwrap();
    let success = login::success(776, 7, "Steve");
    server.write_all(&success).await.unwrap();
    session.wait().await.unwrap();
    let kicking = async {
        server.write_all(&kick).await.unwrap();
        server.shutdown().await.unwrap();
    };

    let (outcome, ()) = tokio::join!(session.configure(), kicking);

    let component = json!({ "text": "no", "bold": 1 });
    assert_eq!(outcome.unwrap(), Outcome::Refused(component));
}
