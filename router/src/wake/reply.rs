//! What whoever starts servers says, whatever its words on the wire.

use std::time::Duration;

use crate::addr::BackendAddr;

/// What the server-manager said to a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartReply {
    /// Any 2xx, or 409: it is starting, or has started.
    Accepted,
    /// The same, and the server will be here.
    AcceptedAt(BackendAddr),
    /// A status that no retry will change, such as 401, 403 or 404.
    Denied(u16),
    /// No answer, or one that may be different next time (5xx, 429).
    Broken(String),
    /// An answer that leads elsewhere, where no request is sent: nothing that a retry will change.
    Redirected(String),
}

/// What the server-manager said of a server's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollReply {
    /// It runs; `None` when no usable address came with it.
    Running(Option<BackendAddr>),
    /// Any other state but the failed ones.
    NotYet,
    /// It will not come up: the state's name.
    Failed(String),
    /// 401, 403 or 404.
    Denied(u16),
    /// No answer, or none that can be used; tolerated until the deadline.
    Broken(String),
}

/// What one poll brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// The state.
    pub reply: PollReply,
    /// How far its boot is, in percent, if that came with it.
    pub percent: Option<u8>,
    /// How long the server-manager offers to wait for a change before it answers.
    pub max_wait: Option<Duration>,
}

impl From<PollReply> for Polled {
    fn from(reply: PollReply) -> Self {
        Self {
            reply,
            percent: None,
            max_wait: None,
        }
    }
}
