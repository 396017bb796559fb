//! Against a service of the tests' own, which speaks what ngrok's library expects of the real one.

use muxado::SessionBuilder;
use muxado::heartbeat::{Heartbeat, HeartbeatConfig};
use muxado::typed::{StreamType, Typed, TypedAccept, TypedOpenClose, TypedSession, TypedStream};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::config::secret::Secret;
use crate::proxy_protocol::{Progress, read};

const DEADLINE: Duration = Duration::from_secs(20);
const TOKEN: &str = "t0ken";
const CLIENT: &str = "203.0.113.7:56860";

async fn port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// How the service at `address` is reached.
fn reach(address: SocketAddr) -> impl Connector + Clone {
    move |_host: String, _port: u16, _tls: Arc<rustls::ClientConfig>, lost: Option<AcceptError>| async move {
        if lost.is_some() {
            return Err(ConnectError::Canceled);
        }
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(ConnectError::Tcp)?;
        Ok(Box::new(stream) as Box<dyn IoStream>)
    }
}

/// A request of the library's, which is whole once it is JSON.
async fn request(stream: &mut TypedStream) -> Value {
    let mut bytes = Vec::new();
    loop {
        if let Ok(request) = serde_json::from_slice(&bytes) {
            return request;
        }
        let mut more = [0; 1024];
        let count = stream.read(&mut more).await.unwrap();
        assert_ne!(count, 0, "{:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&more[..count]);
    }
}

async fn answer(mut stream: TypedStream, answer: Value) {
    stream
        .write_all(answer.to_string().as_bytes())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
}

/// Gives one tunnel, and lets one player come through it who says `hello`; comes with what the token and
/// the address asked for were, and the player's end.
async fn serve(listener: &TcpListener) -> (Value, TypedStream, impl Sized) {
    let (stream, _) = listener.accept().await.unwrap();
    let session = Typed::new(SessionBuilder::new(stream).server().start());
    let (session, heart) = Heartbeat::start(session, HeartbeatConfig::default())
        .await
        .unwrap();
    let (mut open, mut accept) = session.split_typed();
    let mut auth = accept.accept_typed().await.unwrap();
    let asked = request(&mut auth).await;
    answer(
        auth,
        json!({ "Version": "3", "ClientId": "own", "Extra": {} }),
    )
    .await;
    let mut bind = accept.accept_typed().await.unwrap();
    let bound = request(&mut bind).await;
    let given = json!({ "Id": "one", "URL": "tcp://1.tcp.example:1", "Proto": "tcp",
        "Opts": bound["Opts"], "Extra": { "Token": "" } });
    answer(bind, given).await;

    let mut player = open.open_typed(StreamType::clamp(3)).await.unwrap();
    let header = json!({ "Id": "one", "ClientAddr": CLIENT, "Proto": "tcp", "EdgeType": "0",
        "PassthroughTLS": false });
    let header = header.to_string();
    let length = i64::try_from(header.len()).unwrap();
    player.write_all(&length.to_le_bytes()).await.unwrap();
    player.write_all(header.as_bytes()).await.unwrap();
    player.write_all(b"hello").await.unwrap();
    let asked = json!({ "token": asked["Extra"]["AuthToken"], "address": bound["Opts"]["Addr"] });
    (asked, player, (open, accept, heart))
}

fn tunnel(to: SocketAddr) -> Tunnel {
    let remote_addr = Some("1.tcp.example:1".to_owned());
    let token = Secret::new(TOKEN);
    let config = NgrokConfig { token, remote_addr };
    Tunnel { config, to }
}

/// What a connection begins with, behind its header, and what that says.
async fn greeted(client: &mut TcpStream) -> (Vec<u8>, Ends) {
    let mut bytes = Vec::new();
    loop {
        if let Progress::Complete(Some(ends), length) = read(&bytes).unwrap()
            && bytes.len() >= length + b"hello".len()
        {
            return (bytes.split_off(length), ends);
        }
        assert_ne!(client.read_buf(&mut bytes).await.unwrap(), 0);
    }
}

/// What the library takes for its service is one of our own.
#[tokio::test]
async fn a_player_comes_through_the_tunnel_as_who_it_is_and_again_after_it_was_lost() {
    let (service, reached) = port().await;
    let (router, to) = port().await;
    let running = tokio::spawn(tunnel(to).run(reach(reached)));
    for _ in 0..2 {
        let (asked, mut player, rest) = timeout(DEADLINE, serve(&service)).await.unwrap();
        assert_eq!(
            asked,
            json!({ "token": TOKEN, "address": "1.tcp.example:1" })
        );

        let (mut client, _) = timeout(DEADLINE, router.accept()).await.unwrap().unwrap();
        let (bytes, ends) = timeout(DEADLINE, greeted(&mut client)).await.unwrap();
        assert_eq!(ends.source.to_string(), CLIENT);
        assert_eq!((ends.destination, bytes.as_slice()), (to, &b"hello"[..]));
        client.write_all(b"welcome").await.unwrap();
        let mut said = [0; 7];
        timeout(DEADLINE, player.read_exact(&mut said))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&said, b"welcome");
        drop((player, rest));
    }
    running.abort();
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_without_the_token() {
    let (service, reached) = port().await;
    let refusing = async {
        let (stream, _) = service.accept().await.unwrap();
        let session = Typed::new(SessionBuilder::new(stream).server().start());
        let (session, heart) = Heartbeat::start(session, HeartbeatConfig::default())
            .await
            .unwrap();
        let (open, mut accept) = session.split_typed();
        let mut auth = accept.accept_typed().await.unwrap();
        request(&mut auth).await;
        let refusal = format!("The authtoken you specified is invalid.\nYour authtoken: {TOKEN}");
        answer(
            auth,
            json!({ "Version": "3", "ClientId": "", "Error": refusal }),
        )
        .await;
        (open, accept, heart)
    };
    let tunnel = tunnel(reached);
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1, 0.0);
    let listening = timeout(DEADLINE, tunnel.listen(reach(reached), &mut backoff));
    let (problem, _kept) = tokio::join!(listening, refusing);
    let problem = problem.unwrap();
    assert!(
        problem.contains("is invalid") && !problem.contains(TOKEN),
        "{problem}"
    );
}
