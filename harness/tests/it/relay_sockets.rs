//! The relay over real sockets: any traffic arrives whole and in order, and the end is named right.

use std::net::Ipv4Addr;
use std::time::Duration;

use automc_router::relay::counters::{Counters, Totals};
use automc_router::relay::{End, Relayed, Side, relay};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

/// What one side does.
#[derive(Debug, Clone)]
struct Plan {
    /// What its bytes are made from.
    seed: u64,
    /// Bytes of each write, and how often the writer then lets others go first.
    writes: Vec<(usize, usize)>,
    /// Most bytes of each read, and the same for the reader; over and over.
    reads: Vec<(usize, usize)>,
    /// Buffer for what the router sends it: a small one makes short writes.
    buffer: u32,
}

impl Plan {
    fn bytes(&self) -> Vec<u8> {
        let length = self.writes.iter().map(|(bytes, _)| bytes).sum();
        let mut state = self.seed;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .flatten()
        .take(length)
        .collect()
    }
}

fn plan(seed: u64) -> impl Strategy<Value = Plan> {
    let size = prop_oneof![3 => 1..300_usize, 2 => 300..40_000_usize, 1 => 200_000..600_000_usize];
    let read = prop_oneof![700..3_000_usize, 3_000..100_000_usize];
    (
        prop::collection::vec((size, 0..6_usize), 1..12),
        prop::collection::vec((read, 0..4_usize), 1..6),
        prop_oneof![Just(4_096), Just(65_536), Just(1 << 20)],
    )
        .prop_map(move |(writes, reads, buffer)| Plan {
            seed,
            writes,
            reads,
            buffer,
        })
}

/// Two connected sockets, the first with small buffers if the plan says so.
async fn pair(plan: &Plan) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(plan.buffer).unwrap();
    let near = socket
        .connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (near, listener.accept().await.unwrap().0)
}

async fn give_way(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

async fn write(mut half: OwnedWriteHalf, plan: Plan) -> OwnedWriteHalf {
    let bytes = plan.bytes();
    let mut rest = bytes.as_slice();
    for (length, pauses) in plan.writes {
        let (now, later) = rest.split_at(length);
        half.write_all(now).await.unwrap();
        rest = later;
        give_way(pauses).await;
    }
    half
}

/// Reads until `most` bytes or the end.
async fn read(half: &mut OwnedReadHalf, plan: &Plan, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for (length, pauses) in plan.reads.iter().cycle() {
        if all.len() == most {
            break;
        }
        let mut buffer = vec![0; (*length).min(most - all.len())];
        match half.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(now) => all.extend_from_slice(&buffer[..now]),
        }
        give_way(*pauses).await;
    }
    all
}

/// Has both sides act by their plans. `reset` closes its connection hard once the other side has
/// everything; otherwise both close in order.
async fn act(client: Plan, backend: Plan, reset: Option<Side>) -> (Relayed, Totals) {
    let (client_far, mut client_near) = pair(&client).await;
    let (backend_far, mut backend_near) = pair(&backend).await;
    let counters = Counters::default();
    let (client_read, client_write) = client_far.into_split();
    let (backend_read, backend_write) = backend_far.into_split();
    let side = async |mut half: OwnedReadHalf, write_half, own: &Plan, other: &Plan| {
        let expected = other.bytes();
        let writing = tokio::spawn(write(write_half, own.clone()));
        let got = read(&mut half, own, expected.len()).await;
        assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
        (half, writing.await.unwrap())
    };
    let both = async {
        let ((client_read, mut client_write), (backend_read, mut backend_write)) = tokio::join!(
            side(client_read, client_write, &client, &backend),
            side(backend_read, backend_write, &backend, &client),
        );
        // Whoever does not reset stays until the relay has ended.
        match reset {
            None => {
                client_write.shutdown().await.unwrap();
                backend_write.shutdown().await.unwrap();
                None
            }
            Some(Side::Client) => {
                reset_now(client_read, client_write);
                Some((backend_read, backend_write))
            }
            Some(Side::Backend) => {
                reset_now(backend_read, backend_write);
                Some((client_read, client_write))
            }
        }
    };
    let relayed = timeout(DEADLINE, async {
        tokio::join!(
            relay(&mut client_near, &mut backend_near, 0, &counters),
            both
        )
        .0
    });
    (relayed.await.expect("a relay that ends"), counters.totals())
}

fn reset_now(read: OwnedReadHalf, write: OwnedWriteHalf) {
    read.reunite(write).unwrap().set_zero_linger().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_traffic_over_sockets_arrives_whole_and_in_order(
        client in plan(0x2545_F491_4F6C_DD1D),
        backend in plan(0x9E37_79B9_7F4A_7C15),
        reset in prop_oneof![Just(None), Just(Some(Side::Client)), Just(Some(Side::Backend))],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

        let (relayed, totals) = runtime.block_on(act(client.clone(), backend.clone(), reset));

        prop_assert_eq!(relayed.up, u64::try_from(client.bytes().len()).unwrap());
        prop_assert_eq!(relayed.down, u64::try_from(backend.bytes().len()).unwrap());
        prop_assert_eq!((totals.up_bytes, totals.down_bytes), (relayed.up, relayed.down));
        prop_assert_eq!((totals.sessions, totals.sessions_open), (1, 0));
        let right = match (&relayed.end, reset) {
            (End::Closed(_), None) => true,
            (End::Failed(side, _), Some(reset)) => *side == reset,
            _ => false,
        };
        prop_assert!(right, "{reset:?}: {:?}", relayed.end);
    }
}
