//! What a client of a protocol number can be sent, after the table in [`versions`](super::versions).

use super::versions::{Configuration, Login, NEWEST, VERSIONS, Version};

/// Snapshots count up from here; the first was one of 1.16.4.
pub const SNAPSHOTS: i32 = 0x4000_0000;

/// The version whose row stands for `protocol`: the last that is not newer, the first if all are.
#[must_use]
pub fn row(protocol: i32) -> &'static Version {
    let newer = VERSIONS.partition_point(|version| version.protocol <= protocol);
    let row = VERSIONS.get(newer.saturating_sub(1));
    row.unwrap_or(&NEWEST)
}

/// The login state of `protocol`.
///
/// What is newer than the table has that of the newest version: packets of the login state have kept
/// their ids since 1.7.
#[must_use]
pub fn login(protocol: i32) -> &'static Login {
    &row(protocol).login
}

/// The configuration state of `protocol`, if a client can be held there and transferred.
///
/// None for what is [too new](is_too_new): its packet ids are unknown.
#[must_use]
pub fn configuration(protocol: i32) -> Option<&'static Configuration> {
    let known = row(protocol);
    let configuration = known.configuration.as_ref();
    configuration.filter(|_| known.protocol == protocol)
}

/// Whether `protocol` is newer than the table, or that of a snapshot, each of which may move packets of the
/// configuration state.
#[must_use]
pub fn is_too_new(protocol: i32) -> bool {
    protocol > NEWEST.protocol
}

/// Whether a client of `protocol` answers Login Plugin Requests, unknown channels included.
#[must_use]
pub fn answers_plugin_requests(protocol: i32) -> bool {
    login(protocol).plugin_request
}

/// Whether Set Compression with a negative threshold is the only packet that a client of
/// `protocol` takes without consequence while it logs in.
#[must_use]
pub fn takes_set_compression(protocol: i32) -> bool {
    let login = login(protocol);
    login.set_compression && !login.plugin_request
}

/// Whether a client of `protocol` can be held in the configuration state and transferred.
#[must_use]
pub fn can_transfer(protocol: i32) -> bool {
    configuration(protocol).is_some()
}

/// Whether a client of `protocol` that [can be transferred](can_transfer) shows dialogs.
#[must_use]
pub fn shows_dialogs(protocol: i32) -> bool {
    configuration(protocol).is_some_and(|configuration| configuration.show_dialog.is_some())
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
            (777, true, false, true, true),
            (NEWEST.protocol + 1, true, false, false, false),
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

        #[test]
        fn what_is_newer_than_the_table_logs_in_as_the_newest_and_is_not_transferred(
            protocol in NEWEST.protocol + 1..,
        ) {
            prop_assert!(is_too_new(protocol) && !can_transfer(protocol));
            prop_assert_eq!(login(protocol), &NEWEST.login);
        }

        #[test]
        fn a_row_stands_for_the_numbers_up_to_the_next(protocol in 4..=NEWEST.protocol) {
            let found = row(protocol);
            prop_assert!(found.protocol <= protocol);
            let next = VERSIONS.iter().find(|version| version.protocol > found.protocol);
            prop_assert!(next.is_none_or(|next| next.protocol > protocol));
        }
    }
}
