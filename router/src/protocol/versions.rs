//! The versions of Minecraft since 1.7: which releases speak which protocol, and how each lays out what
//! is read and written here before a player is in a game.
//!
//! This table is all that a new release changes. A row is a protocol number; what a row says holds until
//! the next one, for snapshots between the two as well.
//!
//! Sources: minecraft-data (`data/pc/common/protocolVersions.json`, `data/pc/<version>/protocol.json`; for
//! 26.2 and 26.3, whose packets were not in its npm package when the rows were written, the `proto.yml` of its
//! repository) and <https://minecraft.wiki/w/Java_Edition_protocol/Packets>. The test
//! `every_release_of_the_newest_minecraft_data_is_in_the_table` compares.

/// One protocol number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// What clients say in their handshake.
    pub protocol: i32,
    /// The releases that say so, oldest first; at least one.
    pub releases: &'static [&'static str],
    /// What the login state has.
    pub login: Login,
    /// The packets of the configuration state, where it has [cookies and transfers](Configuration).
    pub configuration: Option<Configuration>,
}

/// What differs in the login state; its packet ids are the same in every version ([`LOGIN`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// Whether the client waits 30 seconds for a byte, and not 20.
    pub is_patient: bool,
    /// Whether there is Set Compression.
    pub set_compression: bool,
    /// Whether there is Login Plugin Request.
    pub plugin_request: bool,
    /// Whether there is Cookie Request.
    pub cookie_request: bool,
    /// What follows the name in Login Start.
    pub start: Start,
    /// What Login Success ends with.
    pub success: Success,
}

/// What follows the name in a Login Start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Name,
    /// The player's key and its signature, if there are any.
    Key,
    /// The same, then the UUID, if the client likes.
    KeyAndMaybeUuid,
    /// The UUID, if the client likes.
    MaybeUuid,
    /// The UUID.
    Uuid,
}

/// What a Login Success ends with, behind UUID, name and properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// Whatever it is: none is written for such a version.
    Unwritten,
    /// Whether errors are handled strictly.
    Strictness,
    /// Nothing.
    Nothing,
    /// The id of the server's session, a UUID.
    Session,
}

/// Packet ids of the login state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginIds {
    /// To the client: Disconnect.
    pub disconnect: i32,
    /// To the client: Encryption Request.
    pub encryption_request: i32,
    /// To the client: Login Success.
    pub success: i32,
    /// To the client: Set Compression, where there is one.
    pub set_compression: i32,
    /// To the client: Login Plugin Request, where there is one.
    pub plugin_request: i32,
    /// To the client: Cookie Request, where there is one.
    pub cookie_request: i32,
    /// To the server: Login Start.
    pub start: i32,
    /// To the server: Login Plugin Response.
    pub plugin_response: i32,
    /// To the server: Login Acknowledged.
    pub acknowledged: i32,
    /// To the server: Cookie Response.
    pub cookie_response: i32,
}

/// Packet ids of a configuration state with cookies and transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// To the client: Disconnect.
    pub disconnect: i32,
    /// To the client: Keep Alive.
    pub keep_alive: i32,
    /// To the client: Store Cookie.
    pub store_cookie: i32,
    /// To the client: Transfer.
    pub transfer: i32,
    /// To the client: Show Dialog, where clients show dialogs.
    pub show_dialog: Option<i32>,
    /// To the server: Client Information.
    pub client_information: i32,
    /// To the server: Custom Click Action, where clients show dialogs.
    pub click: Option<i32>,
}

/// The packet ids of every login state.
pub const LOGIN: LoginIds = LoginIds {
    disconnect: 0,
    encryption_request: 1,
    success: 2,
    set_compression: 3,
    plugin_request: 4,
    cookie_request: 5,
    start: 0,
    plugin_response: 2,
    acknowledged: 3,
    cookie_response: 4,
};

const LOGIN_1_7: Login = Login {
    is_patient: false,
    set_compression: false,
    plugin_request: false,
    cookie_request: false,
    start: Start::Name,
    success: Success::Unwritten,
};
const LOGIN_1_8: Login = Login {
    is_patient: true,
    set_compression: true,
    ..LOGIN_1_7
};
const LOGIN_1_13: Login = Login {
    plugin_request: true,
    ..LOGIN_1_8
};
const LOGIN_1_19: Login = Login {
    start: Start::Key,
    ..LOGIN_1_13
};
const LOGIN_1_19_1: Login = Login {
    start: Start::KeyAndMaybeUuid,
    ..LOGIN_1_13
};
const LOGIN_1_19_3: Login = Login {
    start: Start::MaybeUuid,
    ..LOGIN_1_13
};
const LOGIN_1_20_2: Login = Login {
    start: Start::Uuid,
    ..LOGIN_1_13
};
const LOGIN_1_20_5: Login = Login {
    cookie_request: true,
    success: Success::Strictness,
    ..LOGIN_1_20_2
};
const LOGIN_1_21_2: Login = Login {
    success: Success::Nothing,
    ..LOGIN_1_20_5
};
const LOGIN_26_2: Login = Login {
    success: Success::Session,
    ..LOGIN_1_21_2
};

const CONFIGURATION_1_20_5: Configuration = Configuration {
    disconnect: 0x02,
    keep_alive: 0x04,
    store_cookie: 0x0A,
    transfer: 0x0B,
    show_dialog: None,
    client_information: 0x00,
    click: None,
};
const CONFIGURATION_1_21_6: Configuration = Configuration {
    show_dialog: Some(0x12),
    click: Some(0x08),
    ..CONFIGURATION_1_20_5
};
/// Post Effects (0x0A) moves what comes behind it.
const CONFIGURATION_26_3: Configuration = Configuration {
    store_cookie: 0x0B,
    transfer: 0x0C,
    show_dialog: Some(0x13),
    ..CONFIGURATION_1_21_6
};

/// Every protocol number of a release, in ascending order.
#[rustfmt::skip]
pub const VERSIONS: &[Version] = &[
    before(4, &["1.7.2", "1.7.4", "1.7.5"], LOGIN_1_7),
    before(5, &["1.7.6", "1.7.7", "1.7.8", "1.7.9", "1.7.10"], LOGIN_1_7),
    before(47, &["1.8", "1.8.1", "1.8.2", "1.8.3", "1.8.4", "1.8.5", "1.8.6", "1.8.7", "1.8.8", "1.8.9"], LOGIN_1_8),
    before(107, &["1.9"], LOGIN_1_8),
    before(108, &["1.9.1"], LOGIN_1_8),
    before(109, &["1.9.2"], LOGIN_1_8),
    before(110, &["1.9.3", "1.9.4"], LOGIN_1_8),
    before(210, &["1.10", "1.10.1", "1.10.2"], LOGIN_1_8),
    before(315, &["1.11"], LOGIN_1_8),
    before(316, &["1.11.1", "1.11.2"], LOGIN_1_8),
    before(335, &["1.12"], LOGIN_1_8),
    before(338, &["1.12.1"], LOGIN_1_8),
    before(340, &["1.12.2"], LOGIN_1_8),
    before(393, &["1.13"], LOGIN_1_13),
    before(401, &["1.13.1"], LOGIN_1_13),
    before(404, &["1.13.2"], LOGIN_1_13),
    before(477, &["1.14"], LOGIN_1_13),
    before(480, &["1.14.1"], LOGIN_1_13),
    before(485, &["1.14.2"], LOGIN_1_13),
    before(490, &["1.14.3"], LOGIN_1_13),
    before(498, &["1.14.4"], LOGIN_1_13),
    before(573, &["1.15"], LOGIN_1_13),
    before(575, &["1.15.1"], LOGIN_1_13),
    before(578, &["1.15.2"], LOGIN_1_13),
    before(735, &["1.16"], LOGIN_1_13),
    before(736, &["1.16.1"], LOGIN_1_13),
    before(751, &["1.16.2"], LOGIN_1_13),
    before(753, &["1.16.3"], LOGIN_1_13),
    before(754, &["1.16.4", "1.16.5"], LOGIN_1_13),
    before(755, &["1.17"], LOGIN_1_13),
    before(756, &["1.17.1"], LOGIN_1_13),
    before(757, &["1.18", "1.18.1"], LOGIN_1_13),
    before(758, &["1.18.2"], LOGIN_1_13),
    before(759, &["1.19"], LOGIN_1_19),
    before(760, &["1.19.1", "1.19.2"], LOGIN_1_19_1),
    before(761, &["1.19.3"], LOGIN_1_19_3),
    before(762, &["1.19.4"], LOGIN_1_19_3),
    before(763, &["1.20", "1.20.1"], LOGIN_1_19_3),
    before(764, &["1.20.2"], LOGIN_1_20_2),
    before(765, &["1.20.3", "1.20.4"], LOGIN_1_20_2),
    since(766, &["1.20.5", "1.20.6"], LOGIN_1_20_5, CONFIGURATION_1_20_5),
    since(767, &["1.21", "1.21.1"], LOGIN_1_20_5, CONFIGURATION_1_20_5),
    since(768, &["1.21.2", "1.21.3"], LOGIN_1_21_2, CONFIGURATION_1_20_5),
    since(769, &["1.21.4"], LOGIN_1_21_2, CONFIGURATION_1_20_5),
    since(770, &["1.21.5"], LOGIN_1_21_2, CONFIGURATION_1_20_5),
    since(771, &["1.21.6"], LOGIN_1_21_2, CONFIGURATION_1_21_6),
    since(772, &["1.21.7", "1.21.8"], LOGIN_1_21_2, CONFIGURATION_1_21_6),
    since(773, &["1.21.9", "1.21.10"], LOGIN_1_21_2, CONFIGURATION_1_21_6),
    since(774, &["1.21.11"], LOGIN_1_21_2, CONFIGURATION_1_21_6),
    since(775, &["26.1", "26.1.1", "26.1.2"], LOGIN_1_21_2, CONFIGURATION_1_21_6),
    since(776, &["26.2"], LOGIN_26_2, CONFIGURATION_1_21_6),
    NEWEST,
];

/// The newest version that is known.
pub const NEWEST: Version = since(777, &["26.3"], LOGIN_26_2, CONFIGURATION_26_3);

/// A version from before cookies and transfers.
const fn before(protocol: i32, releases: &'static [&'static str], login: Login) -> Version {
    Version {
        protocol,
        releases,
        login,
        configuration: None,
    }
}

const fn since(
    protocol: i32,
    releases: &'static [&'static str],
    login: Login,
    configuration: Configuration,
) -> Version {
    Version {
        protocol,
        releases,
        login,
        configuration: Some(configuration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_to_the_newest_and_name_each_release_once() {
        assert!(VERSIONS.is_sorted_by(|older, newer| older.protocol < newer.protocol));
        assert_eq!(VERSIONS.last(), Some(&NEWEST));
        let names = || VERSIONS.iter().flat_map(|version| version.releases);
        assert!(VERSIONS.iter().all(|version| !version.releases.is_empty()));
        let unique: std::collections::BTreeSet<_> = names().collect();
        assert_eq!(unique.len(), names().count());
    }
}
