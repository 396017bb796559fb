//! Lists of players in a file of mc-router's shape: who may wake a server, or join it.
//!
//! ```json
//! {"global": {"allowlist": [{"name": "Alex"}], "denylist": []},
//!  "servers": {"a.example": {"denylist": [{"uuid": "069a79f4-44e9-4726-a5be-fca90e38aaf5"}]}}}
//! ```
//!
//! Servers go by their host names, cleaned up like everything that is looked up here; names count
//! in any case. What is said of all servers and of one adds up, and a denial always wins:
//! mc-router, which compares every character, does not look at denials once anybody is allowed.
//! Names and UUIDs are what clients say of themselves.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use crate::host::{Host, Names};
use crate::wake::permit::{Claim, Player, Refused, player, uuid};

/// Largest file.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The lists of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Players {
    everywhere: Lists,
    servers: HashMap<Host, Lists>,
    names: Names,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Lists {
    allow: List,
    deny: List,
}

/// Players by what is known of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct List {
    /// In lower case.
    names: HashSet<Box<str>>,
    uuids: HashSet<u128>,
    /// Both must be right.
    both: HashSet<(Box<str>, u128)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: Option<FileLists>,
    #[serde(default)]
    servers: Option<BTreeMap<String, FileLists>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLists {
    #[serde(default)]
    allowlist: Option<Vec<FileEntry>>,
    #[serde(default)]
    denylist: Option<Vec<FileEntry>>,
}

/// As in the lists of a Minecraft server, which say more about a player.
#[derive(Deserialize)]
struct FileEntry {
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

impl Players {
    /// Reads the file's text; `names` says how host names are read.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &[u8], names: Names) -> Result<Self, String> {
        // An array would do for the library, as a struct without names.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err("not a JSON object".to_owned());
        }
        let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let mut players = Self {
            names,
            ..Self::default()
        };
        if let Some(lists) = file.global {
            players.everywhere.take(&lists, "global")?;
        }
        for (name, lists) in file.servers.into_iter().flatten() {
            let place = format!("servers.{name}");
            let host = names
                .parse(&name)
                .map_err(|error| format!("{place}: {error}"))?;
            // Two spellings of one name add up.
            players
                .servers
                .entry(host)
                .or_default()
                .take(&lists, &place)?;
        }
        Ok(players)
    }

    /// Whether the lists let a player have the server of `host`, as the client has written it.
    ///
    /// # Errors
    /// [`Refused::Denied`] or [`Refused::NotListed`].
    pub fn permit(&self, host: &str, claim: &Claim<'_>) -> Result<(), Refused> {
        let own = self.names.look_up(host, |key| self.servers.get(key));
        let lists = || std::iter::once(&self.everywhere).chain(own);
        let name = claim.name.to_ascii_lowercase();
        let is_on = |list: &List| list.contains(&name, claim.uuid);
        if lists().any(|lists| is_on(&lists.deny)) {
            return Err(Refused::Denied);
        }
        let closed = lists().any(|lists| !lists.allow.is_empty());
        if closed && !lists().any(|lists| is_on(&lists.allow)) {
            return Err(Refused::NotListed);
        }
        Ok(())
    }
}

impl Lists {
    fn take(&mut self, file: &FileLists, place: &str) -> Result<(), String> {
        for (list, entries, key) in [
            (&mut self.allow, &file.allowlist, "allowlist"),
            (&mut self.deny, &file.denylist, "denylist"),
        ] {
            for (index, entry) in entries.iter().flatten().enumerate() {
                let added = list.add(entry);
                added.map_err(|reason| format!("{place}.{key}[{index}]: {reason}"))?;
            }
        }
        Ok(())
    }
}

impl List {
    fn add(&mut self, entry: &FileEntry) -> Result<(), String> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let id = given(&entry.uuid)
            .map(|text| uuid(&text).ok_or_else(|| format!("{text:?} is not a UUID")))
            .transpose()?;
        let name = given(&entry.name)
            .map(|text| match player(&text)? {
                Player::Name(name) => Ok(name),
                Player::Uuid(_) => Err(format!("{text:?} is a UUID, not a name")),
            })
            .transpose()?;
        match (name, id) {
            (Some(name), Some(id)) => drop(self.both.insert((name, id))),
            (Some(name), None) => drop(self.names.insert(name)),
            (None, Some(id)) => drop(self.uuids.insert(id)),
            // With mc-router it is nobody, and a list of nobody shuts everybody out.
            (None, None) => return Err("neither a name nor a uuid".to_owned()),
        }
        Ok(())
    }

    /// `name` is in lower case.
    fn contains(&self, name: &str, uuid: Option<u128>) -> bool {
        let by_uuid = |id: u128| {
            self.uuids.contains(&id)
                || (!self.both.is_empty() && self.both.contains(&(name.into(), id)))
        };
        self.names.contains(name) || uuid.is_some_and(by_uuid)
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.uuids.is_empty() && self.both.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    const NOTCH: &str = "069a79f4-44e9-4726-a5be-fca90e38aaf5";
    const NOTCH_UUID: u128 = 0x069a_79f4_44e9_4726_a5be_fca9_0e38_aaf5;

    fn ask(json: &str, host: &str, name: &str, uuid: Option<u128>) -> Result<(), Refused> {
        let players = Players::parse(json.as_bytes(), Names::default()).unwrap();
        let address = IpAddr::from([192, 0, 2, 1]);
        let claim = Claim {
            name,
            uuid,
            address,
        };
        players.permit(host, &claim)
    }

    #[test]
    fn a_denial_holds_under_every_spelling_of_host_and_name() {
        let json = r#"{"servers": {"A.Example.": {"denylist": [{"name": "Eve"}]}}}"#;
        for host in ["a.example", "A.EXAMPLE", "a.example.", "a.example\0FML\0"] {
            for name in ["Eve", "eve", "EVE"] {
                assert_eq!(ask(json, host, name, None), Err(Refused::Denied), "{host}");
            }
            assert_eq!(ask(json, host, "Alex", None), Ok(()));
        }
        assert_eq!(ask(json, "b.example", "Eve", None), Ok(()));
    }

    #[test]
    fn what_is_said_of_all_and_of_one_adds_up_and_a_denial_wins() {
        let json = r#"{"global": {"allowlist": [{"name": "a"}, {"name": "c"}]}, "servers":
            {"x": {"allowlist": [{"name": "b"}], "denylist": [{"name": "c"}]}, "y": {}}}"#;
        assert_eq!(ask(json, "x", "a", None), Ok(()));
        assert_eq!(ask(json, "x", "b", None), Ok(()));
        assert_eq!(ask(json, "x", "c", None), Err(Refused::Denied));
        assert_eq!(ask(json, "x", "d", None), Err(Refused::NotListed));
        assert_eq!(ask(json, "y", "c", None), Ok(()));
        assert_eq!(ask(json, "z", "b", None), Err(Refused::NotListed));
        assert_eq!(ask("{}", "x", "anybody", None), Ok(()));
        assert_eq!(
            ask(r#"{"global": null, "servers": null}"#, "x", "a", None),
            Ok(())
        );
    }

    #[test]
    fn name_and_uuid_together_must_both_be_right() {
        let json = format!(
            r#"{{"global": {{"allowlist": [{{"uuid": "{NOTCH}", "name": "Notch", "level": 4}}]}}}}"#
        );
        assert_eq!(ask(&json, "x", "notch", Some(NOTCH_UUID)), Ok(()));
        for (name, uuid) in [
            ("notch", None),
            ("Eve", Some(NOTCH_UUID)),
            ("notch", Some(1)),
        ] {
            assert_eq!(ask(&json, "x", name, uuid), Err(Refused::NotListed));
        }
        let json = format!(r#"{{"global": {{"allowlist": [{{"uuid": "{NOTCH}"}}]}}}}"#);
        assert_eq!(ask(&json, "x", "Eve", Some(NOTCH_UUID)), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (json, told) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{\"global\":", "EOF"),
            (r#"{"server": {}}"#, "unknown field `server`"),
            (
                r#"{"global": {"allowList": []}}"#,
                "unknown field `allowList`",
            ),
            (
                r#"{"global": {"denylist": [{}]}}"#,
                "global.denylist[0]: neither",
            ),
            (
                r#"{"servers": {"a": {"allowlist": [{"name": "a"}, {"uuid": "zzz"}]}}}"#,
                "servers.a.allowlist[1]: \"zzz\" is not a UUID",
            ),
            (
                r#"{"global": {"denylist": [{"name": "two words"}]}}"#,
                "neither a player's name",
            ),
            (r#"{"servers": {"a b": {}}}"#, "servers.a b: "),
        ] {
            let error = Players::parse(json.as_bytes(), Names::default()).unwrap_err();
            assert!(error.contains(told), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>) {
            drop(Players::parse(&bytes, Names::default()));
        }
    }
}
