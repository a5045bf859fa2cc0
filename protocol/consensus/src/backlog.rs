//! Messages for heights that have not begun, put by until they do.
//!
//! A validator that decides a little earlier already speaks of the next height. Without this its votes would be
//! lost until it repeats them. Only signed messages of members are put by, so that a flood costs its sender a
//! provable identity, and each sender has its own small share.

use std::collections::BTreeMap;

use crate::{Config, Height, Message, ValidatorKey};

/// The messages put by. Bounded by heights ahead, by sender and by bytes.
#[derive(Default)]
pub(crate) struct Backlog {
    heights: BTreeMap<Height, BTreeMap<ValidatorKey, Vec<Message>>>,
    bytes: usize,
}

/// Whether there is room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// It is there already.
    Known,
    Full,
}

impl Backlog {
    pub fn room(&self, sender: &ValidatorKey, message: &Message, config: &Config) -> Room {
        let share =
            self.heights.get(&message.height()).and_then(|senders| senders.get(sender)).map_or(&[][..], Vec::as_slice);
        if share.contains(message) {
            Room::Known
        } else if share.len() >= config.backlog_messages_per_sender_max
            || self.bytes + message.weight() > config.backlog_bytes_max
        {
            Room::Full
        } else {
            Room::Free
        }
    }

    pub fn put(&mut self, sender: ValidatorKey, message: Message) {
        self.bytes += message.weight();
        self.heights.entry(message.height()).or_default().entry(sender).or_default().push(message);
    }

    /// Takes what was put by for this height, in the order of its senders' keys, and forgets what is below.
    pub fn take(&mut self, height: Height) -> Vec<Message> {
        let mut due = self.heights.split_off(&height);
        let above = match height.0.checked_add(1) {
            Some(next) => due.split_off(&Height(next)),
            None => BTreeMap::new(),
        };
        self.heights = above;
        self.bytes = self.heights.values().flat_map(BTreeMap::values).flatten().map(Message::weight).sum();
        due.into_values().flat_map(BTreeMap::into_values).flatten().collect()
    }
}
