//! The settings of a tunnel of ngrok's. The token has a flag because mc-router's has one.

use super::secret::Secret;
use super::settings::{Key, Settings};
use super::text;

pub(super) const KEYS: &[Key] = &[
    text(
        "ngrok_token",
        "",
        "Players come through ngrok, as whoever has this token; better from the environment or the file",
    ),
    text(
        "ngrok_remote_addr",
        "",
        "The address there, host:port; unset is one that ngrok picks",
    ),
];

/// A tunnel of ngrok's.
#[derive(Debug, Clone)]
pub struct NgrokConfig {
    /// Whose tunnel it is.
    pub token: Secret,
    /// Its address, if that is not to be picked.
    pub remote_addr: Option<String>,
}

/// The tunnel, if there is to be one.
pub(super) fn ngrok(settings: &mut Settings) -> Option<NgrokConfig> {
    // Never quoted: the value is a secret.
    let token = |text: &str| Ok::<_, String>(Secret::new(text));
    let remote_addr = settings.parse("ngrok_remote_addr", str::parse);
    let token = settings.parse("ngrok_token", token)?;
    Some(NgrokConfig { token, remote_addr })
}
