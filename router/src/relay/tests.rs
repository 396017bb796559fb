use std::io;
use std::task::Poll;

use proptest::prelude::*;

use super::fake::{Driven, Fake, PIPES, Say, Take, drive, sequence};
use super::gear::{BUSY_BYTES, BUSY_READS, COOL_SPLICES, REFUSED_READS};
use super::scratch::SCRATCH_BYTES;
use super::*;

/// More than any test takes.
const PLENTY: usize = usize::MAX;

/// Drives under a paused clock; nothing here waits for it.
fn driven(client: &mut Fake, backend: &mut Fake, pipes: usize, order: &[u8]) -> Option<Driven> {
    driven_after(0, client, backend, pipes, order)
}

/// The same after the client has had `said` bytes of the backend.
fn driven_after(
    said: u64,
    client: &mut Fake,
    backend: &mut Fake,
    pipes: usize,
    order: &[u8],
) -> Option<Driven> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _inside = runtime.enter();
    PIPES.set(pipes);
    drive(client, backend, said, order)
}

/// The other side.
fn across(side: Side) -> Side {
    match side {
        Side::Client => Side::Backend,
        Side::Backend => Side::Client,
    }
}

/// Two that say this and take everything.
fn pair(client: &[Say], backend: &[Say]) -> (Fake, Fake) {
    (
        Fake::new(Side::Client, client, &[]),
        Fake::new(Side::Backend, backend, &[]),
    )
}

fn bytes_in(says: &[Say]) -> usize {
    let bytes = says.iter().map(|say| match say {
        Say::Bytes(bytes) => *bytes,
        _ => 0,
    });
    bytes.sum()
}

fn says(last: impl Strategy<Value = Say>) -> impl Strategy<Value = Vec<Say>> {
    let some = prop_oneof![
        3 => (1..2_000_usize).prop_map(Say::Bytes),
        2 => (BUSY_BYTES / 2..200_000).prop_map(Say::Bytes),
        1 => Just(Say::Bytes(BUSY_BYTES * 32)),
        3 => Just(Say::Nothing),
    ];
    (prop::collection::vec(some, 0..24), last).prop_map(|(mut says, last)| {
        says.push(last);
        says
    })
}

fn takes() -> impl Strategy<Value = Vec<Take>> {
    let take = prop_oneof![
        3 => (1..70_000_usize).prop_map(Take::Bytes),
        1 => (1..200_usize).prop_map(Take::Bytes),
        2 => Just(Take::Nothing),
    ];
    prop::collection::vec(take, 0..60)
}

fn pipes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(2), Just(PLENTY)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    /// Reads of any size, short writes, stalls, changes of gear with and without pipes.
    #[test]
    fn any_schedule_delivers_exactly_what_was_sent_and_ends_in_order(
        client_says in says(Just(Say::Fin)),
        backend_says in says(Just(Say::Fin)),
        client_takes in takes(),
        backend_takes in takes(),
        pipes in pipes(),
        // As after a first packet that was heard before the relay began.
        said in prop_oneof![Just(0), 1..4096_u64],
        order in prop::collection::vec(0..4_u8, 1..40),
    ) {
        let mut client = Fake::new(Side::Client, &client_says, &client_takes);
        let mut backend = Fake::new(Side::Backend, &backend_says, &backend_takes);

        let driven = driven_after(said, &mut client, &mut backend, pipes, &order);

        let Driven { relayed, totals } = driven.expect("a lost waker");
        let (up, down) = (bytes_in(&client_says), bytes_in(&backend_says));
        prop_assert!(client.taken() == sequence(Side::Backend, down), "down: {} of {down}", client.taken().len());
        prop_assert_eq!(relayed.down, said + u64::try_from(down).unwrap());
        prop_assert_eq!(totals.down_bytes, relayed.down - said);
        prop_assert_eq!(totals.up_bytes, relayed.up);
        prop_assert!(totals.spliced_bytes <= relayed.up + relayed.down);
        if relayed.down == 0 {
            // The client is left to whoever has something to say about it, unless it left first.
            let expected = matches!(relayed.end, End::Failed(Side::Backend, _) | End::Closed(Side::Client));
            prop_assert!(expected && !client.fin_seen(), "{relayed:?}");
        } else {
            prop_assert!(backend.taken() == sequence(Side::Client, up), "up: {} of {up}", backend.taken().len());
            prop_assert_eq!(relayed.up, u64::try_from(up).unwrap());
            prop_assert!(client.fin_seen() && backend.fin_seen());
            prop_assert!(matches!(relayed.end, End::Closed(_)), "{relayed:?}");
            prop_assert!(!relayed.client_open);
        }
        prop_assert!(pipes > 0 || totals.spliced_bytes == 0);
    }

    /// A reset ends the session, and what was said before it is delivered.
    #[test]
    fn what_a_side_said_before_it_failed_is_delivered(
        failing in prop_oneof![Just(Side::Client), Just(Side::Backend)],
        failing_says in says(Just(Say::Reset)),
        other_says in says(Just(Say::Nothing)),
        takes in takes(),
        pipes in pipes(),
        order in prop::collection::vec(0..4_u8, 1..40),
    ) {
        let mut failing_side = Fake::new(failing, &failing_says, &[]);
        let mut other = Fake::new(across(failing), &other_says, &takes);
        let driven = match failing {
            Side::Client => driven(&mut failing_side, &mut other, pipes, &order),
            Side::Backend => driven(&mut other, &mut failing_side, pipes, &order),
        };

        let end = driven.expect("a lost waker").relayed.end;
        prop_assert!(
            matches!(&end, End::Failed(side, error)
                if *side == failing && error.kind() == io::ErrorKind::ConnectionReset),
            "{end:?}"
        );
        let said = bytes_in(&failing_says);
        prop_assert!(other.taken() == sequence(failing, said), "{} of {said}", other.taken().len());
    }

    /// A side that takes no more may have said something before: a server's last words.
    #[test]
    fn a_side_that_takes_no_more_is_still_heard_out(
        broken in prop_oneof![Just(Side::Client), Just(Side::Backend)],
        mut broken_takes in takes(),
        broken_says in says(Just(Say::Fin)),
        pipes in pipes(),
        order in prop::collection::vec(0..4_u8, 1..40),
    ) {
        broken_takes.push(Take::Broken);
        let all = (0..broken_takes.len()).map(|_| Say::Bytes(70_000));
        let other_says: Vec<_> = all.chain([Say::Bytes(1)]).collect();
        let mut broken_side = Fake::new(broken, &broken_says, &broken_takes);
        let mut other = Fake::new(across(broken), &other_says, &[]);
        let driven = match broken {
            Side::Client => driven(&mut broken_side, &mut other, pipes, &order),
            Side::Backend => driven(&mut other, &mut broken_side, pipes, &order),
        };

        let end = driven.expect("a lost waker").relayed.end;
        let said = bytes_in(&broken_says);
        prop_assert!(other.taken() == sequence(broken, said), "{} of {said}", other.taken().len());
        // Which of the two is seen first, its end or its refusal, is the schedule's.
        let side = match &end { End::Closed(side) | End::Failed(side, _) => *side };
        prop_assert_eq!(side, broken);
    }

    #[test]
    fn a_direction_splices_only_while_it_is_busy(reads in prop::collection::vec(0..64_000_usize, 0..600)) {
        let mut gear = gear::Gear::default();
        let (mut busy, mut cool) = (0_u32, 0_u32);
        for bytes in reads {
            let was = gear.splices();
            if was { gear.spliced(bytes) } else { gear.copied(bytes) }
            (busy, cool) = if bytes >= BUSY_BYTES { (busy + 1, 0) } else { (0, cool + 1) };
            if !was {
                prop_assert_eq!(gear.splices(), busy >= u32::from(BUSY_READS));
            } else {
                prop_assert_eq!(gear.splices(), cool < u32::from(COOL_SPLICES));
            }
            if was && !gear.splices() {
                busy = 0;
            }
        }
    }
}

fn busy(reads: u8) -> Say {
    Say::Bytes(SCRATCH_BYTES * usize::from(reads))
}

#[test]
fn a_busy_direction_goes_up_to_splicing_and_back_when_it_cools() {
    let small = [Say::Bytes(100), Say::Nothing].repeat(usize::from(COOL_SPLICES));
    let says = [
        vec![busy(BUSY_READS), busy(8)],
        small,
        vec![Say::Bytes(100), Say::Fin],
    ]
    .concat();
    let (mut client, mut backend) = pair(&[Say::Fin], &says);

    let Driven { relayed, totals } = driven(&mut client, &mut backend, PLENTY, &[0]).unwrap();

    assert_eq!((totals.splice_upgrades, totals.splice_downgrades), (1, 1));
    let copied = SCRATCH_BYTES * usize::from(BUSY_READS) + 100;
    assert_eq!(
        relayed.down - totals.spliced_bytes,
        u64::try_from(copied).unwrap()
    );
}

#[test]
fn without_a_pipe_it_copies_on_and_asks_again_only_much_later() {
    let says = [
        busy(BUSY_READS),
        busy(REFUSED_READS - 1),
        Say::Nothing,
        Say::Fin,
    ];
    let (mut client, mut backend) = pair(&[Say::Fin], &says);

    let Driven { relayed, totals } = driven(&mut client, &mut backend, 0, &[0]).unwrap();

    assert_eq!(totals.pipes_refused, 1);
    assert_eq!((totals.splice_upgrades, totals.splice_downgrades), (0, 0));
    assert_eq!(totals.spliced_bytes, 0);
    assert!(client.taken() == sequence(Side::Backend, usize::try_from(relayed.down).unwrap()));
}

#[test]
fn one_pipe_serves_a_worker_as_long_as_nobody_stalls() {
    let says = [busy(100), Say::Nothing, busy(100), Say::Fin];
    let (mut client, mut backend) = pair(&says, &says);

    let Driven { totals, .. } = driven(&mut client, &mut backend, 1, &[0]).unwrap();

    assert_eq!((totals.pipes_refused, totals.splice_upgrades), (0, 2));
    assert!(totals.spliced_bytes > 0);
}

#[test]
fn silence_on_both_sides_waits() {
    let (mut client, mut backend) = (Fake::default(), Fake::default());
    assert!(driven(&mut client, &mut backend, PLENTY, &[0]).is_none());
}

/// Relays for as long as somebody has something to say, then lets `pause` pass, and so on. How
/// often a pause was survived, and the end.
async fn paused(client: &mut Fake, backend: &mut Fake, pause: Duration) -> (usize, End) {
    let (counters, mut scratch) = (Counters::default(), Scratch::default());
    let mut session = Session::after(0);
    let mut pauses = 0;
    loop {
        let now =
            poll_fn(|cx| Poll::Ready(session.poll(cx, client, backend, &mut scratch, &counters)));
        match now.await {
            Poll::Ready(relayed) => return (pauses, relayed.end),
            Poll::Pending => {
                backend.stir(true);
                tokio::time::advance(pause).await;
                pauses += 1;
            }
        }
        assert!(pauses < 1000, "no end");
    }
}

#[tokio::test(start_paused = true)]
async fn the_way_back_may_pause_but_not_for_longer_than_the_bound() {
    let says = [Say::Bytes(1), Say::Nothing].repeat(10);
    let (mut client, mut backend) = pair(&[Say::Fin], &says);
    let short = HALF_CLOSED_IDLE_MAX - Duration::from_secs(1);

    let (pauses, end) = paused(&mut client, &mut backend, short).await;

    // One for each byte, and two for what never comes.
    assert_eq!(pauses, 11);
    assert_eq!(end.kind(), "client_closed");
    assert_eq!(client.taken().len(), 10);

    let (mut client, mut backend) = pair(&[Say::Fin], &[Say::Bytes(1)]);
    let (pauses, _) = paused(&mut client, &mut backend, HALF_CLOSED_IDLE_MAX).await;
    assert_eq!(pauses, 1);
}

#[test]
fn an_end_is_named_by_side_and_manner() {
    let failed = |side, kind: io::ErrorKind| End::Failed(side, kind.into()).kind();
    assert_eq!(End::Closed(Side::Client).kind(), "client_closed");
    assert_eq!(End::Closed(Side::Backend).kind(), "backend_closed");
    assert_eq!(
        failed(Side::Client, io::ErrorKind::ConnectionReset),
        "client_reset"
    );
    assert_eq!(
        failed(Side::Backend, io::ErrorKind::BrokenPipe),
        "backend_reset"
    );
    assert_eq!(failed(Side::Client, io::ErrorKind::TimedOut), "client_lost");
    assert_eq!(
        failed(Side::Backend, io::ErrorKind::Other),
        "backend_failed"
    );
}
