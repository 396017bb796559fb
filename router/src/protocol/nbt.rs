//! JSON as NBT, the form of texts and dialogs since 1.20.3: written only, nothing here is read.
//!
//! Sources: <https://minecraft.wiki/w/NBT_format> (since 1.20.2 the root has no name on the
//! network), <https://minecraft.wiki/w/Text_component_format>. Strings are Java's modified UTF-8:
//! <https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/io/DataInput.html>.

use serde_json::{Map, Number, Value, json};

use super::TEXT_CHARS_MAX;

/// Most bytes of NBT that are written.
pub const NBT_BYTES_MAX: usize = 4 * TEXT_CHARS_MAX;
/// Deepest nesting of objects and lists that is written; clients take 512.
pub const NBT_DEPTH_MAX: usize = 64;
/// Longest string in bytes, from the width of its length.
const STRING_BYTES_MAX: usize = 0xFFFF;

const END: u8 = 0;
const BYTE: u8 = 1;
const INT: u8 = 3;
const LONG: u8 = 4;
const DOUBLE: u8 = 6;
const STRING: u8 = 8;
const LIST: u8 = 9;
const COMPOUND: u8 = 10;

/// Why a JSON value has no NBT here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NbtError {
    /// More than [`NBT_BYTES_MAX`].
    #[error("more than {NBT_BYTES_MAX} bytes of NBT")]
    TooLong,
    /// Deeper than [`NBT_DEPTH_MAX`].
    #[error("nested deeper than {NBT_DEPTH_MAX}")]
    TooDeep,
    /// A string or key longer than its length can say.
    #[error("a string of {0} bytes where {STRING_BYTES_MAX} is the limit")]
    StringTooLong(usize),
    /// The value is null, of which NBT has none.
    #[error("null is not NBT")]
    Null,
}

/// A text component or dialog as NBT with a nameless root.
///
/// Truth values become bytes. Nulls and empty lists within are left out: the first do not exist,
/// and clients refuse an empty `extra`. A list has one kind of element in NBT, so that of a list of
/// several kinds each becomes a text component of its own.
///
/// # Errors
/// See [`NbtError`].
pub fn encode(value: &Value) -> Result<Vec<u8>, NbtError> {
    let kind = kind(value).ok_or(NbtError::Null)?;
    let mut out = vec![kind];
    put(value, NBT_DEPTH_MAX, &mut out)?;
    Ok(out)
}

fn kind(value: &Value) -> Option<u8> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => BYTE,
        Value::Number(number) => match number.as_i64() {
            Some(whole) if i32::try_from(whole).is_ok() => INT,
            Some(_) => LONG,
            None => DOUBLE,
        },
        Value::String(_) => STRING,
        Value::Array(_) => LIST,
        Value::Object(_) => COMPOUND,
    })
}

fn put(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), NbtError> {
    match value {
        Value::Null => return Err(NbtError::Null),
        Value::Bool(truth) => out.push(u8::from(*truth)),
        Value::Number(number) => put_number(number, out),
        Value::String(text) => put_string(text, out)?,
        Value::Array(items) => put_list(items, deeper(depth)?, out)?,
        Value::Object(fields) => put_compound(fields, deeper(depth)?, out)?,
    }
    if out.len() > NBT_BYTES_MAX {
        return Err(NbtError::TooLong);
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, NbtError> {
    depth.checked_sub(1).ok_or(NbtError::TooDeep)
}

fn put_number(number: &Number, out: &mut Vec<u8>) {
    match number.as_i64() {
        Some(whole) => match i32::try_from(whole) {
            Ok(short) => out.extend(short.to_be_bytes()),
            Err(_) => out.extend(whole.to_be_bytes()),
        },
        None => out.extend(number.as_f64().unwrap_or_default().to_be_bytes()),
    }
}

fn put_compound(
    fields: &Map<String, Value>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), NbtError> {
    for (key, value) in fields {
        let Some(kind) = kind(value) else { continue };
        if value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        out.push(kind);
        put_string(key, out)?;
        put(value, depth, out)?;
    }
    out.push(END);
    Ok(())
}

fn put_list(items: &[Value], depth: usize, out: &mut Vec<u8>) -> Result<(), NbtError> {
    let items: Vec<&Value> = items.iter().filter(|item| !item.is_null()).collect();
    let first = items.first().and_then(|item| kind(item)).unwrap_or(END);
    let alike = items.iter().all(|item| kind(item) == Some(first));
    out.push(if alike { first } else { COMPOUND });
    let length = i32::try_from(items.len()).map_err(|_| NbtError::TooLong)?;
    out.extend(length.to_be_bytes());
    for item in items {
        match item {
            item if alike => put(item, depth, out)?,
            Value::Object(_) => put(item, depth, out)?,
            Value::String(text) => put(&json!({ "text": text }), depth, out)?,
            // The first of a list is the parent of the rest, so that it stays a list.
            Value::Array(_) => put(&json!({ "text": "", "extra": [item] }), depth, out)?,
            other => put(&json!({ "text": other.to_string() }), depth, out)?,
        }
    }
    Ok(())
}

/// Java's modified UTF-8: no zero byte, and two surrogates instead of four bytes.
fn put_string(text: &str, out: &mut Vec<u8>) -> Result<(), NbtError> {
    let length: usize = text.chars().map(modified_len).sum();
    let prefix = u16::try_from(length).map_err(|_| NbtError::StringTooLong(length))?;
    out.extend(prefix.to_be_bytes());
    let mut units = [0; 2];
    for char in text.chars() {
        match char.len_utf8() {
            _ if char == '\0' => out.extend([0xC0, 0x80]),
            4 => {
                for unit in char.encode_utf16(&mut units) {
                    for bits in [
                        0xE0 | *unit >> 12,
                        0x80 | *unit >> 6 & 0x3F,
                        0x80 | *unit & 0x3F,
                    ] {
                        let [_, byte] = bits.to_be_bytes();
                        out.push(byte);
                    }
                }
            }
            _ => out.extend(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(())
}

fn modified_len(char: char) -> usize {
    match char.len_utf8() {
        _ if char == '\0' => 2,
        4 => 6,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(value: &Value) -> Vec<u8> {
        encode(value).unwrap()
    }

    #[test]
    fn a_text_component_is_a_compound_without_a_name() {
        assert_eq!(
            bytes(&json!({ "bold": true, "text": "hi" })),
            b"\x0A\x01\x00\x04bold\x01\x08\x00\x04text\x00\x02hi\x00"
        );
        assert_eq!(bytes(&json!("hi")), b"\x08\x00\x02hi");
    }

    #[test]
    fn numbers_take_the_width_they_need() {
        for (value, expected) in [
            (json!(-2), &b"\x03\xFF\xFF\xFF\xFE"[..]),
            (json!(1_i64 << 32), b"\x04\0\0\0\x01\0\0\0\0"),
            (json!(0.5), b"\x06\x3F\xE0\0\0\0\0\0\0"),
            (json!(u64::MAX), b"\x06\x43\xF0\0\0\0\0\0\0"),
        ] {
            assert_eq!(bytes(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_list_of_one_kind_stays_and_of_several_kinds_becomes_texts() {
        assert_eq!(
            bytes(&json!(["a", "b"])),
            b"\x09\x08\0\0\0\x02\x00\x01a\x00\x01b"
        );
        assert_eq!(
            bytes(&json!([1, 2])),
            b"\x09\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02"
        );
        assert_eq!(
            bytes(&json!(["a", { "text": "b" }, 3, false, null, ["c"]])),
            bytes(&json!([
                { "text": "a" },
                { "text": "b" },
                { "text": "3" },
                { "text": "false" },
                { "text": "", "extra": [["c"]] },
            ])),
        );
    }

    #[test]
    fn nulls_and_empty_lists_are_left_out() {
        let sparse = json!({ "color": null, "extra": [], "text": "" });
        assert_eq!(bytes(&sparse), bytes(&json!({ "text": "" })));
        assert_eq!(bytes(&json!([])), [9, 0, 0, 0, 0, 0]);
        assert_eq!(encode(&Value::Null), Err(NbtError::Null));
    }

    #[test]
    fn strings_are_javas_modified_utf_8() {
        assert_eq!(
            bytes(&json!("\0é€\u{1F600}")),
            b"\x08\x00\x0D\xC0\x80\xC3\xA9\xE2\x82\xAC\xED\xA0\xBD\xED\xB8\x80"
        );
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        let mut nested = json!("x");
        for _ in 0..NBT_DEPTH_MAX {
            nested = json!({ "extra": [nested] });
        }
        assert_eq!(encode(&nested), Err(NbtError::TooDeep));
        let long = "x".repeat(STRING_BYTES_MAX + 1);
        let length = long.len();
        assert_eq!(encode(&json!(long)), Err(NbtError::StringTooLong(length)));
        assert!(encode(&json!(long[1..])).is_ok());
        assert_eq!(
            encode(&json!([long[1..], long[1..], long[1..]])),
            Err(NbtError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn every_string_is_as_long_as_it_says(text: String) {
            let bytes = bytes(&json!(text));
            prop_assert_eq!(usize::from(bytes[1]) << 8 | usize::from(bytes[2]), bytes.len() - 3);
            prop_assert!(!bytes[3..].contains(&0));
        }
    }
}
