//! The settings of routes that say nothing themselves: `[defaults]` in the file, `AUTOMC_…` elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::settings::{Key, Kind, Settings};
use super::values::{duration, switch};
use crate::hold::schedule::TICK;
use crate::routes::overrides::Setting;
use crate::routes::policy::Policy;
use crate::texts::template::Template;
use crate::texts::{Text, Texts};

pub(super) const JOIN: Key = key(
    "automc_join",
    "hold,kick",
    "What is done with a player whose server is not ready, in order: hold, transfer, forward, kick",
);
pub(super) const HOLD_MAX: Key = key("automc_hold_max", "1m30s", "Longest time a player is held");
pub(super) const HOLD_TICK: Key = key(
    "automc_hold_tick",
    "10s",
    "From one sign of life to a held player to the next",
);
pub(super) const SETTLE: Key = key(
    "automc_settle",
    "0s",
    "Pause between a server's first sign of readiness and the first player",
);
pub(super) const FORWARD_TO: Key = key(
    "automc_forward_to",
    "",
    "Backend host:port that forward leads to, such as a lobby",
);
pub(super) const COMPRESSION_HOLD: Key = key(
    "automc_compression_hold",
    "false",
    "Hold 1.8 to 1.12.2 with Set Compression(-1) instead of in silence",
);
pub(super) const KEEP_TRANSFER_INTENT: Key = key(
    "automc_keep_transfer_intent",
    "false",
    "Tell backends that a player comes back from a transfer",
);
pub(super) const WAKE_ALLOW: Key = key(
    "automc_wake_allow",
    "",
    "Players who may wake servers, by name or UUID; unset is everybody",
);
pub(super) const WAKE_DENY: Key = key(
    "automc_wake_deny",
    "",
    "Players who may not wake servers, by name or UUID",
);
pub(super) const WAKE_HOURS: Key = key(
    "automc_wake_hours",
    "",
    "When servers may be woken: mon-fri 08:00-22:00, sat-sun 10:00-02:00 Europe/Berlin; unset is always",
);
pub(super) const MIN_ONLINE: Key = key(
    "automc_min_online",
    "0s",
    "How long a server should stay up from the moment it is ready",
);
pub(super) const TEXTS: Key = key("automc_texts", "", "What players read, as a JSON object");

/// Clients and server-managers are not to be flooded.
const TICK_MIN: Duration = Duration::from_millis(50);

const fn key(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key {
        kind: Kind::Default,
        ..super::text(name, default, help)
    }
}

/// Reads the policy of routes that say nothing themselves.
pub(super) fn policy(settings: &mut Settings) -> Policy {
    let keys = [
        (JOIN, Setting::Join),
        (HOLD_MAX, Setting::HoldMax),
        (SETTLE, Setting::Settle),
        (FORWARD_TO, Setting::ForwardTo),
        (COMPRESSION_HOLD, Setting::CompressionHold),
        (KEEP_TRANSFER_INTENT, Setting::KeepTransferIntent),
        (WAKE_ALLOW, Setting::WakeAllow),
        (WAKE_DENY, Setting::WakeDeny),
        (WAKE_HOURS, Setting::WakeHours),
        (MIN_ONLINE, Setting::MinOnline),
        (TEXTS, Setting::Texts),
    ];
    let mut policy = Policy {
        texts: Arc::new(motds(settings)),
        ..Policy::default()
    };
    for (key, setting) in keys {
        settings.parse(key.name, |text| setting.apply(&mut policy, text));
    }
    let tick = |text: &str| duration(text, TICK_MIN, TICK);
    policy.tick = settings.parse(HOLD_TICK.name, tick).unwrap_or(TICK);
    policy
}

/// mc-router's settings for two of the texts, by two names each: the longer name wins; of the
/// shorter, `true` alone means the friendly text there is anyway.
fn motds(settings: &mut Settings) -> Texts {
    let template = |text: &str| Template::lenient(&text.replace("\\n", "\n"));
    let mut texts = Texts::default();
    for (state, text) in [("asleep", Text::Asleep), ("loading", Text::Starting)] {
        let own = settings.parse(&format!("auto_scale_{state}_motd"), template);
        let short = settings.parse(&format!("use_{state}_motd"), |text| {
            let template = switch(text).is_err().then(|| template(text));
            template.transpose()
        });
        if let Some(template) = own.or_else(|| short.flatten()) {
            texts = texts.with(text, template);
        }
    }
    texts
}
