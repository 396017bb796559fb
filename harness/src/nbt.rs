//! Reads NBT as a client does, so that what the router writes is understood by other code than its
//! own: <https://minecraft.wiki/w/NBT_format>, without a name at the root.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// Deepest nesting a client takes.
const DEPTH_MAX: usize = 512;

/// Reads `bytes` to their end. Bytes of NBT become numbers, as they say nothing of truth.
///
/// # Errors
/// What a client would not understand.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value> {
    let mut reader = Nbt { rest: bytes };
    let [kind] = reader.array()?;
    let value = reader.value(kind, DEPTH_MAX)?;
    let left = reader.rest.len();
    ensure!(left == 0, "{left} bytes after the NBT");
    Ok(value)
}

struct Nbt<'a> {
    rest: &'a [u8],
}

impl Nbt<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .context("the NBT ends early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Value> {
        Ok(match kind {
            1 => i8::from_be_bytes(self.array()?).into(),
            3 => i32::from_be_bytes(self.array()?).into(),
            4 => i64::from_be_bytes(self.array()?).into(),
            6 => f64::from_be_bytes(self.array()?).into(),
            8 => self.string()?.into(),
            9 => {
                let depth = depth.checked_sub(1).context("too deep")?;
                let [kind] = self.array()?;
                let length = i32::from_be_bytes(self.array()?);
                ensure!(kind != 0 || length == 0, "a list of nothing");
                let items = (0..length).map(|_| self.value(kind, depth));
                Value::Array(items.collect::<Result<_>>()?)
            }
            10 => {
                let depth = depth.checked_sub(1).context("too deep")?;
                let mut fields = Map::new();
                loop {
                    let [kind] = self.array()?;
                    if kind == 0 {
                        break Value::Object(fields);
                    }
                    let key = self.string()?;
                    let value = self.value(kind, depth)?;
                    ensure!(fields.insert(key, value).is_none(), "a key twice");
                }
            }
            other => bail!("a tag of kind {other}, which no text or dialog has"),
        })
    }

    /// Modified UTF-8, each unit of UTF-16 in one to three bytes.
    fn string(&mut self) -> Result<String> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (text, rest) = self.rest.split_at_checked(length).context("a cut string")?;
        self.rest = rest;
        let mut bytes = text.iter().map(|byte| u16::from(*byte));
        let mut units = Vec::new();
        while let Some(first) = bytes.next() {
            let mut more = || bytes.next().map(|byte| byte & 0x3F).context("a cut letter");
            units.push(match first {
                0 => bail!("a zero byte in a string"),
                0x01..=0x7F => first,
                0xC0..=0xDF => (first & 0x1F) << 6 | more()?,
                0xE0..=0xEF => (first & 0x0F) << 12 | more()? << 6 | more()?,
                _ => bail!("byte {first:#x} in a string"),
            });
        }
        Ok(String::from_utf16(&units)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use automc_router::protocol::nbt::encode;
    use proptest::prelude::*;
    use serde_json::json;

    /// What is left of `value` in NBT: no nulls, no truth values, lists of one kind.
    fn left(value: &Value) -> Value {
        match value {
            Value::Bool(truth) => json!(u8::from(*truth)),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().filter(|item| !item.is_null()).collect();
                let wide = |item: &Value| item.as_i64().is_some_and(|n| i32::try_from(n).is_err());
                let like = |one: &Value, other: &Value| {
                    std::mem::discriminant(one) == std::mem::discriminant(other)
                        && wide(one) == wide(other)
                };
                let alike = items.windows(2).all(|pair| like(pair[0], pair[1]));
                let text = |item: &Value| match item {
                    Value::Object(_) => left(item),
                    Value::String(text) => json!({ "text": text }),
                    Value::Array(_) => json!({ "text": "", "extra": [left(item)] }),
                    other => json!({ "text": other.to_string() }),
                };
                let item = |item: &&Value| if alike { left(item) } else { text(item) };
                items.iter().map(item).collect()
            }
            Value::Object(fields) => {
                let there = |value: &Value| !value.is_null() && *value != json!([]);
                let fields = fields.iter().filter(|(_, value)| there(value));
                let fields = fields.map(|(key, value)| (key.clone(), left(value)));
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let key = prop_oneof!["text|extra|color", any::<String>()];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_router_writes_is_what_a_client_reads(value in anything()) {
            match encode(&value) {
                Ok(bytes) => prop_assert_eq!(decode(&bytes).unwrap(), left(&value)),
                Err(_) => prop_assert!(value.is_null()),
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
