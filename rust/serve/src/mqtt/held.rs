//! Records that the stores temporarily failed to store, by device and in order.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::intake::Message;
use edgesentry_rs::error::Error;

/// How many devices without waiting records have their failures remembered.
const MAX_REMEMBERED: usize = 1024;

/// The waiting records of one device.
#[derive(Default)]
struct Device {
    waiting: VecDeque<Message>,
    /// When the first of them first failed.
    since: Option<Instant>,
    error: Option<Error>,
    /// The end of the time in which its records are tried apart from those of others.
    apart_until: Option<Instant>,
}

/// Devices whose records are tried apart from those of others, because some of them failed.
#[derive(Default)]
pub(super) struct Held(HashMap<String, Device>);

impl Held {
    /// Returns true if records of this device are tried apart.
    pub(super) fn has(&self, device_id: &str) -> bool {
        self.0.contains_key(device_id)
    }

    /// Returns true if any record waits.
    pub(super) fn waits(&self) -> bool {
        self.0.values().any(|device| !device.waiting.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(|device| device.waiting.len()).sum()
    }

    /// Adds a record behind those of its device.
    pub(super) fn push(&mut self, message: Message) {
        let device = self.0.entry(message.device_id().to_owned()).or_default();
        device.waiting.push_back(message);
    }

    /// Puts records of a device that failed for this reason before those that came later.
    pub(super) fn put_back(&mut self, device_id: &str, failed: Vec<Message>, error: Error) {
        let device = self.0.entry(device_id.to_owned()).or_default();
        device.since.get_or_insert_with(Instant::now);
        device.error.get_or_insert(error);
        for message in failed.into_iter().rev() {
            device.waiting.push_front(message);
        }
    }

    /// Removes and returns all waiting records, by device.
    pub(super) fn take(&mut self) -> Vec<Vec<Message>> {
        let waiting = self.0.values_mut().map(|device| Vec::from(std::mem::take(&mut device.waiting)));
        waiting.filter(|messages| !messages.is_empty()).collect()
    }

    /// Notes that a record of the device was decided, and restarts its time.
    pub(super) fn decided(&mut self, device_id: &str) {
        if let Some(device) = self.0.get_mut(device_id) {
            (device.since, device.error, device.apart_until) = (None, None, None);
        }
    }

    /// Forgets devices without waiting records, unless they were given up recently.
    pub(super) fn tidy(&mut self) {
        let now = Instant::now();
        let many = self.0.len() > MAX_REMEMBERED;
        self.0.retain(|_, device| {
            let apart = !many && device.apart_until.is_some_and(|until| until > now);
            !device.waiting.is_empty() || apart
        });
    }

    /// Gives up devices that have failed for `hold`: all of them, or only the one that has waited longest. Returns
    /// their records, with the error of the first.
    pub(super) fn give_up(&mut self, hold: Duration, all: bool) -> Vec<(Vec<Message>, Error)> {
        let now = Instant::now();
        let mut due: Vec<(Instant, String)> = self
            .0
            .iter()
            .filter(|(_, device)| !device.waiting.is_empty())
            .filter_map(|(device_id, device)| Some((device.since?, device_id.clone())))
            .filter(|(since, _)| now - *since >= hold)
            .collect();
        due.sort();
        due.truncate(if all { usize::MAX } else { 1 });
        let mut given_up = Vec::with_capacity(due.len());
        for (_, device_id) in due {
            let Some(device) = self.0.get_mut(&device_id) else { continue };
            device.apart_until = Some(now + hold * 10);
            device.since = None;
            let error = device.error.take().unwrap_or(Error::Stopped);
            given_up.push((Vec::from(std::mem::take(&mut device.waiting)), error));
        }
        given_up
    }
}
