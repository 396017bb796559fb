//! One session of a player who comes and goes: what both ends say and who says it when; pure.

use std::fmt;

use anyhow::{Context, Result};

use super::sequence::number;

/// Rounds of a visit, from and to; each is packets and then a burst.
const ROUNDS: (u64, u64) = (1, 3);
/// Packets of a round: enough for a direction that spliced to copy again.
const PACKETS: (u64, u64) = (24, 36);
/// Bytes of a packet.
const PACKET_BYTES: (u64, u64) = (1, 1_024);
/// Bytes of a burst: enough for a direction that copied to splice.
const BURST_BYTES: (u64, u64) = (128 * 1024, 640 * 1024);
/// Bytes one end still says once the other has closed its half.
const TAIL_BYTES: (u64, u64) = (0, 256 * 1024);

/// The `number`th session of a player; its name, too, and so its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// Which player, below 10,000.
    pub player: u32,
    /// Which of the player's sessions, below 100,000.
    pub number: u32,
}

/// One of the two who talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Player,
    Server,
}

/// What is said in one go: bytes up and bytes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Up first; down once that is there.
    Packet(u64, u64),
    /// Both at once.
    Burst(u64, u64),
}

/// Everything that is said in a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// Who closes its half first.
    pub(super) leaves: Side,
    /// Bytes of the other one after that, before it closes its own.
    pub(super) tail: u64,
}

impl Visit {
    /// What follows the behaviour's name in the player's.
    pub(super) fn of(name: &str) -> Result<Self> {
        let (player, number) = name.split_once('-').context("no number of the visit")?;
        Ok(Self {
            player: player.parse().context("player")?,
            number: number.parse().context("number of the visit")?,
        })
    }

    /// What the bytes that `side` says are made from.
    pub(super) fn seed(self, side: Side) -> u64 {
        let way = match side {
            Side::Player => 1,
            Side::Server => 2,
        };
        number(self.key(), way)
    }

    pub(super) fn script(self) -> Script {
        let seed = number(self.key(), 0);
        let mut dice = (0..).map(|index| number(seed, index));
        let mut between =
            |(from, to): (u64, u64)| from + dice.next().unwrap_or(0) % (to - from + 1);
        let mut steps = Vec::new();
        for _ in 0..between(ROUNDS) {
            for _ in 0..between(PACKETS) {
                let up = between(PACKET_BYTES);
                steps.push(Step::Packet(up, between(PACKET_BYTES)));
            }
            let (much, little) = (between(BURST_BYTES), between(PACKET_BYTES));
            steps.push(match between((0, 2)) {
                0 => Step::Burst(much, little),
                1 => Step::Burst(little, much),
                _ => Step::Burst(much, between(BURST_BYTES)),
            });
        }
        let leaves = match between((0, 1)) {
            0 => Side::Player,
            _ => Side::Server,
        };
        let tail = between(TAIL_BYTES);
        Script {
            steps,
            leaves,
            tail,
        }
    }

    fn key(self) -> u64 {
        u64::from(self.player) << 32 | u64::from(self.number)
    }
}

impl fmt::Display for Visit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.player, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_always_the_same_and_no_two_visits_have_the_same() {
        let visit = |player, number| Visit { player, number };
        let first = visit(1, 2);
        assert_eq!(first.script(), first.script());
        assert_eq!(Visit::of(&first.to_string()).unwrap(), first);
        for other in [visit(2, 1), visit(1, 3), visit(0, 2)] {
            assert_ne!(other.script(), first.script());
            assert_ne!(other.seed(Side::Player), first.seed(Side::Player));
        }
        assert_ne!(first.seed(Side::Player), first.seed(Side::Server));
        for name in ["", "1", "1-", "-1", "a-1"] {
            assert!(Visit::of(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn visits_have_everything_in_them() {
        let (mut leaves, mut bursts) = ([0; 2], [0; 3]);
        for number in 0..100 {
            let script = Visit { player: 7, number }.script();
            leaves[usize::from(script.leaves == Side::Server)] += 1;
            assert!(script.tail <= TAIL_BYTES.1);
            let mut packets = 0;
            for step in script.steps {
                match step {
                    Step::Packet(up, down) => {
                        packets += 1;
                        assert!((1..=1_024).contains(&up) && (1..=1_024).contains(&down));
                    }
                    Step::Burst(up, down) => {
                        assert!(packets >= PACKETS.0, "{packets} packets before a burst");
                        packets = 0;
                        let much = |bytes| bytes >= BURST_BYTES.0;
                        assert!(much(up) || much(down));
                        bursts[usize::from(much(up)) + 2 * usize::from(much(down)) - 1] += 1;
                    }
                }
            }
        }
        assert!(leaves.iter().chain(&bursts).all(|count| *count > 10));
    }
}
