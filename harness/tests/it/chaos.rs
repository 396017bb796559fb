//! The chaos proxy does to connections what it says.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);
/// How long nothing must happen before we believe that nothing happens.
const QUIET: Duration = Duration::from_millis(150);

/// A server that sends back whatever it gets, after its own name.
async fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(name.as_bytes()).await?;
                let (mut from, mut to) = stream.split();
                copy(&mut from, &mut to).await?;
                to.shutdown().await
            });
        }
    });
    addr
}

async fn proxy() -> ChaosProxy {
    ChaosProxy::start(echo("A").await).await.unwrap()
}

async fn join(proxy: &ChaosProxy) -> TcpStream {
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(hear(&mut client, 1).await, b"A");
    client
}

async fn hear(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut heard = vec![0; bytes];
    let read = timeout(DEADLINE, client.read_exact(&mut heard)).await;
    read.expect("an answer in time").expect("an answer");
    heard
}

async fn hears_nothing(client: &mut TcpStream) -> bool {
    timeout(QUIET, client.read_u8()).await.is_err()
}

async fn is_reset(client: &mut TcpStream) -> bool {
    let read = timeout(DEADLINE, client.read_u8()).await.unwrap();
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn bytes_pass_whole_and_a_half_close_reaches_the_other_side() {
    let proxy = proxy().await;
    let mut client = join(&proxy).await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut from, mut to) = client.split();
    let send = async {
        to.write_all(&sent).await?;
        to.shutdown().await
    };
    let mut heard = Vec::new();
    let both = async { tokio::try_join!(send, from.read_to_end(&mut heard)) };
    timeout(DEADLINE, both).await.unwrap().unwrap();
    assert!(heard == sent, "the echo differs from what was sent");
    eventually("the connection to be counted out", DEADLINE, async || {
        proxy.open() == 0
    })
    .await
    .unwrap();
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_stops_the_sender() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = ChaosProxy::start(listener.local_addr().unwrap())
        .await
        .unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (_deaf, _) = listener.accept().await.unwrap();
    let chunk = vec![0; 1 << 16];
    // 64 MiB are more than all kernel buffers on the way.
    let flood = async {
        for _ in 0..1024 {
            client.write_all(&chunk).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(2), flood).await.is_err());
}

#[tokio::test]
async fn a_refusal_is_a_real_one_and_leaves_open_connections_alone() {
    let proxy = proxy().await;
    let mut old = join(&proxy).await;
    proxy.refuse().await.unwrap();
    let error = TcpStream::connect(proxy.addr()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    old.write_all(b"on").await.unwrap();
    assert_eq!(hear(&mut old, 2).await, b"on");
    let addr = proxy.addr();
    proxy.restore().await.unwrap();
    assert_eq!(proxy.addr(), addr);
    join(&proxy).await;
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn a_stall_holds_bytes_and_ends_in_both_directions_and_loses_none() {
    let proxy = proxy().await;
    let mut old = join(&proxy).await;
    proxy.stall().await.unwrap();
    old.write_all(b"held").await.unwrap();
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(hears_nothing(&mut old).await, "a byte came through a stall");
    assert!(hears_nothing(&mut new).await, "a stall let somebody in");
    assert_eq!(proxy.open(), 2);
    proxy.restore().await.unwrap();
    assert_eq!(hear(&mut old, 4).await, b"held");
    assert_eq!(hear(&mut new, 1).await, b"A");
}

#[tokio::test]
async fn a_stall_ends_a_refusal_and_the_other_way_round() {
    let proxy = proxy().await;
    proxy.refuse().await.unwrap();
    proxy.stall().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(hears_nothing(&mut client).await);
    proxy.refuse().await.unwrap();
    assert_eq!(hear(&mut client, 1).await, b"A");
    assert!(TcpStream::connect(proxy.addr()).await.is_err());
}

#[tokio::test]
async fn a_cut_resets_what_is_open_even_in_a_stall_and_nothing_later() {
    let proxy = proxy().await;
    let mut first = join(&proxy).await;
    let mut second = join(&proxy).await;
    proxy.stall().await.unwrap();
    proxy.cut().await.unwrap();
    assert_eq!(proxy.open(), 0);
    assert!(is_reset(&mut first).await);
    assert!(is_reset(&mut second).await);
    proxy.restore().await.unwrap();
    let mut third = join(&proxy).await;
    third.write_all(b"!").await.unwrap();
    assert_eq!(hear(&mut third, 1).await, b"!");
}

#[tokio::test]
async fn a_new_upstream_serves_new_connections_only() {
    let proxy = proxy().await;
    let mut old = join(&proxy).await;
    proxy.set_upstream(echo("B").await);
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(hear(&mut new, 1).await, b"B");
    old.write_all(b"x").await.unwrap();
    assert_eq!(hear(&mut old, 1).await, b"x");
}

#[tokio::test]
async fn a_dead_upstream_resets_the_client() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = ChaosProxy::start(upstream.local_addr().unwrap())
        .await
        .unwrap();
    drop(upstream);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn dropping_the_proxy_ends_its_connections_and_its_port() {
    let proxy = proxy().await;
    let mut client = join(&proxy).await;
    let addr = proxy.addr();
    drop(proxy);
    assert!(is_reset(&mut client).await);
    eventually("the port to close", DEADLINE, async || {
        TcpStream::connect(addr).await.is_err()
    })
    .await
    .unwrap();
}
