//! Settings of one route as texts: the optional columns of its row, and the configuration's
//! defaults, which are written alike.
//!
//! A text that cannot be honoured never takes the route away: the default stays, and the reason
//! is told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::policy::{Join, Policy};
use crate::addr::BackendAddr;
use crate::balance::Balance;
use crate::config::values::{duration, switch};
use crate::proxy_protocol::Version;
use crate::texts::Texts;
use crate::wake::hours::Hours;
use crate::wake::permit;

/// Longest text of one setting, in bytes.
pub const SETTING_BYTES_MAX: usize = 64 * 1024;
/// Longest reason that is told, in characters; it may quote the text.
const REASON_CHARS_MAX: usize = 300;

const MINUTE: Duration = Duration::from_secs(60);
/// Longest `hold_max`.
const HOLD_LIMIT: Duration = MINUTE.saturating_mul(60);
/// Longest `settle`.
const SETTLE_LIMIT: Duration = MINUTE.saturating_mul(10);
/// Shortest `down_after`.
const DOWN_LEAST: Duration = Duration::from_millis(10);
/// Longest `min_online` and `down_after`: a week.
const ONLINE_LIMIT: Duration = MINUTE.saturating_mul(60 * 24 * 7);

/// One setting of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    /// [`Policy::join`].
    Join,
    /// [`Policy::hold_max`].
    HoldMax,
    /// [`Policy::settle`].
    Settle,
    /// [`Policy::forward_to`].
    ForwardTo,
    /// [`Policy::compression_hold`].
    CompressionHold,
    /// [`Policy::keep_transfer_intent`].
    KeepTransferIntent,
    /// Who may wake the server.
    WakeAllow,
    /// Who may not.
    WakeDeny,
    /// When it may be woken.
    WakeHours,
    /// [`Policy::min_online`].
    MinOnline,
    /// [`Policy::down_after`].
    DownAfter,
    /// [`Policy::proxy_protocol`].
    ProxyProtocol,
    /// [`Policy::balance`].
    Balance,
    /// [`Policy::texts`].
    Texts,
}

/// A row's own settings: those of its columns that are not NULL.
pub type Overrides = Vec<(Setting, String)>;

/// Settings that were left at their defaults, with the reasons.
pub type Ignored = Vec<(Setting, String)>;

impl Setting {
    /// Every one of them.
    pub const ALL: [Self; 14] = [
        Self::Join,
        Self::HoldMax,
        Self::Settle,
        Self::ForwardTo,
        Self::CompressionHold,
        Self::KeepTransferIntent,
        Self::WakeAllow,
        Self::WakeDeny,
        Self::WakeHours,
        Self::MinOnline,
        Self::DownAfter,
        Self::ProxyProtocol,
        Self::Balance,
        Self::Texts,
    ];

    /// Its column of the table `servers`.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::Join => "join_methods",
            Self::HoldMax => "hold_max",
            Self::Settle => "settle",
            Self::ForwardTo => "forward_to",
            Self::CompressionHold => "compression_hold",
            Self::KeepTransferIntent => "keep_transfer_intent",
            Self::WakeAllow => "wake_allow",
            Self::WakeDeny => "wake_deny",
            Self::WakeHours => "wake_hours",
            Self::MinOnline => "min_online",
            Self::DownAfter => "down_after",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Balance => "balance",
            Self::Texts => "texts",
        }
    }

    /// The setting of a column, if the column is one's.
    #[must_use]
    pub fn of_column(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|setting| setting.column() == name)
    }

    /// Reads `text` into `policy`. Nothing, and an empty array or object, leave it as it is.
    ///
    /// # Errors
    /// What is wrong with `text`, at most 300 characters; `policy` is as it was.
    pub fn apply(self, policy: &mut Policy, text: &str) -> Result<(), String> {
        let text = text.trim();
        if text.is_empty() || text == "{}" {
            return Ok(());
        }
        if text.len() > SETTING_BYTES_MAX {
            return Err(format!("it is over {SETTING_BYTES_MAX} bytes"));
        }
        self.set(policy, text)
            .map_err(|reason| reason.chars().take(REASON_CHARS_MAX).collect())
    }

    fn set(self, policy: &mut Policy, text: &str) -> Result<(), String> {
        let up_to = |limit| duration(text, Duration::ZERO, limit);
        match self {
            Self::Join => policy.join = join(&items(text)?)?,
            Self::HoldMax => policy.hold_max = up_to(HOLD_LIMIT)?,
            Self::Settle => policy.settle = up_to(SETTLE_LIMIT)?,
            Self::ForwardTo => {
                let address = BackendAddr::parse(text).map_err(|error| error.to_string())?;
                policy.forward_to = Some(address);
            }
            Self::CompressionHold => policy.compression_hold = switch(text)?,
            Self::KeepTransferIntent => policy.keep_transfer_intent = switch(text)?,
            Self::WakeAllow if text == "*" => policy.wake.allow.clear(),
            Self::WakeAllow => policy.wake.allow = permit::players(&items(text)?)?,
            Self::WakeDeny => policy.wake.deny = permit::players(&items(text)?)?,
            Self::WakeHours if text.eq_ignore_ascii_case("always") => policy.wake.hours = None,
            Self::WakeHours => policy.wake.hours = Some(Hours::parse(&items(text)?)?),
            Self::MinOnline => policy.min_online = up_to(ONLINE_LIMIT)?,
            Self::DownAfter if text.eq_ignore_ascii_case("off") => policy.down_after = None,
            Self::DownAfter => {
                policy.down_after = Some(duration(text, DOWN_LEAST, ONLINE_LIMIT)?);
            }
            Self::ProxyProtocol => policy.proxy_protocol = proxy_protocol(text)?,
            Self::Balance => policy.balance = balance(text)?,
            Self::Texts => {
                policy.texts = Arc::new(texts(text)?.over(Arc::clone(&policy.texts)));
            }
        }
        Ok(())
    }

    fn differs(self, a: &Policy, b: &Policy) -> bool {
        match self {
            Self::Join => a.join != b.join,
            Self::HoldMax => a.hold_max != b.hold_max,
            Self::Settle => a.settle != b.settle,
            Self::ForwardTo => a.forward_to != b.forward_to,
            Self::CompressionHold => a.compression_hold != b.compression_hold,
            Self::KeepTransferIntent => a.keep_transfer_intent != b.keep_transfer_intent,
            Self::WakeAllow => a.wake.allow != b.wake.allow,
            Self::WakeDeny => a.wake.deny != b.wake.deny,
            Self::WakeHours => a.wake.hours != b.wake.hours,
            Self::MinOnline => a.min_online != b.min_online,
            Self::DownAfter => a.down_after != b.down_after,
            Self::ProxyProtocol => a.proxy_protocol != b.proxy_protocol,
            Self::Balance => a.balance != b.balance,
            Self::Texts => a.texts != b.texts,
        }
    }
}

/// The settings in which two policies differ, as their columns are called.
#[must_use]
pub fn differences(a: &Policy, b: &Policy) -> Vec<&'static str> {
    let differing = Setting::ALL
        .into_iter()
        .filter(|setting| setting.differs(a, b));
    differing.map(Setting::column).collect()
}

/// Most policies that are known at once; then it begins anew.
const POLICIES_MAX: usize = 10_000;

/// The policies of the table's rows; rows with equal settings share one.
#[derive(Debug, Clone)]
pub struct Policies {
    defaults: Arc<Policy>,
    known: HashMap<Overrides, (Arc<Policy>, Ignored)>,
}

impl Policies {
    /// None yet; rows without settings of their own get `defaults` itself.
    #[must_use]
    pub fn over(defaults: Arc<Policy>) -> Self {
        Self {
            defaults,
            known: HashMap::new(),
        }
    }

    /// The policy of a row, and what of its settings is not in it.
    pub fn of(&mut self, overrides: Overrides) -> (Arc<Policy>, Ignored) {
        if overrides.is_empty() {
            return (Arc::clone(&self.defaults), Vec::new());
        }
        if self.known.len() >= POLICIES_MAX {
            self.known.clear();
        }
        match self.known.entry(overrides) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => {
                let made = over(&self.defaults, free.key());
                free.insert(made).clone()
            }
        }
    }
}

fn over(defaults: &Arc<Policy>, overrides: &Overrides) -> (Arc<Policy>, Ignored) {
    let mut policy = (**defaults).clone();
    let mut ignored = Vec::new();
    for (setting, text) in overrides {
        if let Err(reason) = setting.apply(&mut policy, text) {
            ignored.push((*setting, reason));
        }
    }
    // The defaults may leave the address to the rows; a row that asks for it must have one.
    let own_join = policy.join != defaults.join;
    if own_join && policy.forward_to.is_none() && policy.join.contains(&Join::Forward) {
        policy.join.retain(|join| *join != Join::Forward);
        let reason = "forward is left out, since there is no forward_to".to_owned();
        ignored.push((Setting::Join, reason));
    }
    if policy == **defaults {
        return (Arc::clone(defaults), ignored);
    }
    (Arc::new(policy), ignored)
}

fn join(items: &[String]) -> Result<Vec<Join>, String> {
    let mut chain = Vec::new();
    for item in items {
        let join = match item.to_ascii_lowercase().as_str() {
            "hold" => Join::Hold,
            "transfer" => Join::Transfer,
            "forward" => Join::Forward,
            "kick" => Join::Kick,
            _ => return Err(format!("{item:?} is none of hold, transfer, forward, kick")),
        };
        if chain.contains(&join) {
            return Err(format!("{item:?} is there twice"));
        }
        if chain.contains(&Join::Kick) {
            return Err(format!(
                "nothing comes after a kick, so {item:?} never does"
            ));
        }
        chain.push(join);
    }
    if chain.is_empty() {
        return Err("it names nothing".to_owned());
    }
    Ok(chain)
}

fn proxy_protocol(text: &str) -> Result<Option<Version>, String> {
    match text.to_ascii_lowercase().as_str() {
        "v1" => Ok(Some(Version::V1)),
        "v2" => Ok(Some(Version::V2)),
        "none" => Ok(None),
        _ => Err(format!("{text:?} is none of v1, v2, none")),
    }
}

fn balance(text: &str) -> Result<Balance, String> {
    Balance::parse(text).ok_or_else(|| {
        let names = Balance::ALL.map(Balance::name).join(", ");
        format!("{text:?} is none of {names}")
    })
}

fn texts(text: &str) -> Result<Texts, String> {
    let map = match serde_json::from_str(text) {
        Ok(Value::Object(map)) => map,
        Ok(_) => return Err("it is not a JSON object".to_owned()),
        Err(error) => return Err(format!("it is not JSON: {error}")),
    };
    Texts::parse(&map).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        problems.join("; ")
    })
}

/// The items of a list with commas or line ends between them, or of an array as Postgres writes
/// it: braces around, commas between, and quotes with backslashes where an item needs them.
pub(super) fn items(text: &str) -> Result<Vec<String>, String> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner else {
        let items = text.split([',', '\n']).map(str::trim);
        return Ok(items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect());
    };
    let wrong = || "it is not an array of texts".to_owned();
    let (mut items, mut item) = (Vec::new(), String::new());
    let (mut quoted, mut was_quoted) = (false, false);
    let mut chars = inner.chars().chain([',']);
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '\\' => item.push(chars.next().ok_or_else(wrong)?),
            ',' if !quoted => {
                let whole = std::mem::take(&mut item);
                let is_null = whole == "NULL" && !was_quoted;
                if !is_null && !whole.trim().is_empty() {
                    items.push(whole.trim().to_owned());
                }
                was_quoted = false;
            }
            '{' | '}' if !quoted => return Err(wrong()),
            other => item.push(other),
        }
    }
    // What is left over has swallowed the last comma, which is ours.
    if quoted || !item.is_empty() {
        return Err(wrong());
    }
    Ok(items)
}

#[cfg(test)]
#[path = "overrides_tests.rs"]
mod tests;
