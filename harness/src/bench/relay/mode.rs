//! What is measured of every target.

use std::time::Duration;

use crate::load::behaviour::Way;
use crate::load::job::{Job, Span};

/// Length of a small packet.
const PACKET_BYTES: usize = 64;
/// Players of the saturated loop.
const SMALL_PLAYERS: usize = 50;
/// Before a closed loop counts, and for how long it does.
const LOOP: Span = Span::Time(Duration::from_secs(1), Duration::from_secs(3));
/// Seconds of paced packets before those that count, and of those that do.
const PACED_SECONDS: (u32, u32) = (1, 5);
/// Streams of bulk.
const STREAMS: usize = 4;
/// Connects at once, how many after another before those that count, and of those that do. Counted
/// and few, because each leaves a port behind for a minute, of which there are 28,000.
const CONNECTS: usize = 32;
const CONNECTS_WARM_UP: Span = Span::Count(32);
const CONNECTS_COUNTED: Span = Span::Count(320);
/// Players of the mixed load, and packets of one in a second.
const MIXED: (usize, u32) = (200, 20);
/// Downloads at once beside them, and bytes of one: about a join of a modded server.
pub(super) const JOINS: usize = 4;
pub(super) const JOIN_BYTES: u64 = 20_000_000;

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Small,
    Paced10,
    Paced20,
    BulkUp,
    BulkDown,
    BulkBoth,
    Idle,
    Connects,
    Mixed,
}

/// How much load, where it can be chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) paced_players: usize,
    pub(super) idle_players: usize,
    pub(super) bulk_bytes: u64,
}

impl Mode {
    /// The names `--mode` takes, each for one or more of these.
    pub(super) const GROUPS: [(&'static str, &'static [Self]); 6] = [
        ("small", &[Self::Small]),
        ("paced", &[Self::Paced10, Self::Paced20]),
        ("bulk", &[Self::BulkUp, Self::BulkDown, Self::BulkBoth]),
        ("idle", &[Self::Idle]),
        ("connects", &[Self::Connects]),
        ("mixed", &[Self::Mixed]),
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Paced10 => "paced-10",
            Self::Paced20 => "paced-20",
            Self::BulkUp => "bulk-up",
            Self::BulkDown => "bulk-down",
            Self::BulkBoth => "bulk-both",
            Self::Idle => "idle",
            Self::Connects => "connects",
            Self::Mixed => "mixed",
        }
    }

    /// One sentence for the reader.
    pub(super) fn about(self, size: Size) -> String {
        let Size {
            paced_players,
            idle_players,
            bulk_bytes,
        } = size;
        let bulk =
            |way| format!("{STREAMS} streams move {bulk_bytes} bytes {way} as fast as they go");
        match self {
            Self::Small => {
                format!("{SMALL_PLAYERS} players, round trips of {PACKET_BYTES} bytes, saturated")
            }
            Self::Paced10 => format!("{paced_players} players at 10 packets/s, echoed"),
            Self::Paced20 => format!("{paced_players} players at 20 packets/s, echoed"),
            Self::BulkUp => bulk("up"),
            Self::BulkDown => bulk("down"),
            Self::BulkBoth => bulk("in all, half of them each way at once,"),
            Self::Idle => format!("{idle_players} players who stay and do nothing"),
            Self::Connects => {
                format!("connect, login, first byte of the server, leave; {CONNECTS} at once")
            }
            Self::Mixed => format!(
                "{} players at {} packets/s, beside {JOINS} who join, download {JOIN_BYTES} bytes and leave",
                MIXED.0, MIXED.1
            ),
        }
    }

    /// What one unit of work is called; processor time is told for one.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Small | Self::Paced10 | Self::Paced20 => "round trip",
            Self::BulkUp | Self::BulkDown | Self::BulkBoth => "GB",
            Self::Idle => "player",
            Self::Connects => "connect",
            Self::Mixed => "join",
        }
    }

    /// What others do before, where a loop has no warm-up of its own.
    pub(super) fn warm_up(self) -> Option<Job> {
        let (at_once, span) = (CONNECTS, CONNECTS_WARM_UP);
        (self == Self::Connects).then_some(Job::Connects { at_once, span })
    }

    /// What the players who are measured do.
    pub(super) fn job(self, size: Size) -> Job {
        match self {
            Self::Small => Job::RoundTrips {
                players: SMALL_PLAYERS,
                bytes: PACKET_BYTES,
                span: LOOP,
            },
            Self::Paced10 => paced(size.paced_players, 10),
            Self::Paced20 => paced(size.paced_players, 20),
            Self::BulkUp => bulk(Way::Up, size.bulk_bytes),
            Self::BulkDown => bulk(Way::Down, size.bulk_bytes),
            Self::BulkBoth => bulk(Way::Both, size.bulk_bytes / 2),
            Self::Idle => Job::Hold {
                players: size.idle_players,
            },
            Self::Connects => Job::Connects {
                at_once: CONNECTS,
                span: CONNECTS_COUNTED,
            },
            Self::Mixed => paced(MIXED.0, MIXED.1),
        }
    }
}

fn paced(players: usize, per_second: u32) -> Job {
    let (warm_up, seconds) = PACED_SECONDS;
    Job::Paced {
        players,
        per_second,
        bytes: PACKET_BYTES,
        warm_up: warm_up * per_second,
        packets: seconds * per_second,
    }
}

fn bulk(way: Way, bytes: u64) -> Job {
    let streams = u64::try_from(STREAMS).unwrap_or(1);
    Job::Transfer {
        players: STREAMS,
        way,
        bytes: bytes / streams,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_a_name_and_moves_what_is_asked_for() {
        let size = Size {
            paced_players: 500,
            idle_players: 9_000,
            bulk_bytes: 2_000_000_000,
        };
        let mut names = std::collections::BTreeSet::new();
        for mode in Mode::GROUPS.iter().flat_map(|(_, modes)| *modes) {
            assert!(names.insert(mode.name()));
            assert!(!mode.about(size).is_empty());
            if let Job::Transfer {
                players,
                way,
                bytes,
            } = mode.job(size)
            {
                let (up, down) = way.split(bytes);
                let all = (up + down) * u64::try_from(players).unwrap();
                assert_eq!(all, size.bulk_bytes, "{}", mode.name());
            }
        }
        assert_eq!(names.len(), 9);
    }
}
