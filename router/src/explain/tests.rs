use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::addr::BackendAddr;
use crate::config::AdmitConfig;
use crate::health::Reading;
use crate::health::ladder::Status;
use crate::host::{Host, Names};
use crate::networks::Networks;
use crate::rate::Rate;
use crate::routes::offer::{Excluded, Offer, Provider, Reason};
use crate::routes::policy::{Join, Policy};
use crate::routes::pool::Pool;
use crate::routes::{Route, StateHint};
use crate::servers::Starters;
use crate::servers::entry::Entry;
use crate::servers::state::Signal;
use crate::wake::permit::{Player, WakeRules};

const MANAGER: Starters = Starters {
    manager: true,
    webhook: false,
};

fn route(provider: Provider, name: &str, hosts: &[&str], backend: &str) -> Route {
    let mut hosts = hosts.iter().map(|host| Host::parse(host).unwrap());
    let backend = BackendAddr::template(backend, 9).unwrap();
    let first = hosts.next();
    let route = Route {
        provider,
        managed: provider == Provider::Postgres,
        ..Route::fixed(first, backend, Arc::default())
    };
    route.named(name).with_aliases(hosts.collect())
}

fn row(name: &str, hosts: &[&str]) -> Route {
    route(Provider::Postgres, name, hosts, "10.0.0.1:1")
}

fn excluded(name: &str, hosts: &[&str], reason: Reason) -> Offer {
    let hosts = hosts.iter().map(|host| Host::parse(host).unwrap());
    let excluded = Excluded {
        name: name.into(),
        hosts: hosts.collect(),
        reason,
    };
    Offer {
        outcome: Err(Arc::new(excluded)),
        ignored: Vec::new(),
    }
}

fn pool(routes: Vec<Route>, rest: Vec<Offer>) -> Pool {
    let mut pool = Pool::new(Names::default());
    let offers = routes.into_iter().map(|route| Offer::from(Arc::new(route)));
    let news = offers.chain(rest).map(|offer| {
        let provider = offer.outcome.as_ref().map(|route| route.provider);
        let name = crate::routes::offer::name(&offer.outcome).clone();
        (provider.unwrap_or(Provider::Postgres), name, Some(offer))
    });
    pool.apply(news.collect::<Vec<_>>());
    pool
}

/// A server of which `signals` have been heard.
fn known(route: &Route, starters: Starters, signals: &[Signal]) -> Known {
    let now = Instant::now();
    let mut entry = Entry::new(route.state, starters.of(route).is_some(), now);
    for signal in signals {
        entry.hear(*signal, now);
    }
    Known {
        seen: entry.snapshot(now),
        health: None,
        starters,
        opens_in: None,
        now,
    }
}

fn explain(pool: &Pool, address: &str) -> Explanation {
    let found = Found::look(pool, address);
    Explanation::of(&found, &AdmitConfig::default(), |route| {
        known(route, MANAGER, &[])
    })
}

/// All that is said in steps called `step`.
fn said(explanation: &Explanation, step: &str) -> String {
    let steps = explanation.steps.iter().filter(|s| s.step == step);
    let texts: Vec<_> = steps.map(|step| step.text.as_str()).collect();
    texts.join("\n")
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}

#[test]
fn a_host_leads_to_its_route_and_whoever_lost_it_is_named() {
    let fixed = route(Provider::Configuration, "a.example", &["a.example"], "h:1");
    let pool = pool(
        vec![
            fixed,
            row("late", &["x.example", "a.example"]),
            row("star", &["*.example"]),
        ],
        vec![excluded("off", &["A.example"], Reason::Disabled)],
    );
    let explanation = explain(&pool, "A.Example.\0FML3\0");

    assert_eq!(explanation.matched.kind, "exact");
    let leads = explanation.route.as_ref().unwrap();
    assert_eq!(
        (leads.provider, leads.backend.as_str()),
        ("configuration", "h:1")
    );
    let others: Vec<_> = explanation
        .others
        .iter()
        .map(|o| (o.name.as_str(), o.reason))
        .collect();
    assert_eq!(others, [("late", "shadowed"), ("off", "disabled")]);
    has(
        &said(&explanation, "clean-up"),
        &["Forge", "dot", "lower case"],
    );
    has(
        &said(&explanation, "others"),
        &["late", "configuration", "\"*.example\"", "star"],
    );
    has(&said(&explanation, "excluded"), &["off", "disabled"]);
    assert!(said(&explain(&pool, "x.example"), "match").contains("the host of"));
}

#[test]
fn an_alias_and_a_wildcard_are_told_from_a_host() {
    let star = route(
        Provider::Postgres,
        "star",
        &["mc-*.*.example"],
        "$2.$1.internal:1",
    );
    let pool = pool(
        vec![star, row("a", &["a.example", "b.example"])],
        Vec::new(),
    );
    has(
        &said(&explain(&pool, "b.example"), "match"),
        &["an alias of", "\"a\""],
    );

    let explanation = explain(&pool, "mc-7.eu.example");
    assert_eq!(
        explanation.matched.pattern.as_deref(),
        Some("mc-*.*.example")
    );
    assert_eq!(explanation.matched.captures, ["7", "eu"]);
    assert_eq!(explanation.route.unwrap().backend, "eu.7.internal:1");
}

#[test]
fn nearly_is_told_from_not_at_all() {
    let template = route(Provider::Postgres, "t", &["*.t.example"], "$1.internal:1");
    let pool = pool(
        vec![
            template,
            row("deep", &["*.play.example"]),
            row("survival", &["s.example"]),
        ],
        vec![
            excluded("bad", &["*.bad.example"], Reason::NoAddress),
            excluded("creative", &[], Reason::NoDomain),
        ],
    );
    for (address, words) in [
        (
            "a.b.play.example",
            &["\"*.play.example\" does not match"][..],
        ),
        ("play.example", &["\"*.play.example\" does not match"]),
        (
            "x$.t.example",
            &["\"*.t.example\"", "$1.internal:1 is no address"],
        ),
        ("x.bad.example", &["\"bad\"", "no address"]),
        ("creative", &["\"creative\"", "no domain"]),
    ] {
        let explanation = explain(&pool, address);
        assert_eq!(explanation.matched.kind, "none", "{address}");
        assert_eq!(explanation.login, ["kick"]);
        has(&said(&explanation, "excluded"), words);
    }
    has(
        &said(&explain(&pool, "survival"), "others"),
        &["called so", "s.example"],
    );
    assert_eq!(said(&explain(&pool, "none.test"), "excluded"), "");
}

#[test]
fn the_default_takes_what_nobody_has() {
    let pool = pool(
        vec![
            route(Provider::Configuration, "", &[], "lobby:1"),
            route(Provider::File, "", &[], "other:1"),
        ],
        Vec::new(),
    );
    let explanation = explain(&pool, "x.example");
    assert_eq!(explanation.matched.kind, "default");
    has(&said(&explanation, "match"), &["default", "lobby:1"]);
    has(
        &said(&explanation, "others"),
        &["the default is routed by configuration"],
    );
}

#[test]
fn what_a_login_comes_to_follows_state_policy_and_who_starts() {
    let lobby = BackendAddr::parse("lobby:1").unwrap();
    let policy = |join: &[Join]| {
        Arc::new(Policy {
            join: join.to_vec(),
            forward_to: Some(lobby.clone()),
            ..Policy::default()
        })
    };
    let with = |state, join: &[Join]| Route {
        state,
        policy: policy(join),
        ..row("s", &["s.example"])
    };
    let steps = |route: &Route, starters, signals: &[Signal]| {
        words::login(route, &known(route, starters, signals)).steps
    };
    let hold = [Join::Hold, Join::Forward];
    let stopped = with(StateHint::Stopped, &hold);
    let running = with(StateHint::Running, &hold);
    let nobody = Starters::default();
    assert_eq!(
        steps(&running, MANAGER, &[]),
        ["dial", "wake", "hold", "forward", "kick"]
    );
    assert_eq!(
        steps(&stopped, MANAGER, &[]),
        ["wake", "hold", "forward", "kick"]
    );
    assert_eq!(
        steps(&stopped, MANAGER, &[Signal::SessionOpened])[0],
        "dial"
    );
    assert_eq!(steps(&stopped, nobody, &[]), ["dial", "forward", "kick"]);
    assert_eq!(
        steps(&with(StateHint::Stopped, &[Join::Transfer]), MANAGER, &[]),
        ["wake", "transfer", "kick"]
    );
    // Who is not to wait knocks, whatever the row says.
    let kick = with(StateHint::Stopped, &[Join::Kick]);
    assert_eq!(steps(&kick, MANAGER, &[]), ["dial", "wake", "kick"]);
}

#[test]
fn who_may_wake_and_when_is_told_without_names() {
    let rules = WakeRules {
        allow: vec![Player::Name("notch".into())],
        deny: vec![Player::Uuid(1)],
        hours: None,
    };
    let route = Route {
        state: StateHint::Stopped,
        policy: Arc::new(Policy {
            wake: rules,
            ..Policy::default()
        }),
        ..row("s", &["s.example"])
    };
    let mut known = known(&route, MANAGER, &[]);
    known.opens_in = Some(Duration::from_millis(90_500));
    let text = words::login(&route, &known).text;
    has(
        &text,
        &[
            "server-manager",
            "another 1m30s",
            "1 players",
            "wake_allow",
            "wake_deny",
        ],
    );
    assert!(!text.contains("notch"), "{text}");
    has(&words::server(&route, &known), &["asleep"]);
    let reading = Reading {
        status: Status::Unhealthy,
        detail: "it refuses",
        uptime: None,
        latency: None,
        seen: Some(Duration::from_secs(61)),
        heard: None,
        failures: 3,
    };
    has(
        &words::health(&route, &reading),
        &[
            "10.0.0.1:1 is unhealthy: it refuses",
            "1m1s ago",
            "3 failed",
        ],
    );
    has(&words::ping(&route, &known), &["asleep", "wakes nothing"]);
}

#[test]
fn no_more_than_so_many_of_a_kind_are_shown() {
    let count = 3 * found::SHOWN_MAX;
    let names: Vec<_> = (0..count).map(|number| format!("n{number:03}")).collect();
    let routes = names.iter().map(|name| row(name, &["a.example"])).collect();
    let off = names
        .iter()
        .map(|name| excluded(&format!("x{name}"), &["a.example"], Reason::Disabled));
    let explanation = explain(&pool(routes, off.collect()), "a.example");
    assert_eq!(explanation.others.len(), 2 * found::SHOWN_MAX);
    let first: Vec<_> = [0, found::SHOWN_MAX]
        .map(|at| explanation.others[at].name.clone())
        .into();
    assert_eq!(first, ["n001", "xn000"]);
}

proptest! {
    #[test]
    fn it_finds_what_a_look_up_finds_and_no_text_can_forge_a_line(
        hosts in proptest::collection::vec(("[ab*]\\.[ab]", any::<bool>()), 0..8),
        address in "[abA]\\.[ab\n\u{1b}]\\PC{0,3}(\0[a-z]{0,3})?",
    ) {
        let (mut routes, mut rest) = (Vec::new(), Vec::new());
        for (number, (host, is_route)) in hosts.iter().enumerate() {
            let name = format!("n{number}\n");
            if *is_route {
                routes.push(row(&name, &[host]));
            } else {
                rest.push(excluded(&name, &[host], Reason::Disabled));
            }
        }
        let pool = pool(routes, rest);
        let found = Found::look(&pool, &address);
        let looked_up = pool.table().lookup(&address).map(|route| route.into_owned());
        prop_assert_eq!(&found.route, &looked_up);
        let explanation = explain(&pool, &address);
        for step in &explanation.steps {
            prop_assert!(!step.text.chars().any(char::is_control), "{}", step.text);
        }
        // Everybody who asks for the host is told of, once.
        let others: BTreeSet<_> = explanation.others.iter().map(|other| other.name.clone()).collect();
        prop_assert_eq!(others.len(), explanation.others.len());
        let key = &found.cleaned.key;
        let asks = hosts.iter().filter(|(host, _)| host == key).count();
        prop_assert!(others.len() + usize::from(found.route.is_some()) >= asks);
    }
}

#[test]
fn what_may_turn_a_player_away_besides_is_told_where_it_is_set() {
    let pool = pool(vec![row("a", &["a.example"])], Vec::new());
    let found = Found::look(&pool, "a.example");
    let told = |config: &AdmitConfig| {
        let explanation = Explanation::of(&found, config, |route| known(route, MANAGER, &[]));
        said(&explanation, "admission")
    };
    assert_eq!(told(&AdmitConfig::default()), "");
    let mut config = AdmitConfig {
        players: Some("/players.json".into()),
        ..AdmitConfig::default()
    };
    has(&told(&config), &["who may wake", "AUTO_SCALE_ALLOW_DENY"]);
    config.gate_join = true;
    config.filter.deny = Networks::new(&["192.0.2.0/24".parse().unwrap()]);
    config.limits.everybody = Some(Rate {
        count: 2,
        per: Duration::from_secs(2),
    });
    let text = told(&config);
    has(&text, &["CLIENTS_TO_DENY", "RATE_LIMIT", "who may join"]);
    assert!(!text.contains("CLIENTS_TO_ALLOW"), "{text}");
}
