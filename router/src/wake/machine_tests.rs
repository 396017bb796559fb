use super::*;
use crate::wake::simulated::*;
use crate::wake::starting::START_RETRY_PAUSE;
use crate::wake::wanted::STATUS_WINDOW;
use proptest::prelude::*;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn the_first_poll_follows_the_start_at_once_and_the_polled_address_is_the_outcome() {
    let polls = [PollReply::NotYet.into(), running(POLLED)];
    let story = World {
        polls: polls.map(at_once).to_vec(),
        probes: vec![
            at_once(ProbeReply::Refused),
            at_once(ProbeReply::Refused),
            at_once(ProbeReply::Refused),
            at_once(ProbeReply::Refused),
            at_once(ProbeReply::Refused),
            at_once(ProbeReply::Answered),
        ],
        ..World::default()
    }
    .play();

    assert_eq!(story.polls[0].0, Duration::ZERO);
    assert_eq!(story.polls.len(), 2);
    let ready = story.ready();
    assert_eq!((&ready.address, ready.sign), (&address(POLLED), Sign::Poll));
    assert_eq!(story.probes.last().unwrap().1, address(POLLED));
}

#[test]
fn a_server_that_never_runs_times_out_in_the_contracts_words() {
    let story = World::default().play();

    assert_eq!(story.end, LIMITS.timeout);
    assert!(story.polls.len() >= 45, "{}", story.polls.len());
    let error = story.outcome().as_ref().unwrap_err().to_string();
    assert_eq!(error, "waker timeout for test1 after 1m30s");
}

#[test]
fn what_has_no_answer_at_the_deadline_is_named() {
    let story = World {
        polls: vec![(secs(3600), PollReply::NotYet.into())],
        ..World::default()
    }
    .play();
    let error = story.outcome().as_ref().unwrap_err().to_string();
    assert!(
        error.ends_with("(last poll: no answer within 1m30s)"),
        "{error}"
    );
}

#[test]
fn denial_ends_it_at_once_and_breakage_after_one_retry() {
    let starting = |starts: &[StartReply]| World {
        starts: starts.iter().cloned().map(at_once).collect(),
        ..World::default()
    };
    let denied = starting(&[StartReply::Denied(404)]).play();
    assert_eq!((denied.starts.len(), denied.end), (1, Duration::ZERO));

    let broke = StartReply::Broken("x".to_owned());
    let broken = starting(std::slice::from_ref(&broke)).play();
    assert_eq!((broken.starts.len(), broken.end), (2, START_RETRY_PAUSE));
    assert_eq!(broken.outcome(), &Err(WakeError::Broken("x".to_owned())));

    let recovered = World {
        polls: vec![at_once(PollReply::Running(None).into())],
        probes: vec![at_once(ProbeReply::Answered)],
        ..starting(&[broke, StartReply::Accepted])
    }
    .play();
    assert_eq!(recovered.ready().address, address(ROW));
}

#[test]
fn the_tables_word_is_heard_at_once_and_then_the_address_has_to_answer() {
    let story = World {
        news: vec![
            (secs(1), StateHint::Starting, ROW),
            (secs(5), StateHint::Running, MOVED),
        ],
        probes: vec![(Duration::from_millis(400), ProbeReply::Answered)],
        ..World::default()
    }
    .play();

    let ready = story.ready();
    assert_eq!((&ready.address, ready.sign), (&address(MOVED), Sign::Table));
    assert_eq!(ready.took, secs(5) + Duration::from_millis(400));
}

#[test]
fn a_row_that_said_running_all_along_says_nothing_new() {
    let mut world = World {
        news: vec![(secs(1), StateHint::Running, ROW)],
        ..World::default()
    };
    world.wanted.state = StateHint::Running;
    let story = world.play();
    assert_eq!(story.end, LIMITS.timeout);

    // Unless it says so of another address, or has said otherwise in between.
    let moved = (secs(1), StateHint::Running, MOVED);
    let again = [
        (secs(1), StateHint::Starting, ROW),
        (secs(2), StateHint::Running, ROW),
    ];
    for news in [vec![moved], again.to_vec()] {
        let late = World {
            news,
            probes: vec![(secs(3), ProbeReply::Answered)],
            ..world.clone()
        };
        assert_eq!(late.play().ready().sign, Sign::Table);
    }
}

#[test]
fn an_address_that_begins_to_answer_ends_it_without_any_poll_or_news() {
    let refused = std::iter::repeat_n(at_once(ProbeReply::Refused), 50);
    let story = World {
        starts: vec![(secs(3600), StartReply::Accepted)],
        connects: false,
        probes: refused.chain([at_once(ProbeReply::Answered)]).collect(),
        ..World::default()
    }
    .play();

    let ready = story.ready();
    assert_eq!((&ready.address, ready.sign), (&address(ROW), Sign::Probe));
    assert!(ready.took < secs(3), "{:?}", ready.took);
    assert_eq!(story.polls, []);
}

#[test]
fn a_server_that_is_up_before_the_first_probe_is_noticed_where_its_port_was_just_shut() {
    let world = |shut: Option<Instant>| World {
        wanted: Wanted { shut, ..wanted() },
        probes: vec![at_once(ProbeReply::Answered)],
        ..World::default()
    };
    let story = world(Some(Instant::now())).play();
    assert_eq!(
        (story.ready().sign, story.end),
        (Sign::Probe, Duration::ZERO)
    );
    world(None).play().outcome().as_ref().unwrap_err();
}

#[test]
fn the_server_manager_corrects_the_tables_address_if_nobody_is_there() {
    let story = World {
        news: vec![(secs(10), StateHint::Running, ROW)],
        polls: std::iter::repeat_n(at_once(PollReply::NotYet.into()), 12)
            .chain([at_once(running(POLLED))])
            .collect(),
        probes: std::iter::repeat_n(at_once(ProbeReply::Refused), 500)
            .chain([at_once(ProbeReply::Answered)])
            .collect(),
        ..World::default()
    }
    .play();
    let ready = story.ready();
    assert_eq!(
        (&ready.address, ready.sign),
        (&address(POLLED), Sign::Table)
    );
}

#[test]
fn past_the_deadline_no_new_window_begins() {
    let story = World {
        news: vec![
            (secs(89), StateHint::Running, ROW),
            (secs(92), StateHint::Running, MOVED),
        ],
        ..World::default()
    }
    .play();
    assert_eq!(story.end, secs(89) + READY_WINDOW);
}

#[test]
fn a_port_that_opens_without_a_status_is_ready_after_the_window_and_one_that_stays_shut_is_not() {
    let of = |reply| World {
        polls: vec![at_once(running(POLLED))],
        probes: vec![at_once(reply)],
        ..World::default()
    };
    for reply in [ProbeReply::Closed, ProbeReply::Mute] {
        let story = of(reply).play();
        assert_eq!(
            (story.end, &story.ready().address),
            (READY_WINDOW, &address(POLLED))
        );
    }
    // The probes did not get that far, and prove nothing.
    let unknown = of(ProbeReply::Unknown).play();
    assert_eq!(
        (unknown.end, unknown.ready().sign),
        (LIMITS.timeout, Sign::Poll)
    );
    for reply in [ProbeReply::Refused, ProbeReply::Silent, ProbeReply::NoName] {
        let story = of(reply).play();
        assert_eq!(story.end, LIMITS.timeout, "{reply:?}");
        let error = story.outcome().as_ref().unwrap_err();
        assert!(matches!(error, WakeError::NotReady { .. }), "{error}");
    }
}

#[test]
fn a_port_that_opens_before_a_server_known_to_show_its_status_is_not_taken_for_it() {
    // Container engines open published ports before anybody listens behind them.
    let boot = std::iter::repeat_n(at_once(ProbeReply::Closed), 32);
    let world = |answers: bool, expected| World {
        wanted: Wanted {
            shows_status: true,
            expected,
            ..wanted()
        },
        polls: vec![at_once(running(ROW))],
        probes: boot
            .clone()
            .chain(answers.then_some(at_once(ProbeReply::Answered)))
            .collect(),
        ..World::default()
    };
    let story = world(true, None).play();
    assert!(story.end > READY_WINDOW * 2 && story.end < LIMITS.timeout);
    story.ready();
    // Somebody may have switched it off.
    for (expected, end) in [
        (None, STATUS_WINDOW),
        (Some(secs(20)), secs(40)),
        (Some(secs(50)), LIMITS.timeout),
    ] {
        let story = world(false, expected).play();
        assert_eq!(story.end, end, "{expected:?}");
        story.ready();
    }
}

#[test]
fn a_server_that_ends_between_running_and_ready_ends_the_wake() {
    let story = World {
        polls: vec![
            at_once(running(POLLED)),
            at_once(PollReply::Failed("crashed".to_owned()).into()),
        ],
        probes: vec![at_once(ProbeReply::Refused)],
        ..World::default()
    }
    .play();
    let error = story.outcome().as_ref().unwrap_err();
    assert_eq!(error, &WakeError::Failed("crashed".to_owned()));
    assert!(story.end <= READY_WINDOW + POLL_INTERVAL);
}

#[test]
fn a_ready_server_is_given_time_to_settle_but_not_past_the_deadline() {
    let world = |settle| {
        let mut world = World {
            polls: vec![at_once(running(POLLED))],
            probes: vec![at_once(ProbeReply::Answered)],
            ..World::default()
        };
        world.wanted.settle = settle;
        world.play()
    };
    let story = world(secs(7));
    assert_eq!((story.end, story.ready().took), (secs(7), Duration::ZERO));
    let story = world(secs(1000));
    assert_eq!(
        (story.end, story.ready().sign),
        (LIMITS.timeout, Sign::Poll)
    );
}

fn took() -> impl Strategy<Value = Duration> {
    (0_u64..12_000).prop_map(Duration::from_millis)
}

fn starts() -> impl Strategy<Value = Vec<Answer<StartReply>>> {
    let reply = prop_oneof![
        4 => Just(StartReply::Accepted),
        1 => (300_u16..500).prop_map(StartReply::Denied),
        2 => Just(StartReply::Broken("broken".to_owned())),
    ];
    proptest::collection::vec((took(), reply), 1..3)
}

fn polls() -> impl Strategy<Value = Vec<Answer<Polled>>> {
    let reply = prop_oneof![
        8 => Just(PollReply::NotYet),
        4 => Just(PollReply::Broken("broken".to_owned())),
        1 => Just(PollReply::Running(Some(address(POLLED)))),
        1 => Just(PollReply::Running(None)),
        1 => Just(PollReply::Failed("crashed".to_owned())),
        1 => Just(PollReply::Denied(404)),
    ];
    let offer = proptest::option::of((0_u64..40).prop_map(Duration::from_secs));
    let polled = (reply, offer).prop_map(|(reply, max_wait)| Polled {
        max_wait,
        ..reply.into()
    });
    proptest::collection::vec((took(), polled), 1..40)
}

fn probes() -> impl Strategy<Value = Vec<Answer<ProbeReply>>> {
    let reply = prop_oneof![
        4 => Just(ProbeReply::Refused),
        1 => Just(ProbeReply::Answered),
        1 => Just(ProbeReply::Closed),
        1 => Just(ProbeReply::Mute),
        1 => Just(ProbeReply::Silent),
        1 => Just(ProbeReply::Unknown),
        1 => Just(ProbeReply::NoName),
    ];
    let took = (0_u64..2_000).prop_map(Duration::from_millis);
    proptest::collection::vec((took, reply), 1..40)
}

prop_compose! {
    fn news()(
        mut news in proptest::collection::vec(
            (0_u64..60_000, prop_oneof![
                Just(StateHint::Running), Just(StateHint::Starting), Just(StateHint::Stopped),
            ], prop_oneof![4 => Just(ROW), 1 => Just(MOVED)]),
            0..5,
        )
    ) -> Vec<(Duration, StateHint, &'static str)> {
        news.sort_by_key(|(at, ..)| *at);
        news.into_iter().map(|(at, state, text)| (Duration::from_millis(at), state, text)).collect()
    }
}

prop_compose! {
    pub(super) fn worlds()(
        interval in 100_u64..10_000,
        timeout in 1_u64..90_000,
        settle in prop_oneof![Just(0), 0_u64..20_000],
        expected in proptest::option::of(0_u64..90_000),
        running_row in any::<bool>(), connects in any::<bool>(),
        starts in starts(), polls in polls(), probes in probes(), news in news(),
    ) -> World {
        let mut wanted = wanted();
        wanted.settle = Duration::from_millis(settle);
        wanted.expected = expected.map(Duration::from_millis);
        if running_row {
            wanted.state = StateHint::Running;
        }
        let limits = Limits {
            poll_interval: Some(Duration::from_millis(interval)),
            timeout: Duration::from_millis(timeout),
        };
        World { wanted, limits, starts, connects, polls, probes, news }
    }
}

proptest! {
    #[test]
    fn every_wake_ends_by_its_deadline(world in worlds()) {
        let story = world.play();
        prop_assert!(story.end <= world.limits.timeout + READY_WINDOW);
        // Only what was told to run before the deadline may be later.
        if let Err(WakeError::TimedOut { .. }) = story.outcome() {
            prop_assert_eq!(story.end, world.limits.timeout);
        }
    }

    #[test]
    fn a_start_is_sent_once_and_again_only_after_it_broke(world in worlds()) {
        let story = world.play();
        let broke = matches!(world.starts[0].1, StartReply::Broken(_));
        let most = if broke { 2 } else { 1 };
        prop_assert!((1..=most).contains(&story.starts.len()));
    }

    #[test]
    fn polls_keep_between_the_floor_and_the_interval(world in worlds()) {
        let story = world.play();
        let interval = world.limits.poll_interval.unwrap();
        let floor = crate::wake::polling::POLL_FLOOR.min(interval);
        for (index, pair) in story.polls.windows(2).enumerate() {
            let (sent, answered) = pair[0];
            prop_assert!(pair[1].0 - sent >= floor);
            // Once it is told to run, its port is what is asked for a while.
            let (_, polled) = &world.polls[index.min(world.polls.len() - 1)];
            let is_told = matches!(polled.reply, PollReply::Running(_));
            let rest = if is_told { READY_WINDOW } else { Duration::ZERO };
            prop_assert!(pair[1].0 <= (answered + rest).max(sent + interval));
        }
    }

    #[test]
    fn an_address_that_always_answered_proves_nothing(world in worlds(), took in took()) {
        let world = World {
            probes: vec![(took, ProbeReply::Answered)],
            news: vec![],
            ..world
        };
        if let Ok(ready) = world.play().outcome() {
            prop_assert_eq!(ready.sign, Sign::Poll);
        }
    }

    #[test]
    fn a_probe_ends_a_wake_only_after_one_that_found_nobody(world in worlds()) {
        let story = world.play();
        if let Ok(Ready { sign: Sign::Probe, address: found, .. }) = story.outcome() {
            let last = story.seen.len() - 1;
            prop_assert_eq!(story.seen[last].1, ProbeReply::Answered);
            let gone = |reply: &ProbeReply| {
                !matches!(reply, ProbeReply::Answered | ProbeReply::Unknown)
            };
            prop_assert!(story.seen[..last].iter().any(|(_, reply)| gone(reply)));
            prop_assert!(*found == address(ROW) || *found == address(MOVED));
        }
    }

    #[test]
    fn nobody_is_let_in_before_the_server_has_settled(world in worlds()) {
        let story = world.play();
        if let Ok(ready) = story.outcome() {
            let settled = ready.took + world.wanted.settle;
            prop_assert_eq!(story.end, settled.min(world.limits.timeout.max(ready.took)));
        }
    }

    /// Whatever came back, a server that hears of probes hears of few.
    #[test]
    fn no_second_of_a_start_has_more_than_a_handful_of_probes_that_are_heard(world in worlds()) {
        let story = world.play();
        let heard = story.seen.iter().filter(|(_, reply)| reply.is_open());
        let heard: Vec<_> = heard.map(|(at, _)| *at).collect();
        let told = 1 + world.news.len() + story.polls.len().min(2);
        for (number, at) in heard.iter().enumerate() {
            let within = heard[number..].iter().take_while(|other| **other < *at + secs(1));
            prop_assert!(within.count() <= 5 + told, "{heard:?}");
        }
    }

    #[test]
    fn an_address_is_the_one_that_was_told_or_the_rows(world in worlds()) {
        let story = world.play();
        if let Ok(ready) = story.outcome() {
            let known = [ROW, MOVED, POLLED].map(address);
            prop_assert!(known.contains(&ready.address));
            if ready.sign == Sign::Poll {
                let told = world.polls.iter().any(|(_, polled)| {
                    polled.reply == PollReply::Running(Some(ready.address.clone()))
                        || polled.reply == PollReply::Running(None)
                });
                prop_assert!(told);
            }
            // It took its word: it answered, or at least let somebody in.
            prop_assert!(story.probes.iter().any(|(_, asked)| *asked == ready.address));
            // Or it could not be asked.
            let taken = |reply: ProbeReply| reply.is_open() || reply == ProbeReply::Unknown;
            prop_assert!(story.seen.iter().any(|(_, reply)| taken(*reply)));
        }
    }
}
