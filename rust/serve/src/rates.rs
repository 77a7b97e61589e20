//! Rate limits: of the records of one device, of rejections, and of proofs.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::identity::SenderKey;
use super::policy::caller;
use super::settings::RateSettings;
use edgesentry_rs::admission::{Outcome, RejectionCode};

/// The number of separate quotas. Beyond it, callers and devices share some, so that invented names cost no further
/// memory.
const MAX_QUOTAS: u64 = 1 << 18;
/// The same for quotas of rejections.
const MAX_METERS: u64 = 1 << 16;
/// The longest time that a sender has to wait because of rejections.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Wrong tokens of an address at once.
const WRONG_TOKENS_AT_ONCE: u32 = 10;
/// The rejections that a sender may have in all, as a multiple of those of one device.
const DEVICES_OF_A_SENDER: u32 = 10;

/// A limit for each device.
pub(super) struct Rates {
    limiter: Option<DefaultKeyedRateLimiter<u64>>,
    clock: DefaultClock,
}

impl Rates {
    pub(super) fn new(settings: &RateSettings) -> Rates {
        let limiter = NonZeroU32::new(settings.records_per_second).map(|rate| {
            let burst = settings.burst.unwrap_or(rate.get().saturating_mul(10));
            let burst = NonZeroU32::new(burst).unwrap_or(rate);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Rates { limiter, clock: DefaultClock::default() }
    }

    /// Counts one record, or returns how long to wait. A device id without authentication counts by its source address:
    /// an attacker elsewhere cannot use up the quota of the device.
    pub(super) fn check(&self, device_id: &str, unknown_at: Option<IpAddr>) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let key = SenderKey::of((unknown_at.map(caller), device_id)).bits() % MAX_QUOTAS;
        limiter.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Forgets idle devices.
    pub(super) fn tidy(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// Counts past events by key, and returns how long to wait before more of them (the generic cell rate algorithm, ITU-T
/// I.371). Its memory is fixed.
struct Meters {
    start: Instant,
    /// The cost of one event.
    period_ns: u64,
    /// The credit that may be spent at once.
    burst_ns: u64,
    /// By key, when all events will be paid for, in nanoseconds since the start.
    paid_at_ns: Box<[AtomicU64]>,
}

impl Meters {
    fn new(per_second: u32, burst: u32) -> Option<Meters> {
        let period_ns = 1_000_000_000 / u64::from(NonZeroU32::new(per_second)?.get());
        let paid_at_ns = (0..MAX_METERS).map(|_| AtomicU64::new(0)).collect();
        Some(Meters { start: Instant::now(), period_ns, burst_ns: period_ns * u64::from(burst), paid_at_ns })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn of(&self, key: SenderKey) -> &AtomicU64 {
        // Always in range: a remainder.
        &self.paid_at_ns[usize::try_from(key.bits() % MAX_METERS).unwrap_or_default()]
    }

    fn count(&self, key: SenderKey) {
        self.charge(key, 1);
    }

    /// Counts so many events, and returns the charge for them, in nanoseconds.
    fn charge(&self, key: SenderKey, events: u64) -> u64 {
        let now = self.now_ns();
        let longest = now + self.burst_ns + u64::try_from(MAX_RETRY_AFTER.as_nanos()).unwrap_or(u64::MAX);
        let charged = |paid_at: u64| {
            let paid_at = paid_at.max(now);
            paid_at.saturating_add(self.period_ns.saturating_mul(events)).min(longest).saturating_sub(paid_at)
        };
        let add = |paid_at: u64| Some(paid_at.max(now) + charged(paid_at));
        // The closure always returns a value.
        let before = self.of(key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        charged(before.unwrap_or_default())
    }

    /// Gives back a part of a charge, in nanoseconds.
    fn refund(&self, key: SenderKey, part_ns: u64) {
        let less = |paid_at: u64| Some(paid_at.saturating_sub(part_ns));
        let _ = self.of(key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn wait(&self, key: SenderKey) -> Duration {
        let paid_at = self.of(key).load(Ordering::Relaxed);
        Duration::from_nanos(paid_at.saturating_sub(self.now_ns()).saturating_sub(self.burst_ns))
    }
}

/// A limit for the rejections of each sender, by device and in all, because each is an entry of the operation log.
pub(super) struct Rejections {
    by_device: Option<Meters>,
    by_sender: Option<Meters>,
}

impl Rejections {
    pub(super) fn new(settings: &RateSettings) -> Rejections {
        let RateSettings { rejections_per_second: rate, rejection_burst: burst, .. } = *settings;
        let in_all = |number: u32| number.saturating_mul(DEVICES_OF_A_SENDER);
        Rejections {
            by_device: Meters::new(rate, burst),
            by_sender: Meters::new(in_all(rate), in_all(burst)),
        }
    }

    /// Counts a rejection. Devices that are not registered count as one, because their names are free.
    pub(super) fn count(&self, sender: SenderKey, outcome: &Outcome) {
        let Outcome::Rejected(rejection) = outcome else { return };
        let known = rejection.code != RejectionCode::UnknownDevice;
        let device = known.then_some(rejection.record.device_id.as_str());
        if let Some(meters) = &self.by_device {
            meters.count(SenderKey::of((sender, device)));
        }
        // Unregistered devices have a limit of their own, which must not affect registered ones.
        if let Some(meters) = self.by_sender.as_ref().filter(|_| known) {
            meters.count(sender);
        }
    }

    /// Returns how long a sender has to wait before it may send a record of a device.
    pub(super) fn check(&self, sender: SenderKey, device_id: &str, known: bool) -> Result<(), Duration> {
        let by_device = self.by_device.iter().flat_map(|meters| {
            let unknown = meters.wait(SenderKey::of((sender, None::<&str>)));
            let unknown = if known { Duration::ZERO } else { unknown };
            [meters.wait(SenderKey::of((sender, Some(device_id)))), unknown]
        });
        let by_sender = self.by_sender.iter().map(|meters| meters.wait(sender));
        or_wait(by_device.chain(by_sender).max())
    }
}

/// Returns an error if a sender has to wait.
fn or_wait(wait: Option<Duration>) -> Result<(), Duration> {
    match wait {
        Some(wait) if !wait.is_zero() => Err(wait),
        _ => Ok(()),
    }
}

/// A limit for wrong tokens at the sign-in of the console, by address: one a second in the long run. Tokens have 256
/// random bits, so the limit spares the log. The guesses of one address lock out no other address.
pub(super) struct Logins(Option<Meters>);

impl Default for Logins {
    fn default() -> Logins {
        Logins(Meters::new(1, WRONG_TOKENS_AT_ONCE))
    }
}

impl Logins {
    /// Returns how long a caller has to wait before it may present a token.
    pub(super) fn check(&self, caller: SenderKey) -> Result<(), Duration> {
        or_wait(self.0.as_ref().map(|meters| meters.wait(caller)))
    }

    /// Counts a wrong token.
    pub(super) fn count(&self, caller: SenderKey) {
        if let Some(meters) = &self.0 {
            meters.count(caller);
        }
    }
}

/// A limit for the proofs of each sender, by the entry bundles that they read.
pub(super) struct Proofs(Option<Meters>);

/// The charge for a proof before it is made.
pub(super) struct Charge<'a> {
    proofs: &'a Proofs,
    sender: SenderKey,
    charged_ns: u64,
}

impl Proofs {
    pub(super) fn new(settings: &RateSettings) -> Proofs {
        Proofs(Meters::new(settings.bundles_per_second, settings.bundle_burst))
    }

    /// Returns how long a sender has to wait before it may ask for a proof.
    pub(super) fn check(&self, sender: SenderKey) -> Result<(), Duration> {
        or_wait(self.0.as_ref().map(|meters| meters.wait(sender)))
    }

    /// Charges the most bundles that a proof may read. A sender that gives up on it has paid for them.
    pub(super) fn charge(&self, sender: SenderKey, most: u64) -> Charge<'_> {
        let charged_ns = self.0.as_ref().map_or(0, |meters| meters.charge(sender, most));
        Charge { proofs: self, sender, charged_ns }
    }
}

impl Charge<'_> {
    /// Gives back the part that the proof has not cost.
    pub(super) fn settle(self, bundles: u64) {
        if let Some(meters) = &self.proofs.0 {
            let cost_ns = meters.period_ns.saturating_mul(bundles);
            meters.refund(self.sender, self.charged_ns.saturating_sub(cost_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgesentry_rs::admission::Rejection;

    #[test]
    fn a_stranger_uses_up_no_quota_but_its_own() {
        let rates =
            Rates::new(&RateSettings { records_per_second: 1, burst: Some(2), ..RateSettings::default() });
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!(rates.check("lift-01", Some(here)).is_ok());
        assert!(rates.check("lift-01", Some(here)).is_ok());
        assert!(rates.check("lift-01", Some(here)).is_err());
        assert!(rates.check("lift-01", Some(there)).is_ok());
        assert!(rates.check("lift-01", None).is_ok());
        assert!(rates.check("lift-02", Some(here)).is_ok());
        assert!(Rates::new(&RateSettings::default()).check("lift-01", None).is_ok());
    }
    fn rejected(device_id: &str, code: RejectionCode) -> Outcome {
        let mut device =
            edgesentry_chain::Device::from_seed(device_id, [1; 32], edgesentry_chain::Scheme::Record);
        let record = device.sign(1, b"x", "x").unwrap();
        Outcome::Rejected(Rejection { code, expected: "".into(), actual: "".into(), record: record.into() })
    }

    #[test]
    fn a_proof_costs_the_bundles_that_it_has_read() {
        let settings = RateSettings { bundles_per_second: 1, bundle_burst: 10, ..RateSettings::default() };
        let proofs = Proofs::new(&settings);
        let (sender, other) = (SenderKey::of("sender"), SenderKey::of("other"));
        for _ in 0..10 {
            proofs.check(sender).unwrap();
            proofs.charge(sender, 1024).settle(1);
        }
        assert!(proofs.check(other).is_ok());
        // A proof that is given up costs its whole charge, at most the longest time to wait.
        proofs.charge(other, 30);
        let wait = proofs.check(other).unwrap_err();
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        proofs.charge(other, 1 << 40);
        assert!(proofs.check(other).unwrap_err() <= MAX_RETRY_AFTER);
        let off = Proofs::new(&RateSettings { bundles_per_second: 0, ..settings });
        off.charge(other, u64::MAX).settle(u64::MAX);
        assert!(off.check(other).is_ok());
    }

    #[test]
    fn rejections_pause_their_sender_and_device_only() {
        let settings =
            RateSettings { rejections_per_second: 1, rejection_burst: 2, ..RateSettings::default() };
        let rejections = Rejections::new(&settings);
        let (stranger, other) = (SenderKey::of("stranger"), SenderKey::of("other"));
        for number in 0..4 {
            let name = format!("invented-{number}");
            rejections.count(stranger, &rejected(&name, RejectionCode::UnknownDevice));
        }
        assert!(rejections.check(stranger, "invented-9", false).is_err());
        assert!(rejections.check(stranger, "lift-01", true).is_ok());
        assert!(rejections.check(other, "invented-9", false).is_ok());
        for _ in 0..4 {
            rejections.count(other, &rejected("lift-01", RejectionCode::Fork));
            rejections.count(other, &Outcome::Accepted);
        }
        assert!(rejections.check(other, "lift-01", true).is_err());
        assert!(rejections.check(other, "lift-02", true).is_ok());
        // In total, ten times as many.
        for number in 0..40 {
            rejections.count(other, &rejected(&format!("lift-{number}"), RejectionCode::SignatureInvalid));
        }
        let wait = rejections.check(other, "lift-99", true).unwrap_err();
        assert!(wait <= MAX_RETRY_AFTER);
        let off = RateSettings { rejections_per_second: 0, ..settings };
        let off = Rejections::new(&off);
        (0..99).for_each(|_| off.count(other, &rejected("lift-01", RejectionCode::Fork)));
        assert!(off.check(other, "lift-01", true).is_ok());
    }
}
