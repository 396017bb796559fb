use super::*;
use crate::routes::registry::Registry;
use proptest::prelude::*;

fn seen(name: &str, labels: &[(&str, &str)]) -> Seen {
    let label = |(name, value): &(&str, &str)| (format!("mc-router.{name}"), (*value).to_owned());
    Seen {
        name: name.to_owned(),
        labels: labels.iter().map(label).collect(),
        life: Life::Running,
        networks: vec![network("bridge", "172.17.0.2")],
        ports: Vec::new(),
    }
}

fn network(name: &str, ipv4: &str) -> Network {
    Network {
        name: name.to_owned(),
        id: format!("{name:0<64}"),
        ipv4: ipv4.to_owned(),
        ..Network::default()
    }
}

fn defaults(up: bool, down: bool) -> Defaults {
    Defaults {
        up,
        down,
        names: Names::default(),
        policy: Arc::default(),
    }
}

/// Every route that is offered, and what is wrong.
fn told(offers: Vec<Offer>) -> (Vec<Arc<Route>>, Vec<String>) {
    let (mut routes, mut wrong) = (Vec::new(), Vec::new());
    for Offer { outcome, ignored } in offers {
        wrong.extend(
            ignored
                .iter()
                .map(|one| format!("{}: {}", one.column, one.reason)),
        );
        match outcome {
            Ok(route) => routes.push(route),
            Err(excluded) => wrong.push(format!("not routed: {}", excluded.reason)),
        }
    }
    (routes, wrong)
}

/// `host → backend (container, state)`, and what is wrong.
fn one(container: Seen) -> (Vec<String>, Vec<String>) {
    let (routes, wrong) = told(offers(vec![container], &defaults(false, false)));
    let lines = routes.iter().flat_map(|route| {
        let (backend, name) = (&route.backend, route.server_name().unwrap());
        let hosts = route.hosts().map(|host| host.map_or("", Host::as_str));
        let line = |host| format!("{host} → {backend} ({name}, {:?})", route.state);
        hosts.map(line).collect::<Vec<_>>()
    });
    (lines.collect(), wrong)
}

fn route(container: Seen, defaults: &Defaults) -> Arc<Route> {
    let (mut routes, wrong) = told(offers(vec![container], defaults));
    assert_eq!(wrong, [""; 0]);
    routes.remove(0)
}

#[test]
fn one_container_may_have_many_hosts_and_the_default() {
    let hosts = " A.Example.,b.example\n*.c.example,,a.example";
    let container = seen("lobby", &[("host", hosts), ("default", "t")]);
    let (lines, wrong) = one(container.clone());
    let led = |host: &str| format!("{host} → 172.17.0.2:25565 (lobby, Running)");
    assert_eq!(
        lines,
        ["", "a.example", "b.example", "*.c.example"].map(led)
    );
    assert_eq!(wrong, [""; 0]);
    let (routes, _) = told(offers(vec![container], &defaults(false, false)));
    let [default, own] = routes.as_slice() else {
        panic!("{routes:?}")
    };
    assert_ne!(default.name, own.name);
    assert_eq!(default.key(), own.key(), "one server");
    assert_eq!(default.key_str(), &*own.key());
    let (lines, _) = one(seen("lobby", &[("host", "-,"), ("default", "true")]));
    assert_eq!(lines.len(), 2, "{lines:?}");
    let (lines, _) = one(seen("lobby", &[("host", ","), ("default", "true")]));
    assert_eq!(lines, [led("")]);
}

#[test]
fn what_is_no_server_of_ours_is_passed_over_in_silence() {
    for labels in [&[][..], &[("port", "1")], &[("hosts", "a.example")]] {
        assert_eq!(one(seen("other", labels)), (vec![], vec![]));
    }
}

#[test]
fn a_label_that_is_wrong_and_can_be_done_without_is_told_and_one_that_cannot_takes_the_route_away()
{
    let labels = [
        ("host", "a.example,b example"),
        ("default", "perhaps"),
        ("auto-scale-up", "x"),
        ("auto-scale-wait-timeout", "soon"),
        ("autoscale-up", "true"),
    ];
    let (routes, problems) = one(seen("lobby", &labels));
    assert_eq!(routes.len(), 1);
    for named in [
        "b example",
        ".default",
        ".auto-scale-up",
        "wait-timeout",
        ".autoscale-up",
    ] {
        assert!(
            problems.iter().any(|problem| problem.contains(named)),
            "{named}: {problems:?}"
        );
    }
    for (labels, reason) in [
        (&[("host", "b example")][..], "no usable host name"),
        (&[("host", "a.example"), ("port", "0")], "port"),
        (&[("host", "a.example"), ("port", "65536")], "port"),
        (&[("host", "a.example"), ("network", "nowhere")], "nowhere"),
    ] {
        let (routes, problems) = one(seen("lobby", labels));
        assert_eq!(routes, [""; 0]);
        let last = problems.last().unwrap();
        assert!(
            last.contains("not routed") && last.contains(reason),
            "{problems:?}"
        );
    }
}

/// mc-router looks at the flag alone where a container does not run.
#[test]
fn a_container_that_does_not_run_has_a_route_where_it_may_be_started_and_the_label_wins() {
    let states = [
        (Life::Stopped, Some(StateHint::Stopped)),
        (Life::Paused, Some(StateHint::Stopped)),
        (Life::Restarting, Some(StateHint::Starting)),
        (Life::Stopping, Some(StateHint::Stopping)),
        (Life::Running, Some(StateHint::Running)),
        (Life::Gone, None),
    ];
    for (life, state) in states {
        for (flag, label) in [
            (true, None),
            (false, None),
            (true, Some("false")),
            (false, Some("TRUE")),
        ] {
            let mut labels = vec![("host", "a.example")];
            labels.extend(label.map(|label| ("auto-scale-up", label)));
            let container = Seen {
                life,
                ..seen("lobby", &labels)
            };
            let (routes, _) = told(offers(vec![container], &defaults(flag, false)));
            let up = label.map_or(flag, |label| label == "TRUE");
            let expected = state.filter(|state| up || *state == StateHint::Running);
            let found = routes.first().map(|route| route.state);
            assert_eq!(found, expected, "{life:?} {flag} {label:?}");
        }
    }
}

#[test]
fn what_sleeps_has_the_engines_name_for_an_address() {
    let labels = [
        ("host", "a.example"),
        ("auto-scale-up", "1"),
        ("port", "4000"),
    ];
    let asleep = Seen {
        life: Life::Stopped,
        networks: vec![network("bridge", "")],
        ..seen("lobby", &labels)
    };
    assert_eq!(one(asleep).0, ["a.example → lobby:4000 (lobby, Stopped)"]);
    let running = Seen {
        networks: vec![network("bridge", "")],
        ..seen("lobby", &labels)
    };
    assert!(one(running).1[0].contains("no address"));
}

#[test]
fn a_network_is_named_by_name_identifier_or_alias_and_must_be_where_there_are_several() {
    let mut both = seen("lobby", &[("host", "a.example")]);
    let alias = Network {
        aliases: vec!["inside".to_owned()],
        ..network("back", "10.0.0.9")
    };
    both.networks = vec![network("front", "10.1.0.9"), alias];
    let problem = &one(both.clone()).1[0];
    assert!(
        problem.contains(r#"("back", "front")"#) && problem.contains("mc-router.network"),
        "{problem}"
    );
    for (named, address) in [
        ("front", Some("10.1.0.9")),
        ("back", Some("10.0.0.9")),
        (" back ", Some("10.0.0.9")),
        ("inside", Some("10.0.0.9")),
        ("back00000000", Some("10.0.0.9")),
        ("back0000000", None),
        ("other", None),
    ] {
        both.labels
            .insert("mc-router.network".to_owned(), named.to_owned());
        let (routes, _) = one(both.clone());
        let expected =
            address.map(|address| format!("a.example → {address}:25565 (lobby, Running)"));
        assert_eq!(routes.first(), expected.as_ref(), "{named}");
        assert_eq!(both.lacks_aliases(), address.is_none(), "{named}");
    }
    for network in ["host", "none"] {
        let mut alone = seen("lobby", &[("host", "a.example"), ("auto-scale-up", "1")]);
        (alone.networks[0].name, alone.life) = (network.to_owned(), Life::Stopped);
        assert!(one(alone).1[0].contains("no address of its own"));
    }
}

#[test]
fn ipv4_comes_before_ipv6() {
    let mut container = seen("lobby", &[("host", "a.example")]);
    container.networks[0].ipv6 = "fd00::2".to_owned();
    assert_eq!(
        one(container.clone()).0,
        ["a.example → 172.17.0.2:25565 (lobby, Running)"]
    );
    container.networks[0].ipv4 = "invalid IP".to_owned();
    assert_eq!(
        one(container).0,
        ["a.example → [fd00::2]:25565 (lobby, Running)"]
    );
}

#[test]
fn the_port_is_the_labels_else_minecrafts_unless_the_only_exposed_one_is_another() {
    for (label, ports, expected) in [
        (None, &[][..], 25565),
        (None, &[25565, 25575], 25565),
        (None, &[4000], 4000),
        (None, &[4000, 4000], 4000),
        (None, &[4000, 4001], 25565),
        (Some("5000"), &[4000], 5000),
        (Some(" 5000 "), &[], 5000),
        (Some(""), &[4000], 4000),
    ] {
        let mut labels = vec![("host", "a.example")];
        labels.extend(label.map(|label| ("port", label)));
        let container = Seen {
            ports: ports.to_vec(),
            ..seen("lobby", &labels)
        };
        let expected = format!("a.example → 172.17.0.2:{expected} (lobby, Running)");
        assert_eq!(one(container).0, [expected], "{label:?} {ports:?}");
    }
}

#[test]
fn of_two_for_one_host_the_first_by_name_wins_in_whatever_order_they_come() {
    let mut both = [
        seen("b", &[("host", "a.example,b.example"), ("default", "true")]),
        seen("a", &[("host", "a.example"), ("default", "true")]),
    ];
    for _ in 0..2 {
        let registry = Registry::default();
        let offers = offers(both.to_vec(), &defaults(false, false));
        let changes = registry.replace(Provider::Docker, offers);
        let leads = |host: &str| {
            let table = registry.table();
            table
                .lookup(host)
                .unwrap()
                .server_name()
                .unwrap()
                .to_owned()
        };
        let found = ["a.example", "b.example", "x.example"].map(leads);
        assert_eq!(found, ["a", "b", "a"]);
        let mut shadowed: Vec<_> = changes.shadowed.iter().map(ToString::to_string).collect();
        shadowed.sort();
        let taken = |what: &str, by: &str| format!("{what} taken by {by:?}, first by name");
        let expected = [
            taken("its domain a.example is", "docker/a"),
            taken("the default is", "docker/a/default"),
        ];
        assert_eq!(shadowed, expected);
        both.reverse();
    }
}

#[test]
fn scaling_and_texts_are_the_labels_over_what_stands_for_all() {
    let labels = [
        ("host", "a.example"),
        ("auto-scale-down", "false"),
        ("auto-scale-wait-timeout", "2m"),
        ("auto-scale-loading-motd", "up in {duration}\\nor not"),
    ];
    let defaults = defaults(true, true);
    let own = route(seen("lobby", &labels), &defaults);
    let container = own.container().unwrap();
    assert_eq!((container.up, container.down), (true, false));
    assert_eq!(container.wait, Some(Duration::from_secs(120)));
    let fields = crate::texts::Fields {
        eta: Some(Duration::from_secs(7)),
        ..Default::default()
    };
    let shown = |text| own.policy.texts.render(text, None, &fields).to_legacy();
    assert_eq!(shown(Text::Starting), "up in 7 s\nor not");
    let below = defaults
        .policy
        .texts
        .render(Text::Asleep, None, &fields)
        .to_legacy();
    assert_eq!(shown(Text::Asleep), below);

    let plain = route(seen("lobby", &[("host", "a.example")]), &defaults);
    assert!(
        Arc::ptr_eq(&plain.policy, &defaults.policy),
        "nothing is kept twice"
    );
    assert!(plain.container().unwrap().down);
}

#[test]
fn hosts_and_containers_have_a_limit() {
    let hosts: Vec<_> = (0..=HOSTS_MAX)
        .map(|number| format!("h{number}.example"))
        .collect();
    let (lines, wrong) = one(seen("lobby", &[("host", &hosts.join(","))]));
    assert_eq!((lines.len(), wrong.len()), (HOSTS_MAX, 1));
    let wrong = "b c,".repeat(10_000);
    let (_, wrong) = one(seen("lobby", &[("host", &wrong)]));
    assert_eq!(wrong.len(), WRONG_HOSTS_MAX + 1);
    let many = (0..=CONTAINERS_MAX).map(|number| {
        let host = format!("h{number}.example");
        seen(&format!("c{number:05}"), &[("host", &host)])
    });
    let offered = offers(many.collect(), &defaults(false, false));
    assert_eq!(offered.len(), CONTAINERS_MAX);
}

const LABELS: &[&str] = &[
    HOST,
    PORT,
    NETWORK,
    DEFAULT,
    UP,
    DOWN,
    WAIT,
    TEXTS[0].0,
    TEXTS[1].0,
    TEXTS[2].0,
    "mc-router.x",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z.,\n ]{0,40}",
        "[0-9]{0,7}",
        Just("a.*.example".to_owned()),
        Just("true".to_owned()),
        Just("1h".to_owned()),
        Just("net".to_owned()),
    ]
}

fn any_container() -> impl Strategy<Value = Seen> {
    let labels = proptest::collection::hash_map(
        proptest::sample::select(LABELS).prop_map(str::to_owned),
        any_text(),
        0..8,
    );
    let network = (any_text(), any_text(), any_text(), any_text());
    let networks = proptest::collection::vec(network, 0..3);
    let life = proptest::sample::select(vec![
        Life::Running,
        Life::Paused,
        Life::Restarting,
        Life::Stopped,
        Life::Gone,
    ]);
    (
        any_text(),
        labels,
        networks,
        life,
        proptest::collection::vec(any::<u16>(), 0..3),
    )
        .prop_map(|(name, labels, networks, life, ports)| Seen {
            name,
            labels,
            life,
            networks: networks
                .into_iter()
                .map(|(name, id, ipv4, ipv6)| Network {
                    name,
                    id,
                    ipv4,
                    ipv6,
                    aliases: vec![],
                })
                .collect(),
            ports,
        })
}

proptest! {
    /// Labels are whatever somebody writes.
    #[test]
    fn no_labels_panic_and_every_route_is_one(
        containers in proptest::collection::vec(any_container(), 0..4),
        up in any::<bool>(),
    ) {
        let mut back = containers.clone();
        back.reverse();
        let names: std::collections::HashSet<_> = back.iter().map(|one| &one.name).collect();
        let alike = names.len() == containers.len();
        let defaults = defaults(up, up);
        let offered = offers(containers, &defaults);
        if alike {
            prop_assert_eq!(&offers(back, &defaults), &offered);
        }
        let (routes, wrong) = told(offered);
        for route in &routes {
            prop_assert!(route.hosts().count() <= HOSTS_MAX);
            prop_assert!(BackendAddr::parse(route.backend.as_str()).is_ok());
            let container = route.container().unwrap();
            prop_assert!(container.up || route.state == StateHint::Running);
        }
        for one in &wrong {
            prop_assert!(one.chars().count() < 20 * QUOTED_CHARS_MAX, "{}", one.len());
        }
    }
}
