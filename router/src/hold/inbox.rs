//! What a held client sends: the answers to the router's requests are taken out, everything else
//! is kept for the backend, byte for byte and in order.
//!
//! Pure.

use crate::protocol::decode_frame;
use crate::protocol::login::{LOGIN_REPLY_FRAME_BYTES_MAX, LoginReply};

/// Most bytes that are kept of a waiting client, its greeting included; reading stops there.
pub const INBOX_BYTES_MAX: usize = 32 * 1024;

/// The bytes of one client, from its greeting on.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Up to here complete frames have been looked at.
    seen: usize,
    /// What comes is not made of frames, so nothing in it is for the router.
    foreign: bool,
}

impl Inbox {
    /// Begins with `greeting`, which is for the backend.
    #[must_use]
    pub fn new(mut greeting: Vec<u8>) -> Self {
        // The room of its first read is several times its length.
        greeting.shrink_to_fit();
        Self {
            bytes: greeting,
            seen: 0,
            foreign: false,
        }
    }

    /// What is for the backend.
    #[must_use]
    pub fn for_backend(&self) -> &[u8] {
        &self.bytes
    }

    /// Where more is read to.
    pub fn room(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether as much is kept as may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= INBOX_BYTES_MAX
    }

    /// Takes the next frame out for which `wanted` has a use, and hands back what it made of it.
    pub fn take<T>(&mut self, mut wanted: impl FnMut(LoginReply<'_>) -> Option<T>) -> Option<T> {
        while !self.foreign {
            let rest = self.bytes.get(self.seen..).unwrap_or_default();
            let (body, length) = match decode_frame(rest, LOGIN_REPLY_FRAME_BYTES_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(_) => {
                    self.foreign = true;
                    return None;
                }
            };
            // What cannot be read is not the router's, but the backend may make something of it.
            if let Some(taken) = LoginReply::decode(body).ok().and_then(&mut wanted) {
                self.bytes.drain(self.seen..self.seen + length);
                return Some(taken);
            }
            self.seen += length;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{encode_frame, varint};
    use proptest::prelude::*;

    fn answer(id: i32) -> Vec<u8> {
        let mut body = Vec::new();
        varint::encode(id, &mut body);
        body.push(0);
        encode_frame(2, &body)
    }

    fn taken(inbox: &mut Inbox, due: i32) -> Option<i32> {
        inbox.take(|reply| match reply {
            LoginReply::PluginResponse { id, .. } if id == due => Some(id),
            _ => None,
        })
    }

    #[test]
    fn the_answer_that_is_due_is_taken_out_and_no_other() {
        let mut inbox = Inbox::new(encode_frame(0, b"hello"));
        inbox.room().extend(answer(7));
        inbox.room().extend(answer(8));
        inbox.room().extend(encode_frame(1, b"rest"));

        assert_eq!(taken(&mut inbox, 8), Some(8));

        let kept = [
            encode_frame(0, b"hello"),
            answer(7),
            encode_frame(1, b"rest"),
        ]
        .concat();
        assert_eq!(inbox.for_backend(), kept);
        assert_eq!(taken(&mut inbox, 8), None);
        assert_eq!(inbox.for_backend(), kept);
    }

    #[test]
    fn what_is_not_made_of_frames_is_kept_as_it_is() {
        let mut inbox = Inbox::new(vec![0; 3]);
        inbox.room().extend(answer(8));
        assert_eq!(taken(&mut inbox, 8), None);
        assert_eq!(inbox.for_backend(), [vec![0; 3], answer(8)].concat());
    }

    proptest! {
        #[test]
        fn whatever_comes_between_answers_reaches_the_backend_in_order(
            frames in proptest::collection::vec(
                (1_i32..9, proptest::collection::vec(any::<u8>(), 0..40)), 0..8
            ),
            at in 0_usize..8,
            cut in 1_usize..50,
        ) {
            let encoded = frames.iter().map(|(id, body)| encode_frame(*id + 10, body));
            let mut pieces: Vec<Vec<u8>> = encoded.collect();
            let others = pieces.concat();
            pieces.insert(at.min(pieces.len()), answer(8));
            let sent = pieces.concat();
            let mut inbox = Inbox::new(Vec::new());
            let mut found = 0;
            for part in sent.chunks(cut) {
                inbox.room().extend_from_slice(part);
                found += usize::from(taken(&mut inbox, 8).is_some());
            }
            prop_assert_eq!(found, 1);
            prop_assert_eq!(inbox.for_backend(), others);
        }

        #[test]
        fn arbitrary_bytes_lose_nothing_but_the_answer(bytes: Vec<u8>) {
            let mut inbox = Inbox::new(bytes.clone());
            if taken(&mut inbox, 0x4000_0000).is_none() {
                prop_assert_eq!(inbox.for_backend(), bytes);
            }
        }
    }
}
