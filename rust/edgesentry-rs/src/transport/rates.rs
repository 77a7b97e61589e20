//! How fast the records of one device may come.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::policy::caller;
use super::settings::RateSettings;

/// Callers and devices that are remembered; those beyond wait until some are forgotten.
const MOST: usize = 1 << 20;

/// A limit for each device.
pub(super) struct Rates {
    limiter: Option<DefaultKeyedRateLimiter<u64>>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Rates {
    pub(super) fn new(settings: &RateSettings) -> Rates {
        let limiter = NonZeroU32::new(settings.records_per_second).map(|rate| {
            let burst = settings.burst.unwrap_or(rate.get().saturating_mul(10));
            let burst = NonZeroU32::new(burst).unwrap_or(rate);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Rates { limiter, hasher: RandomState::new(), clock: DefaultClock::default() }
    }

    /// Counts one record, or says how long to wait. A device id that nobody has vouched for counts by the address
    /// that it came from: a stranger elsewhere cannot use up what belongs to the device.
    pub(super) fn check(&self, device_id: &str, unknown_at: Option<IpAddr>) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let key = self.hasher.hash_one((unknown_at.map(caller), device_id));
        if limiter.len() >= MOST {
            limiter.retain_recent();
            if limiter.len() >= MOST {
                return Err(Duration::from_secs(1));
            }
        }
        limiter.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Forgets those that have been quiet.
    pub(super) fn tidy(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_uses_up_no_quota_but_its_own() {
        let rates = Rates::new(&RateSettings { records_per_second: 1, burst: Some(2) });
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!(rates.check("lift-01", Some(here)).is_ok());
        assert!(rates.check("lift-01", Some(here)).is_ok());
        assert!(rates.check("lift-01", Some(here)).is_err());
        assert!(rates.check("lift-01", Some(there)).is_ok());
        assert!(rates.check("lift-01", None).is_ok());
        assert!(rates.check("lift-02", Some(here)).is_ok());
        assert!(Rates::new(&RateSettings::default()).check("lift-01", None).is_ok());
    }
}
