//! Clock records, and the last time that the service gave.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::AuditRecord;
use edgesentry_formats::times::now_ms;
use sqlx::{Row, SqliteConnection};

use super::{Items, Outbox};
use crate::clock::{ClockRecord, ServiceTime};
use crate::error::Error;
use crate::limits::MAX_SEQUENCE;

impl Outbox {
    /// Signs a record of the times that the device has, as [`Outbox::sign`]: its clock, the number of its starts, the time
    /// since the start, and the last time that the service gave. Its payload is that of [`ClockRecord`].
    ///
    /// # Errors
    /// As [`Outbox::sign`].
    pub async fn sign_clock(
        &self,
        timestamp_ms: u64,
        boot_counter: Option<u64>,
        uptime_ms: Option<u64>,
    ) -> Result<AuditRecord, Error> {
        let mut clock = ClockRecord { boot_counter, uptime_ms, ..ClockRecord::at(timestamp_ms) };
        if let Some(time) = self.service_time().await? {
            clock = clock.with_service_time(time);
        }
        let payload = Bytes::from(clock.payload());
        let items = |sequence| {
            let object_ref = ClockRecord::object_ref(self.device.device_id(), sequence);
            Arc::new(vec![(timestamp_ms, payload.clone(), object_ref)])
        };
        // The longest reference: whether a device can sign these records does not depend on its chain.
        self.check_limits(&items(MAX_SEQUENCE))?;
        let _turn = self.signing.lock().await;
        self.add_record(&Items(&items)).await
    }

    /// Keeps a time that the service gave now, for the next clock record: for a device that sends with a client of its own. A
    /// flush through a [`Client`](crate::Client) keeps the `Date` of the response that acknowledged records.
    ///
    /// # Errors
    /// The time is too large, or the outbox cannot be written.
    pub async fn note_service_time(&self, service_ms: u64) -> Result<(), Error> {
        if service_ms > MAX_SEQUENCE {
            let problem =
                format!("expected a time of the service of at most {MAX_SEQUENCE} ms, got {service_ms}");
            return Err(Error::Outbox(problem));
        }
        let failed = || self.failed("keep the time of the service in the outbox");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let time = ServiceTime { service_ms, device_ms: now_ms() };
        keep_service_time(&mut writer, time).await.map_err(failed())?;
        Ok(())
    }

    /// Returns the last time that the service gave.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn service_time(&self) -> Result<Option<ServiceTime>, Error> {
        let row = sqlx::query("SELECT service_time_ms, service_time_at_ms FROM device")
            .fetch_optional(&self.database.readers)
            .await;
        let time = row.and_then(|row| {
            let Some(row) = row else { return Ok(None) };
            let (service_ms, device_ms) =
                (row.try_get::<Option<i64>, _>(0)?, row.try_get::<Option<i64>, _>(1)?);
            Ok(service_ms.zip(device_ms).map(|(service_ms, device_ms)| ServiceTime {
                service_ms: service_ms.cast_unsigned(),
                device_ms: device_ms.cast_unsigned(),
            }))
        });
        Ok(time.map_err(self.failed("read the outbox"))?)
    }
}

pub(super) async fn keep_service_time(
    connection: &mut SqliteConnection,
    time: ServiceTime,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE device SET service_time_ms = ?, service_time_at_ms = ?")
        .bind(time.service_ms.cast_signed())
        .bind(time.device_ms.cast_signed())
        .execute(connection)
        .await?;
    Ok(())
}
