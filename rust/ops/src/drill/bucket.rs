//! The drill `s3-object-recovery` in a bucket of the site, with objects of its own.
//!
//! Object Lock keeps them until their retention ends; the next drill removes them then.

use edgesentry_formats::DEVICES;
use edgesentry_formats::times::now_ms;
use edgesentry_rs::payload::S3Settings;

use super::objects::{RECORDS, enough, recover};
use super::{DrillReport, Plan};
use crate::error::Error;
use crate::random::random;
use crate::s3::Bucket;
use crate::settings::Settings;

/// The prefix of the drill's device names, and so of its objects below `devices/`.
const PREFIX: &str = "edgesentry-drill-";
/// Objects of a drill that began this long ago belong to no running drill.
const ABANDONED_AFTER_MS: u64 = 24 * 3600 * 1000;

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "s3-object-recovery-bucket",
    about: "Payloads of the drill's own are deleted and overwritten in a bucket of the site, and brought back.",
    criterion: "every payload is byte-identical again, and no version of one could be deleted",
    needs: &[],
};

/// The settings of the drill.
#[derive(Clone, Debug)]
pub struct BucketDrill {
    /// The settings whose payloads are in the bucket.
    pub settings: Settings,
    /// Records whose payloads are stored.
    pub records: u64,
}

/// A drill that can run, and its effects.
#[derive(Debug)]
pub struct Prepared {
    bucket: String,
    settings: S3Settings,
    records: u64,
    /// The prefix of the device names.
    devices: String,
    /// The effects of the drill, a sentence each.
    pub touches: Vec<String>,
}

impl BucketDrill {
    /// Inspects the bucket without changing it.
    ///
    /// # Errors
    /// The payloads of the settings are not in a bucket that keeps versions, or the bucket cannot be read.
    pub async fn prepare(self) -> Result<Prepared, Error> {
        enough(self.records)?;
        let name =
            self.settings.stores.payloads.as_deref().and_then(|payloads| payloads.strip_prefix("s3://"));
        let Some(name) = name.map(|name| name.trim_end_matches('/').to_owned()) else {
            let message = "the payloads of the settings are not in a bucket; set payloads to s3://BUCKET";
            return Err(Error::Config(message.to_owned()));
        };
        let settings = self.settings.stores.s3.clone();
        let bucket = Bucket::new(&name, &settings).await?;
        let place = bucket.place();
        if !bucket.exists().await? {
            return Err(Error::Config(format!("{place}: the bucket does not exist; nothing was changed")));
        }
        if !bucket.keeps_versions().await? {
            return Err(Error::Config(format!(
                "{place}: versioning is off, so nothing could be restored; set it up with eds ops s3-setup"
            )));
        }
        let devices = format!("{PREFIX}{}", hex::encode(random::<4>()?));
        let stays = match bucket.lock_days().await? {
            Some(1) => "Object Lock keeps their versions for 1 day; the next drill after that removes them"
                .to_owned(),
            Some(days) => format!(
                "Object Lock keeps their versions for {days} days; the next drill after that removes them"
            ),
            None => "they are deleted with all their versions at the end".to_owned(),
        };
        let touches = vec![
            format!(
                "{place}: {} small objects below {DEVICES}/{devices}- are stored, some of them deleted or overwritten",
                self.records
            ),
            stays,
            format!(
                "{place}: objects of earlier drills below {DEVICES}/{PREFIX} are deleted, as far as Object Lock permits"
            ),
        ];
        Ok(Prepared { bucket: name, settings, records: self.records, devices, touches })
    }
}

impl Prepared {
    /// Runs the drill. All its deletable objects are gone when it returns or is dropped.
    ///
    /// # Errors
    /// The drill could not finish; `report` has the results so far.
    pub async fn run(&self, report: &mut DrillReport) -> Result<(), Error> {
        let bucket = Bucket::new(&self.bucket, &self.settings).await?;
        report.place = bucket.place();
        report.at_least("records", self.records, RECORDS);
        let before = now_ms().saturating_sub(ABANDONED_AFTER_MS);
        let earlier = bucket.remove_below(&format!("{DEVICES}/{PREFIX}"), Some(before)).await?;
        if earlier.versions > 0 {
            report.step(format!("left by earlier drills: {earlier}"));
        }
        let mut leftovers = Leftovers { drill: self, is_done: false };
        let held = recover(&bucket, &self.settings, &self.devices, self.records, report).await;
        let removed = bucket.remove_below(&self.objects(), None).await;
        leftovers.is_done = removed.is_ok();
        if let Ok(removed) = &removed {
            report.step(format!("left by this drill: {removed}"));
        }
        held.and(removed.map(|_| ()))
    }

    /// Returns the prefix of its object keys.
    fn objects(&self) -> String {
        format!("{DEVICES}/{}-", self.devices)
    }
}

/// Removes the objects of an interrupted drill when dropped.
struct Leftovers<'a> {
    drill: &'a Prepared,
    is_done: bool,
}

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let (name, settings, prefix) =
            (self.drill.bucket.clone(), self.drill.settings.clone(), self.drill.objects());
        // On a thread of its own: this one may be within a runtime already.
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let bucket = Bucket::new(&name, &settings).await.map_err(std::io::Error::other)?;
                bucket.remove_below(&prefix, None).await.map_err(std::io::Error::other)
            })
        });
        // The next drill removes the objects that could not be removed now.
        let _ = removing.join();
    }
}
