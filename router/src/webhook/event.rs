//! What a webhook is told, in the words of mc-router, so that a receiver written for that goes on.
//!
//! Pure. What differs: the server is the host without what mods and proxies add to it, a transfer
//! names its player, and nobody disconnects who was never connected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::ConnectionError;
use crate::routes::Route;
use crate::shared_str::SharedStr;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A client was connected to a backend, or was to be.
    Connect,
    /// A client that was connected is so no more.
    Disconnect,
    /// There is a route for a host.
    RouteAdded,
    /// There is no route for a host any more.
    RouteRemoved,
    /// There is a default route.
    DefaultRouteSet,
    /// There is no default route any more.
    DefaultRouteRemoved,
}

impl EventKind {
    const ALL: [Self; 6] = [
        Self::Connect,
        Self::Disconnect,
        Self::RouteAdded,
        Self::RouteRemoved,
        Self::DefaultRouteSet,
        Self::DefaultRouteRemoved,
    ];

    /// Its name in settings and payloads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::RouteAdded => "route-added",
            Self::RouteRemoved => "route-removed",
            Self::DefaultRouteSet => "default-route-set",
            Self::DefaultRouteRemoved => "default-route-removed",
        }
    }

    /// The event of that name; case and spaces do not matter.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no event; there are {names}")
        })
    }

    /// Whether it is about a route.
    #[must_use]
    pub fn is_of_routes(self) -> bool {
        !matches!(self, Self::Connect | Self::Disconnect)
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should.
    Success,
    /// There is no route, or none whose server is up or wakes.
    MissingBackend,
    /// The backend could not be reached, or would not talk.
    FailedBackendConnection,
}

impl Status {
    /// Its name in payloads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::MissingBackend => "missing-backend",
            Self::FailedBackendConnection => "failed-backend-connection",
        }
    }
}

/// Where `route` leads, as payloads have it. Copies nothing where that is one backend.
pub(super) fn backend_of(route: &Route) -> SharedStr {
    match route.addresses().nth(1) {
        None => route.backend.shared(),
        Some(_) => route.leads_to().into(),
    }
}

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    /// The name the client claims.
    pub name: String,
    /// The UUID it claims; all zeros where its version tells none.
    pub uuid: u128,
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When.
    pub at: SystemTime,
    /// How it went.
    pub status: Status,
    /// Where the client connects from; `None` for routes.
    pub client: Option<SocketAddr>,
    /// The host, or nothing for the default route.
    pub server: SharedStr,
    /// Who; `None` for pings and routes.
    pub player: Option<Arc<Player>>,
    /// To which backend; of a route with several, all of them as its source has them.
    pub backend: Option<SharedStr>,
    /// Why not.
    pub error: Option<String>,
}

#[derive(Serialize)]
struct Payload<'e> {
    event: &'static str,
    timestamp: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ClientJson>,
    server: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    player: Option<PlayerJson<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'e str>,
}

#[derive(Serialize)]
struct ClientJson {
    host: String,
    port: u16,
}

#[derive(Serialize)]
struct PlayerJson<'e> {
    name: &'e str,
    uuid: String,
}

impl Event {
    /// The payload.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let payload = Payload {
            event: self.kind.name(),
            timestamp: Timestamp::try_from(self.at)
                .unwrap_or(Timestamp::MAX)
                .to_string(),
            status: self.status.name(),
            client: self.client.map(|client| ClientJson {
                host: client.ip().to_string(),
                port: client.port(),
            }),
            server: &self.server,
            player: self.player.as_ref().map(|player| PlayerJson {
                name: &player.name,
                uuid: hyphenated(player.uuid),
            }),
            backend: self.backend.as_deref(),
            error: self.error.as_deref(),
        };
        // Texts and numbers alone: there is nothing to fail.
        serde_json::to_vec(&payload).unwrap_or_default()
    }
}

/// RFC 9562, section 4.
fn hyphenated(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

/// What a login that ended with `error` is to a receiver; `None` when the client left by itself,
/// the router had no place or stops, or what came was not Minecraft.
#[must_use]
pub fn failure(error: &ConnectionError) -> Option<(Status, String)> {
    let status = match error {
        ConnectionError::UnknownHost => {
            return Some((Status::MissingBackend, "No backend found".to_owned()));
        }
        ConnectionError::Told(error) => return failure(error),
        error if !error.is_kick() => return None,
        ConnectionError::Full
        | ConnectionError::Busy
        | ConnectionError::AddressBusy { .. }
        | ConnectionError::TooManyPings
        | ConnectionError::TurnedAway
        | ConnectionError::MayNotJoin => return None,
        ConnectionError::Unreachable { .. }
        | ConnectionError::NotReady { .. }
        | ConnectionError::BackendClosed(_) => Status::FailedBackendConnection,
        _ => Status::MissingBackend,
    };
    Some((status, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::BackendAddr;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn event() -> Event {
        Event {
            kind: EventKind::Connect,
            at: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
            status: Status::Success,
            client: Some("203.0.113.7:56860".parse().unwrap()),
            server: "play.example".into(),
            player: Some(Arc::new(Player {
                name: "Steve".to_owned(),
                uuid: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            })),
            backend: Some("backend:25565".into()),
            error: None,
        }
    }

    fn payload(event: &Event) -> Value {
        serde_json::from_slice(&event.json()).unwrap()
    }

    #[test]
    fn a_connection_is_told_in_the_words_of_mc_router() {
        assert_eq!(
            payload(&event()),
            json!({
                "event": "connect",
                "timestamp": "2023-11-14T22:13:20.123456789Z",
                "status": "success",
                "client": { "host": "203.0.113.7", "port": 56860 },
                "server": "play.example",
                "player": { "name": "Steve", "uuid": "01234567-89ab-cdef-0123-456789abcdef" },
                "backend": "backend:25565",
            })
        );
    }

    #[test]
    fn what_there_is_nothing_to_say_of_is_left_out_but_status_and_server() {
        let event = Event {
            kind: EventKind::DefaultRouteRemoved,
            client: None,
            server: "".into(),
            player: None,
            backend: None,
            ..event()
        };
        let payload = payload(&event);
        let keys: Vec<_> = payload.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["event", "server", "status", "timestamp"]);
        assert_eq!(payload["event"], "default-route-removed");
        assert_eq!(
            (&payload["status"], &payload["server"]),
            (&json!("success"), &json!(""))
        );
    }

    #[test]
    fn only_what_is_the_servers_fault_is_a_failure() {
        let status = |error| failure(&error).map(|(status, _)| status.name());
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let backend = || BackendAddr::parse("b:1").unwrap();
        assert_eq!(
            failure(&ConnectionError::UnknownHost),
            Some((Status::MissingBackend, "No backend found".to_owned()))
        );
        let unreachable = || ConnectionError::Unreachable {
            backend: backend(),
            error: io(),
        };
        for (error, expected) in [
            (unreachable(), Some("failed-backend-connection")),
            (
                ConnectionError::BackendClosed(io()),
                Some("failed-backend-connection"),
            ),
            (
                ConnectionError::Told(Box::new(unreachable())),
                Some("failed-backend-connection"),
            ),
            (ConnectionError::ComeBack, Some("missing-backend")),
            (ConnectionError::ClientLeft, None),
            (ConnectionError::LeaveClicked, None),
            (ConnectionError::Stopping, None),
            (ConnectionError::Full, None),
            (ConnectionError::Io(io()), None),
        ] {
            assert_eq!(status(error), expected);
        }
    }

    #[test]
    fn events_are_known_by_name_and_others_are_refused_by_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(&kind.name().to_uppercase()), Ok(kind));
        }
        assert!(EventKind::parse("conect").unwrap_err().contains("conect"));
    }

    proptest! {
        #[test]
        fn any_names_and_errors_make_one_json_object(
            server in any::<String>(), name in any::<String>(), uuid in any::<u128>(),
            error in proptest::option::of(any::<String>()),
        ) {
            let player = Some(Arc::new(Player { name: name.clone(), uuid }));
            let told = Event { server: server.as_str().into(), player, error: error.clone(), ..event() };
            let told = payload(&told);
            prop_assert_eq!(told["server"].as_str(), Some(server.as_str()));
            prop_assert_eq!(told["player"]["name"].as_str(), Some(name.as_str()));
            let hex = told["player"]["uuid"].as_str().unwrap().replace('-', "");
            prop_assert_eq!(u128::from_str_radix(&hex, 16), Ok(uuid));
            prop_assert_eq!(told["error"].as_str(), error.as_deref());
        }
    }
}
