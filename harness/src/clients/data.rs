//! What minecraft-data, the tables of the Minecraft clients in `harness/clients`, knows of versions, compared
//! with the router's table.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use automc_router::protocol::versions::{LOGIN, Start, Success, Version};
use serde_json::Value;

use super::install;

/// The protocols of versions, as one edition of minecraft-data has them.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// Which edition; empty for one by hand.
    pub edition: String,
    /// Each release since 1.7 and its protocol number, the newest first.
    pub releases: Vec<(String, i32)>,
    /// The packets of the releases whose packets it has.
    pub packets: BTreeMap<String, Value>,
}

impl Data {
    /// In CI the newest edition that is published; elsewhere, and without a registry, the one that the clients are
    /// installed with.
    ///
    /// # Errors
    /// Neither can be installed, or it is of another form.
    pub async fn newest() -> Result<Self> {
        let (edition, folder) = install::newest_data().await?;
        Self::read(edition, &folder)
    }

    /// Reads the `data` folder of the package.
    fn read(edition: String, folder: &Path) -> Result<Self> {
        let json = |path: &str| -> Result<Value> {
            let text = std::fs::read(folder.join(path)).with_context(|| path.to_owned())?;
            serde_json::from_slice(&text).with_context(|| path.to_owned())
        };
        let known = json("pc/common/protocolVersions.json")?;
        let known = known.as_array().context("no list of versions")?;
        let paths = json("dataPaths.json")?;
        let mut data = Self {
            edition,
            ..Self::default()
        };
        for version in known {
            let of = |field: &str| version.get(field);
            let name = of("minecraftVersion").and_then(Value::as_str);
            let name = name.context("no name")?;
            if of("usesNetty") != Some(&Value::Bool(true)) || !is_release(name) {
                continue;
            }
            let protocol = of("version").and_then(Value::as_i64);
            let protocol = protocol.context("no protocol")?;
            data.releases
                .push((name.to_owned(), i32::try_from(protocol)?));
            let path = paths.pointer(&format!("/pc/{name}/protocol"));
            if let Some(path) = path.and_then(Value::as_str) {
                let packets = json(&format!("{path}/protocol.json"))?;
                data.packets.insert(name.to_owned(), packets);
            }
        }
        Ok(data)
    }

    /// What `table` lacks or has otherwise, a sentence each, the newest release first.
    #[must_use]
    pub fn differences(&self, table: &[Version]) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, protocol) in &self.releases {
            let row = table.iter().find(|row| row.protocol == *protocol);
            let Some(row) = row.filter(|row| row.releases.contains(&name.as_str())) else {
                differences.push(format!(
                    "release {name} (protocol {protocol}) is missing in the table"
                ));
                continue;
            };
            let Some(packets) = self.packets.get(name) else {
                continue;
            };
            for (what, in_table, in_data) in compared(row, packets) {
                if in_table != in_data {
                    differences.push(format!(
                        "release {name} (protocol {protocol}): {what} is {in_table} in the table, and {in_data} \
                         in minecraft-data"
                    ));
                }
            }
        }
        for (name, protocol) in table.iter().flat_map(named) {
            if !self.releases.contains(&(name.to_owned(), protocol)) {
                differences.push(format!(
                    "release {name} (protocol {protocol}) is not known to minecraft-data"
                ));
            }
        }
        differences
    }
}

/// Each release of a row, with its number.
fn named(row: &Version) -> impl Iterator<Item = (&'static str, i32)> + use<> {
    let protocol = row.protocol;
    row.releases.iter().map(move |name| (*name, protocol))
}

/// `1.21.4`, `26.3`; not `1.21.4-pre1`, nor `24w14a`.
fn is_release(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    name.contains('.') && name.split('.').all(part)
}

/// What there is to compare, what the table has for it, and what the data.
type Compared = (String, String, String);
/// The name of a packet in the data, and the table's id.
type Id<'t> = (&'t str, Option<i32>);

/// Each thing that the table says of a version.
fn compared(row: &Version, packets: &Value) -> Vec<Compared> {
    let [to_client, to_server] = login_ids(row);
    let mut compared = ids(packets, "login/toClient", &to_client);
    compared.extend(ids(packets, "login/toServer", &to_server));
    if let Some(configuration) = &row.configuration {
        let to_client = [
            ("disconnect", Some(configuration.disconnect)),
            ("keep_alive", Some(configuration.keep_alive)),
            ("store_cookie", Some(configuration.store_cookie)),
            ("transfer", Some(configuration.transfer)),
            ("show_dialog", configuration.show_dialog),
        ];
        let to_server = [
            ("settings", Some(configuration.client_information)),
            ("custom_click_action", configuration.click),
        ];
        compared.extend(ids(packets, "configuration/toClient", &to_client));
        compared.extend(ids(packets, "configuration/toServer", &to_server));
    } else {
        let none = [("transfer", None)];
        compared.extend(ids(packets, "configuration/toClient", &none));
    }
    compared.extend(layouts(row, packets));
    compared
}

/// The packets of the login state, to the client and to the server.
fn login_ids(row: &Version) -> [Vec<Id<'static>>; 2] {
    let login = &row.login;
    let when = |there: bool, id: i32| there.then_some(id);
    let has_configuration = login.start == Start::Uuid;
    let to_client = vec![
        ("disconnect", Some(LOGIN.disconnect)),
        ("encryption_begin", Some(LOGIN.encryption_request)),
        ("success", Some(LOGIN.success)),
        (
            "compress",
            when(login.set_compression, LOGIN.set_compression),
        ),
        (
            "login_plugin_request",
            when(login.plugin_request, LOGIN.plugin_request),
        ),
        (
            "cookie_request",
            when(login.cookie_request, LOGIN.cookie_request),
        ),
    ];
    let to_server = vec![
        ("login_start", Some(LOGIN.start)),
        (
            "login_plugin_response",
            when(login.plugin_request, LOGIN.plugin_response),
        ),
        (
            "login_acknowledged",
            when(has_configuration, LOGIN.acknowledged),
        ),
        (
            "cookie_response",
            when(login.cookie_request, LOGIN.cookie_response),
        ),
    ];
    [to_client, to_server]
}

fn ids(packets: &Value, direction: &str, table: &[Id<'_>]) -> Vec<Compared> {
    let shown =
        |id: Option<i32>| id.map_or_else(|| "nothing".to_owned(), |id| format!("{id:#04x}"));
    let compared = table.iter().map(|(packet, id)| {
        let found = id_of(packets, direction, packet);
        (format!("{packet} of {direction}"), shown(*id), shown(found))
    });
    compared.collect()
}

fn layouts(row: &Version, packets: &Value) -> Vec<Compared> {
    let start = match row.login.start {
        Start::Name => "username",
        Start::Key => "username, signature?",
        Start::KeyAndMaybeUuid => "username, signature?, playerUUID?",
        Start::MaybeUuid => "username, playerUUID?",
        Start::Uuid => "username, playerUUID",
    };
    let success = match row.login.success {
        Success::Unwritten => None,
        Success::Strictness => Some("uuid, username, properties, strictErrorHandling"),
        Success::Nothing => Some("uuid, username, properties"),
        Success::Session => Some("uuid, username, properties, sessionId"),
    };
    let start = ("toServer/types/packet_login_start", Some(start));
    let success = ("toClient/types/packet_success", success);
    let layouts = [start, success]
        .into_iter()
        .filter_map(|(packet, in_table)| {
            let found = fields(packets, packet);
            Some((packet.to_owned(), in_table?.to_owned(), found))
        });
    layouts.collect()
}

/// The id of a packet, if there is one of that name.
fn id_of(packets: &Value, direction: &str, packet: &str) -> Option<i32> {
    let mapped = format!("/{direction}/types/packet/1/0/type/1/mappings");
    let named = |(id, name): (&String, &Value)| {
        let digits = id.strip_prefix("0x").unwrap_or(id);
        let id = i32::from_str_radix(digits, 16).ok()?;
        (name == packet).then_some(id)
    };
    let mapped = packets.pointer(&mapped)?.as_object()?;
    mapped.iter().find_map(named)
}

/// The names of the fields of a packet of the login state; `?` behind one that may be missing.
fn fields(packets: &Value, packet: &str) -> String {
    let fields = packets.pointer(&format!("/login/{packet}/1"));
    let field = |field: &Value| {
        let name = field.get("name").and_then(Value::as_str);
        let optional = field
            .pointer("/type/0")
            .is_some_and(|kind| kind == "option");
        let mark = if optional { "?" } else { "" };
        format!("{}{mark}", name.unwrap_or("(nameless)"))
    };
    let fields = fields.and_then(Value::as_array);
    let names: Vec<_> = fields.into_iter().flatten().map(field).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use automc_router::protocol::versions::{NEWEST, VERSIONS};
    use serde_json::json;

    fn mapped(packets: &[(&str, i32)]) -> Value {
        let mappings: serde_json::Map<_, _> = packets
            .iter()
            .map(|(name, id)| (format!("0x{id:02x}"), json!(name)))
            .collect();
        json!({ "packet": [0, [{ "type": ["mapper", { "mappings": mappings }] }]] })
    }

    /// What the data would have for [`NEWEST`], but for where `transfer` is.
    fn like_the_newest(transfer: i32) -> Value {
        let mut login = mapped(&[
            ("disconnect", 0),
            ("encryption_begin", 1),
            ("success", 2),
            ("compress", 3),
            ("login_plugin_request", 4),
            ("cookie_request", 5),
        ]);
        let field = |name: &str| json!({ "name": name, "type": "x" });
        let fields =
            |names: &[&str]| -> Vec<Value> { names.iter().map(|name| field(name)).collect() };
        login["packet_success"] = json!([
            "container",
            fields(&["uuid", "username", "properties", "sessionId"])
        ]);
        let mut to_server = mapped(&[
            ("login_start", 0),
            ("login_plugin_response", 2),
            ("login_acknowledged", 3),
            ("cookie_response", 4),
        ]);
        to_server["packet_login_start"] = json!(["container", fields(&["username", "playerUUID"])]);
        json!({
            "login": { "toClient": { "types": login }, "toServer": { "types": to_server } },
            "configuration": {
                "toClient": { "types": mapped(&[
                    ("disconnect", 2), ("keep_alive", 4), ("store_cookie", 0x0B),
                    ("transfer", transfer), ("show_dialog", 0x13),
                ]) },
                "toServer": { "types": mapped(&[("settings", 0), ("custom_click_action", 8)]) },
            },
        })
    }

    fn data(newest: Value) -> Data {
        let rows = VERSIONS.iter().flat_map(named);
        let name = NEWEST.releases[0].to_owned();
        Data {
            edition: String::new(),
            releases: rows
                .map(|(name, protocol)| (name.to_owned(), protocol))
                .collect(),
            packets: BTreeMap::from([(name, newest)]),
        }
    }

    #[test]
    fn a_release_that_the_table_lacks_is_named_and_so_is_one_that_it_has_otherwise() {
        let same = data(like_the_newest(0x0C));
        assert_eq!(same.differences(VERSIONS), [""; 0]);
        let moved = data(like_the_newest(0x0D)).differences(VERSIONS);
        assert_eq!(moved.len(), 1, "{moved:?}");
        assert!(
            moved[0].contains("26.3 (protocol 777): transfer of configuration"),
            "{moved:?}"
        );

        let mut newer = same.clone();
        newer.releases.insert(0, ("26.4".to_owned(), 778));
        newer.releases.push(("26.3.1".to_owned(), 777));
        let missing = newer.differences(VERSIONS);
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].starts_with("release 26.4 (protocol 778) is missing"));
        assert!(missing[1].starts_with("release 26.3.1 (protocol 777) is missing"));

        let mut older = same;
        older.releases.pop();
        let unknown = older.differences(VERSIONS);
        assert_eq!(
            unknown,
            ["release 26.3 (protocol 777) is not known to minecraft-data"]
        );
    }

    #[test]
    fn releases_are_told_from_what_comes_before_them() {
        for name in ["1.7.2", "1.21.11", "26.3"] {
            assert!(is_release(name), "{name}");
        }
        for name in [
            "26.4-snapshot-6",
            "24w14a",
            "1.21.4-pre1",
            "1.",
            "20w14infinite",
        ] {
            assert!(!is_release(name), "{name}");
        }
    }
}
