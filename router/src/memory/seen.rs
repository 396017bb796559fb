//! One status that was seen of a server, and the protocol number in it. Pure.

use std::sync::Arc;

use serde_json::Value;

use crate::status::answer::Lasting;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub(super) at: u64,
    /// What it was asked with.
    pub(super) protocol: i32,
    pub(super) shown: Shown,
    pub(super) bytes: usize,
    pub(super) lasting: Arc<Lasting>,
}

/// The protocol number a server showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// None, or one that was not taken down.
    None,
    This(i32),
    /// The number that was asked with: it did so with two at least.
    Asked,
}

/// What the JSON says where a server showed the number that was asked with.
const ASKED: &str = "asked";

impl Shown {
    pub(super) fn to_json(self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::This(number) => number.into(),
            Self::Asked => ASKED.into(),
        }
    }

    pub(super) fn read(json: &Value) -> Self {
        match json {
            Value::Number(_) => number(json).map_or(Self::None, Self::This),
            Value::String(text) if text == ASKED => Self::Asked,
            _ => Self::None,
        }
    }
}

fn number(json: &Value) -> Option<i32> {
    i32::try_from(json.as_i64()?).ok()
}

impl Status {
    pub(super) fn new(at: u64, protocol: i32, shown: Shown, lasting: &Arc<Lasting>) -> Self {
        // As JSON within a text, in which every quote takes another byte or more.
        let json = Value::String(lasting.to_json()).to_string();
        Self {
            at,
            protocol,
            shown,
            bytes: json.len(),
            lasting: Arc::clone(lasting),
        }
    }

    pub(super) fn read(json: &Value, at: u64) -> Option<Self> {
        let protocol = json.get("protocol").and_then(number)?;
        let shown = json.get("shown").map_or(Shown::None, Shown::read);
        let lasting = Lasting::read(json.get("status")?.as_str()?).ok()?;
        Some(Self::new(at, protocol, shown, &lasting))
    }

    /// Whether it showed the number that it was asked with.
    pub(super) fn echoes(&self) -> bool {
        match self.shown {
            Shown::None => false,
            Shown::This(number) => number == self.protocol,
            Shown::Asked => true,
        }
    }

    /// Whether it says the same as `later`.
    pub(super) fn says(&self, later: &Self) -> bool {
        let asked = self.shown == Shown::Asked && later.echoes() && later.protocol >= 0;
        (asked || self.shown == later.shown) && self.lasting == later.lasting
    }

    /// Whether both, asked with numbers of clients, show that the server echoes such.
    pub(super) fn echoes_with(&self, later: &Self) -> bool {
        let two = self.protocol >= 0 && later.protocol >= 0 && self.protocol != later.protocol;
        two && self.echoes() && later.echoes() && self.lasting == later.lasting
    }

    /// Whether this one stays; of two of the same second, always the same one.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let said = |status: &Self| (status.lasting.to_json(), status.shown);
        self.at > other.at || self.at == other.at && said(self) > said(other)
    }
}
