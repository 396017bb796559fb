use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::*;
use crate::journal::ring::ROUTE_CHANGES_MAX;
use crate::routes::offer::tests::route;
use crate::routes::offer::{Offer, Provider};
use crate::routes::registry::Registry;

struct Reader {
    pieces: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
    places: Arc<Semaphore>,
}

fn reader(journal: &Arc<Journal>, last: Option<u64>) -> Reader {
    let (sender, pieces) = mpsc::channel(1);
    let (stop, places) = (CancellationToken::new(), Arc::new(Semaphore::new(1)));
    let place = Arc::clone(&places).try_acquire_owned().unwrap();
    let journal = Arc::clone(journal);
    tokio::spawn(feed(journal, last, sender, place, stop.clone()));
    Reader {
        pieces,
        stop,
        places,
    }
}

impl Reader {
    async fn piece(&mut self) -> String {
        let piece = timeout(HEARTBEAT * 2, self.pieces.recv()).await.unwrap();
        String::from_utf8(piece.unwrap().to_vec()).unwrap()
    }

    /// The next piece that is no sign of life.
    async fn events(&mut self) -> String {
        loop {
            let piece = self.piece().await;
            if !piece.starts_with(':') {
                return piece;
            }
        }
    }
}

/// The ids of a piece, in order.
fn ids(piece: &str) -> Vec<u64> {
    let ids = piece.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| id.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_hears_something_every_15_s_and_what_happens_at_once() {
    let journal = Arc::<Journal>::default();
    let mut reader = reader(&journal, None);
    let ready = reader.piece().await;
    assert!(ready.contains("event: ready\n"), "{ready}");
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(reader.piece().await, ":\n\n");
        assert_eq!(begin.elapsed(), HEARTBEAT);
    }
    let begin = Instant::now();
    journal.sync(true);
    let piece = reader.piece().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(piece.contains("event: sync\ndata: {"), "{piece}");
    assert_eq!(ids(&piece), [ids(&ready)[0] + 1]);
    assert!(piece.ends_with("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
    let journal = Arc::<Journal>::default();
    let registry = Registry::default();
    let mut reader = reader(&journal, None);
    let ready = ids(&reader.piece().await)[0];
    let count = 3 * ROUTE_CHANGES_MAX;
    for number in 0..count {
        let route = route("a", "a.example", &format!("h:{}", number + 1));
        let changes = registry.replace(Provider::Postgres, vec![Offer::from(route)]);
        journal.routes(Provider::Postgres, &changes);
        // The reader's task gets its turn, and waits with one piece in the channel.
        tokio::task::yield_now().await;
    }
    let (mut heard, mut lagged) = (Vec::new(), 0);
    while heard.last() != Some(&(ready + u64::try_from(count).unwrap())) {
        let piece = reader.events().await;
        lagged += piece.matches("event: lagged\n").count();
        let ids = ids(&piece);
        assert!(ids.len() <= EVENTS_MAX, "{}", ids.len());
        heard.extend(ids);
    }
    assert!(heard.is_sorted_by(|a, b| a < b));
    assert!(
        heard.len() >= ROUTE_CHANGES_MAX && heard.len() < count,
        "{}",
        heard.len()
    );
    assert!(lagged >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_after_the_event_it_heard_last() {
    let journal = Arc::<Journal>::default();
    (0..4).for_each(|_| journal.sync(true));
    let newest = *journal.follow().borrow();
    let mut goes_on = reader(&journal, Some(newest - 2));
    assert_eq!(ids(&goes_on.piece().await), [newest - 2]);
    assert_eq!(ids(&goes_on.piece().await), [newest - 1, newest]);
    // From before this process, or from another one's future.
    for last in [1, newest + 1_000] {
        let mut lost = reader(&journal, Some(last));
        lost.piece().await;
        let piece = lost.piece().await;
        assert!(piece.starts_with("event: lagged\ndata: {"), "{piece}");
        assert_eq!(ids(&piece).len(), 4, "{piece}");
        assert_eq!(lost.piece().await, ":\n\n", "told once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_and_a_router_that_stops_end_it() {
    let journal = Arc::<Journal>::default();
    let mut stays = reader(&journal, None);
    let leaves = reader(&journal, None);
    stays.piece().await;
    stays.stop.cancel();
    assert_eq!(stays.pieces.recv().await, None);
    let _place = stays.places.acquire().await.unwrap();

    let places = Arc::clone(&leaves.places);
    drop(leaves);
    let _place = timeout(HEARTBEAT / 2, places.acquire())
        .await
        .unwrap()
        .unwrap();
}
