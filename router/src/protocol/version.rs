//! Protocol numbers that matter here, and what a client of each can be sent.
//!
//! Numbers: <https://minecraft.wiki/w/Protocol_version>. What came when: the history of
//! <https://minecraft.wiki/w/Java_Edition_protocol/Packets>, checked against the tables of
//! minecraft-data (`data/pc/<version>/proto.yml`) and Velocity (`StateRegistry.java`).

/// 1.8: the first with Set Compression; the client's idle time grows from 20 to 30 seconds.
pub const V1_8: i32 = 47;
/// 1.13: the first with Login Plugin Request.
pub const V1_13: i32 = 393;
/// 1.16: the first with colours of 24 bits.
pub const V1_16: i32 = 735;
/// 1.19: a login start may carry a key and its signature.
pub const V1_19: i32 = 759;
/// 1.19.1: and after it, if the client likes, the player's UUID.
pub const V1_19_1: i32 = 760;
/// 1.19.3: the key has gone again, the UUID is still optional.
pub const V1_19_3: i32 = 761;
/// 1.20.2: the UUID always follows the name; the configuration state and nameless NBT begin.
pub const V1_20_2: i32 = 764;
/// 1.20.3: texts of the configuration state are NBT instead of JSON.
pub const V1_20_3: i32 = 765;
/// 1.20.5: cookies and transfers.
pub const V1_20_5: i32 = 766;
/// 1.21.2: login success loses the flag for strict error handling.
pub const V1_21_2: i32 = 768;
/// 1.21.6: dialogs.
pub const V1_21_6: i32 = 771;
/// 26.2: login success gains the id of the server's session.
pub const V26_2: i32 = 776;
/// The newest whose configuration state is known. 26.3 (777) puts a packet before Store Cookie,
/// which moves it and all that follow.
pub const NEWEST: i32 = V26_2;
/// Snapshots count up from here; the first was one of 1.16.4.
pub const SNAPSHOTS: i32 = 0x4000_0000;

/// Whether a client of `protocol` answers Login Plugin Requests, unknown channels included.
///
/// Newer ones than [`NEWEST`] do too: the packets of the login state keep their ids.
#[must_use]
pub fn answers_plugin_requests(protocol: i32) -> bool {
    protocol >= V1_13
}

/// Whether Set Compression with a negative threshold is the only packet that a client of
/// `protocol` takes without consequence while it logs in.
#[must_use]
pub fn takes_set_compression(protocol: i32) -> bool {
    (V1_8..V1_13).contains(&protocol)
}

/// Whether a client of `protocol` can be held in the configuration state and transferred.
///
/// Not snapshots, nor what is newer than [`NEWEST`]: their packet ids are unknown.
#[must_use]
pub fn can_transfer(protocol: i32) -> bool {
    (V1_20_5..=NEWEST).contains(&protocol)
}

/// Whether a client of `protocol` that [can be transferred](can_transfer) shows dialogs.
#[must_use]
pub fn shows_dialogs(protocol: i32) -> bool {
    (V1_21_6..=NEWEST).contains(&protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_version_is_sent_only_what_it_knows() {
        for (protocol, plugin, compression, transfer, dialogs) in [
            (i32::MIN, false, false, false, false),
            (-1, false, false, false, false),
            (4, false, false, false, false),
            (5, false, false, false, false),
            (47, false, true, false, false),
            (340, false, true, false, false),
            (392, false, true, false, false),
            (393, true, false, false, false),
            (765, true, false, false, false),
            (766, true, false, true, false),
            (770, true, false, true, false),
            (771, true, false, true, true),
            (776, true, false, true, true),
            (777, true, false, false, false),
            (SNAPSHOTS, true, false, false, false),
            (i32::MAX, true, false, false, false),
        ] {
            let found = (
                answers_plugin_requests(protocol),
                takes_set_compression(protocol),
                can_transfer(protocol),
                shows_dialogs(protocol),
            );
            let expected = (plugin, compression, transfer, dialogs);
            assert_eq!(found, expected, "protocol {protocol}");
        }
    }

    proptest! {
        #[test]
        fn who_sees_dialogs_can_be_transferred_and_who_can_answers_requests(protocol: i32) {
            prop_assert!(!shows_dialogs(protocol) || can_transfer(protocol));
            prop_assert!(!can_transfer(protocol) || answers_plugin_requests(protocol));
            prop_assert!(!(takes_set_compression(protocol) && answers_plugin_requests(protocol)));
        }
    }
}
