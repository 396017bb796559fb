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

/// What stands for every route whose row has nothing to say.
pub(super) const KEYS: &[Key] = &[
    key(
        "automc_join",
        "hold,kick",
        "What is done with a player whose server is not ready, in order: hold, transfer, forward, kick",
    ),
    key("automc_hold_max", "1m30s", "Longest time a player is held"),
    key(
        "automc_hold_tick",
        "10s",
        "From one sign of life to a held player to the next",
    ),
    key(
        "automc_settle",
        "0s",
        "Pause between a server's first sign of readiness and the first player",
    ),
    key(
        "automc_forward_to",
        "",
        "Backend host:port that forward leads to, such as a lobby",
    ),
    key(
        "automc_compression_hold",
        "false",
        "Hold 1.8 to 1.12.2 with Set Compression(-1) instead of in silence",
    ),
    key(
        "automc_keep_transfer_intent",
        "false",
        "Tell backends that a player comes back from a transfer",
    ),
    key(
        "automc_wake_allow",
        "",
        "Players who may wake servers, by name or UUID; unset is everybody",
    ),
    key(
        "automc_wake_deny",
        "",
        "Players who may not wake servers, by name or UUID",
    ),
    key(
        "automc_wake_hours",
        "",
        "When servers may be woken: mon-fri 08:00-22:00, sat-sun 10:00-02:00 Europe/Berlin; unset is always",
    ),
    key(
        "automc_min_online",
        "0s",
        "How long a server should stay up from the moment it is ready",
    ),
    key(
        "automc_proxy_protocol",
        "",
        "PROXY header that backends get first: v1, v2 or none",
    ),
    key("automc_texts", "", "What players read, as a JSON object"),
];

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
        ("automc_join", Setting::Join),
        ("automc_hold_max", Setting::HoldMax),
        ("automc_settle", Setting::Settle),
        ("automc_forward_to", Setting::ForwardTo),
        ("automc_compression_hold", Setting::CompressionHold),
        ("automc_keep_transfer_intent", Setting::KeepTransferIntent),
        ("automc_wake_allow", Setting::WakeAllow),
        ("automc_wake_deny", Setting::WakeDeny),
        ("automc_wake_hours", Setting::WakeHours),
        ("automc_min_online", Setting::MinOnline),
        // By mc-router's name, and told of with the webhook that stops servers.
        ("auto_scale_down_after", Setting::DownAfter),
        ("automc_proxy_protocol", Setting::ProxyProtocol),
        ("automc_texts", Setting::Texts),
    ];
    let mut policy = Policy {
        texts: Arc::new(motds(settings)),
        proxy_protocol: super::proxy::spoken(settings),
        ..Policy::default()
    };
    for (key, setting) in keys {
        settings.parse(key, |text| setting.apply(&mut policy, text));
    }
    let tick = |text: &str| duration(text, TICK_MIN, TICK);
    policy.tick = settings.parse("automc_hold_tick", tick).unwrap_or(TICK);
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
