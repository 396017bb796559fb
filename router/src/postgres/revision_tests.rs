//! What is read, whatever is announced, lost, or done to the table meanwhile.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

const EPOCH: &str = "first";

fn mark(revision: u64) -> Mark {
    Mark {
        epoch: EPOCH.into(),
        revision,
    }
}

fn hint(revision: u64, names: &[&str]) -> String {
    serde_json::json!({"epoch": EPOCH, "revision": revision, "names": names}).to_string()
}

fn at(revision: u64) -> Revisions {
    Revisions::new(Some(mark(revision)))
}

fn rows(names: &[&str], revision: u64) -> Option<Step> {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Some(Step::Rows(names, mark(revision)))
}

#[test]
fn hints_that_follow_one_upon_the_other_are_one_read_of_their_rows() {
    let mut revisions = at(7);
    revisions.hear(&hint(8, &["b", "a"]));
    revisions.hear(&hint(9, &["c", "a"]));
    assert_eq!(revisions.step(), rows(&["a", "b", "c"], 9));
    assert_eq!(revisions.step(), None);
    assert!(revisions.rows_read(mark(9), Some(&mark(9))));
    assert_eq!(revisions.applied(), Some(&mark(9)));
}

#[test]
fn what_comes_during_a_read_is_read_next_and_what_the_read_has_seen_is_not() {
    let mut revisions = Revisions::default();
    revisions.owe(Why::Connected);
    assert_eq!(revisions.step(), Some(Step::All(Why::Connected)));
    for revision in 5..9 {
        revisions.hear(&hint(revision, &["a"]));
    }
    revisions.all_read(Some(mark(6)));
    assert_eq!(revisions.step(), rows(&["a"], 8));
    revisions.hear(&hint(9, &["b"]));
    assert!(revisions.rows_read(mark(8), Some(&mark(9))));
    assert_eq!(
        revisions.step(),
        rows(&["b"], 9),
        "what is applied is what was asked for"
    );
}

#[test]
fn whatever_is_no_plain_next_hint_is_a_read_of_everything() {
    let other = r#"{"epoch": "second", "revision": 8, "names": ["a"]}"#;
    let nameless = r#"{"epoch": "first", "revision": 8}"#;
    for (payload, why) in [
        (hint(9, &["a"]), Why::Gap),
        (nameless.to_owned(), Why::Nameless),
        (other.to_owned(), Why::Epoch),
        (String::new(), Why::Told),
        ("look".to_owned(), Why::Garbled),
        (r#"{"epoch": 1, "revision": 8}"#.to_owned(), Why::Garbled),
        (
            r#"{"epoch": "first", "revision": -8}"#.to_owned(),
            Why::Garbled,
        ),
    ] {
        let mut revisions = at(7);
        revisions.hear(&payload);
        assert_eq!(revisions.step(), Some(Step::All(why)), "{payload}");
        assert_eq!(revisions.step(), None, "{payload}");
    }
    // Before the table counted, every word is as good as an empty one.
    let mut revisions = Revisions::default();
    revisions.hear(&hint(8, &["a"]));
    assert_eq!(revisions.step(), Some(Step::All(Why::Told)));
}

#[test]
fn changes_that_are_only_ever_found_by_looking_are_noticed_until_one_is_heard_of() {
    let mut revisions = at(7);
    for revision in 8..11 {
        assert!(!revisions.is_deaf());
        for look in [Look::Again, Look::Done] {
            assert_eq!(revisions.looked(Some(&mark(revision))), look);
        }
        assert_eq!(revisions.step(), Some(Step::All(Why::Lost)));
        revisions.all_read(Some(mark(revision)));
    }
    assert!(revisions.is_deaf());
    revisions.hear(&hint(11, &["a"]));
    assert!(!revisions.is_deaf());
}

#[test]
fn hints_that_tell_nothing_new_are_passed_over() {
    let mut revisions = at(7);
    revisions.hear(&hint(7, &["a"]));
    revisions.hear(&hint(3, &["a"]));
    assert_eq!(revisions.step(), None);
    revisions.hear(&hint(8, &[]));
    assert_eq!(revisions.step(), None);
    assert_eq!(revisions.applied(), Some(&mark(8)));
}

#[test]
fn what_waits_is_bounded() {
    for names in [&["a", "b", "c"][..], &[]] {
        let mut revisions = at(0);
        for revision in 1..3 * NAMES_MAX as u64 {
            revisions.hear(&hint(revision, names));
            assert!(revisions.hints.len() <= NAMES_MAX && revisions.names <= NAMES_MAX);
        }
        assert_eq!(revisions.step(), Some(Step::All(Why::Overflow)));
    }
}

#[test]
fn rows_of_an_older_state_are_never_applied() {
    for (found, why) in [
        (Some(mark(8)), Why::Older),
        (None, Why::Epoch),
        (
            Some(Mark {
                epoch: "second".into(),
                revision: 9,
            }),
            Why::Epoch,
        ),
    ] {
        let mut revisions = at(7);
        assert!(!revisions.rows_read(mark(9), found.as_ref()));
        assert_eq!(revisions.applied(), Some(&mark(7)));
        assert_eq!(revisions.step(), Some(Step::All(why)));
    }
    assert!(at(7).is_older(Some(&mark(6))));
    for newer in [
        Some(mark(7)),
        None,
        Some(Mark {
            epoch: "second".into(),
            revision: 1,
        }),
    ] {
        assert!(!at(7).is_older(newer.as_ref()));
    }
}

#[test]
fn a_lost_announcement_is_noticed_by_the_second_look_and_a_late_one_is_waited_for() {
    let mut revisions = at(7);
    assert_eq!(revisions.looked(Some(&mark(7))), Look::Done);
    assert_eq!(revisions.looked(Some(&mark(8))), Look::Again);
    revisions.hear(&hint(8, &["a"]));
    assert_eq!(revisions.looked(Some(&mark(8))), Look::Done);
    assert_eq!(revisions.step(), rows(&["a"], 8));
    assert!(revisions.rows_read(mark(8), Some(&mark(8))));

    assert_eq!(revisions.looked(Some(&mark(9))), Look::Again);
    assert_eq!(revisions.looked(Some(&mark(9))), Look::Done);
    assert_eq!(revisions.step(), Some(Step::All(Why::Lost)));
}

#[test]
fn a_look_at_another_or_an_older_history_is_a_read_of_everything() {
    let second = Mark {
        epoch: "second".into(),
        revision: 7,
    };
    for (found, why) in [
        (Some(mark(6)), Why::Older),
        (Some(second), Why::Epoch),
        (None, Why::Epoch),
    ] {
        let mut revisions = at(7);
        assert_eq!(revisions.looked(found.as_ref()), Look::Done);
        assert_eq!(revisions.step(), Some(Step::All(why)));
    }
    assert_eq!(Revisions::default().looked(None), Look::Done);
}

#[test]
fn while_a_read_is_held_back_news_is_a_read_of_everything() {
    let mut revisions = at(7);
    revisions.hold();
    revisions.hear(&hint(8, &["a"]));
    assert_eq!(revisions.step(), Some(Step::All(Why::Held)));
    revisions.all_read(Some(mark(8)));
    revisions.hear(&hint(9, &["a"]));
    assert_eq!(revisions.step(), rows(&["a"], 9));
}

/// What may happen, one thing after the other.
#[derive(Debug, Clone)]
enum Event {
    /// A transaction changes these rows; its announcement arrives, or is lost.
    Change(Vec<usize>, bool),
    /// A transaction changes these rows and says no names.
    Many(Vec<usize>),
    /// Somebody else says something on the channel.
    Noise(&'static str),
    /// The reader reads, and these rows change before it has applied what it read.
    Read(Vec<usize>),
    /// The reader looks at the revision.
    Look,
    /// The connection is lost, with all that was on its way.
    Reconnect,
}

fn events() -> impl Strategy<Value = Event> {
    let some_rows = || proptest::collection::vec(0..6_usize, 1..4);
    prop_oneof![
        6 => (some_rows(), prop::bool::weighted(0.8)).prop_map(|(rows, heard)| Event::Change(rows, heard)),
        1 => some_rows().prop_map(Event::Many),
        1 => prop_oneof![Just(""), Just("{}"), Just("look")].prop_map(Event::Noise),
        6 => proptest::collection::vec(0..6_usize, 0..3).prop_map(Event::Read),
        1 => Just(Event::Look),
        1 => Just(Event::Reconnect),
    ]
}

/// A table whose rows are numbers that only grow, and a reader of it.
struct World {
    table: BTreeMap<usize, u64>,
    copy: BTreeMap<usize, u64>,
    revision: u64,
    revisions: Revisions,
}

impl World {
    fn change(&mut self, rows: &[usize], names: bool, heard: bool) {
        self.revision += 1;
        for row in rows {
            self.table.insert(*row, self.revision);
        }
        let texts: Vec<_> = rows.iter().map(usize::to_string).collect();
        let names = names.then_some(texts);
        if heard {
            let payload =
                serde_json::json!({"epoch": EPOCH, "revision": self.revision, "names": names});
            self.revisions.hear(&payload.to_string());
        }
    }

    fn read(&mut self, meanwhile: &[usize]) -> bool {
        let Some(step) = self.revisions.step() else {
            return false;
        };
        let (seen, found) = (self.table.clone(), mark(self.revision));
        if !meanwhile.is_empty() {
            self.change(meanwhile, true, true);
        }
        match step {
            Step::All(_) => {
                self.copy = seen;
                self.revisions.all_read(Some(found));
            }
            Step::Rows(names, asked) => {
                if self.revisions.rows_read(asked, Some(&found)) {
                    for name in names {
                        let row = name.parse().unwrap();
                        self.copy.insert(row, seen[&row]);
                    }
                }
            }
        }
        true
    }

    fn look(&mut self) -> Look {
        self.revisions.looked(Some(&mark(self.revision)))
    }

    /// Everything of the state that is said to be applied is there.
    fn check(&self) {
        let applied = self.revisions.applied().map_or(0, |mark| mark.revision);
        for (row, revision) in &self.table {
            let copied = self.copy.get(row).copied().unwrap_or_default();
            assert!(
                copied == *revision || *revision > applied,
                "row {row} of {applied}"
            );
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_lost_the_copy_is_what_it_says_and_ends_as_the_table(
        events in proptest::collection::vec(events(), 0..60)
    ) {
        let mut world = World {
            table: BTreeMap::new(), copy: BTreeMap::new(), revision: 0, revisions: Revisions::default(),
        };
        world.revisions.owe(Why::Connected);
        for event in events {
            match event {
                Event::Change(rows, heard) => world.change(&rows, true, heard),
                Event::Many(rows) => world.change(&rows, false, true),
                Event::Noise(payload) => world.revisions.hear(payload),
                Event::Read(meanwhile) => drop(world.read(&meanwhile)),
                Event::Look => drop(world.look()),
                Event::Reconnect => world.revisions.owe(Why::Connected),
            }
            world.check();
        }
        while world.read(&[]) {}
        while world.look() == Look::Again {}
        while world.read(&[]) {}
        prop_assert_eq!(world.copy, world.table);
    }
}
