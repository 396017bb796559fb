use std::net::Ipv4Addr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use super::race::NEXT_DELAY;
use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// An address that answers no connection: the one place in its queue is taken (listen(2)).
struct Silent {
    _listening: Socket,
    _queued: Vec<Socket>,
    at: SocketAddr,
}

fn silent() -> Silent {
    let listening = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listening
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listening.listen(0).unwrap();
    let at = listening.local_addr().unwrap();
    // One more may be under way than there is room for.
    let queued = std::iter::repeat_with(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        drop(socket.connect(&at));
        socket
    });
    Silent {
        _queued: queued.take(4).collect(),
        at: at.as_socket().unwrap(),
        _listening: listening,
    }
}

fn refused() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_silent_address_is_passed_for_the_next_one() {
    let silent = silent();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = listener.local_addr().unwrap();
    let begun = Instant::now();

    let stream = dial_to(&[silent.at, live], LIMIT).await.unwrap();

    assert_eq!(stream.peer_addr().unwrap(), live);
    assert!(begun.elapsed() >= NEXT_DELAY, "{:?}", begun.elapsed());
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn the_last_of_many_silent_ones_is_reached_within_the_limit() {
    let silent: Vec<_> = (0..11).map(|_| silent()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = listener.local_addr().unwrap();
    let addresses: Vec<_> = silent
        .iter()
        .map(|silent| silent.at)
        .chain([live])
        .collect();

    let stream = dial_to(&addresses, Duration::from_secs(4)).await.unwrap();

    assert_eq!(stream.peer_addr().unwrap(), live);
}

#[tokio::test]
async fn of_several_failures_the_most_telling_one_is_told() {
    let silent = silent();
    let kind = async |addresses: &[SocketAddr]| {
        let limit = Duration::from_millis(100);
        dial_to(addresses, limit).await.unwrap_err().kind()
    };
    assert_eq!(
        kind(&[refused(), refused()]).await,
        io::ErrorKind::ConnectionRefused
    );
    assert_eq!(kind(&[silent.at]).await, io::ErrorKind::TimedOut);
    assert_eq!(
        kind(&[silent.at, refused()]).await,
        io::ErrorKind::ConnectionRefused
    );

    let of = |codes: &[i32]| {
        let errors = codes.iter().copied().map(io::Error::from_raw_os_error);
        most_telling(errors.collect()).raw_os_error().unwrap()
    };
    // ENETUNREACH, ECONNREFUSED, EMFILE, ETIMEDOUT, EHOSTUNREACH.
    assert_eq!(of(&[101, 111]), 111);
    assert_eq!(of(&[111, 24, 101]), 24);
    assert_eq!(of(&[101, 110]), 110);
    assert_eq!(of(&[101, 113]), 113);
}

#[tokio::test]
async fn a_name_that_is_not_there_is_told_from_a_port_that_is_closed() {
    let dial = async |at: &str| {
        let backend = BackendAddr::parse(at).unwrap();
        dial(&backend, LIMIT).await.unwrap_err()
    };
    // RFC 6761: nobody has a name below `invalid`; nor one that begins with a hyphen, so nobody is asked.
    let missing = dial("-nobody.invalid:25565").await;
    assert!(is_no_name(&missing), "{missing:?}");
    let closed = dial(&refused().to_string()).await;
    assert!(!is_no_name(&closed), "{closed:?}");
}

#[tokio::test]
async fn a_name_is_looked_up_and_its_port_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let backend = BackendAddr::parse(&format!("LocalHost:{port}")).unwrap();

    let stream = dial(&backend, LIMIT).await.unwrap();

    assert_eq!(stream.peer_addr().unwrap().port(), port);
    let addresses = addresses(&backend).await.unwrap();
    assert!(addresses.iter().all(|address| address.port() == port));
}
