//! edgesentry-audit 0.2: one service, one connection and its own devices for each thread; payloads in memory.

use std::time::Instant;

use anyhow::{Result, anyhow};
use edgesentry_audit::{
    AuditRecord, InMemoryRawDataStore, IngestService, IntegrityPolicyGate, PostgresAuditLedger,
    PostgresOperationLog,
};

use crate::load;

const SCHEMA: &str = "
    DROP TABLE IF EXISTS audit_records; DROP TABLE IF EXISTS operation_logs;
    CREATE TABLE audit_records (id BIGSERIAL PRIMARY KEY, device_id TEXT NOT NULL, sequence BIGINT NOT NULL,
        timestamp_ms BIGINT NOT NULL, payload_hash BYTEA NOT NULL, signature BYTEA NOT NULL,
        prev_record_hash BYTEA NOT NULL, object_ref TEXT NOT NULL, UNIQUE (device_id, sequence));
    CREATE TABLE operation_logs (id BIGSERIAL PRIMARY KEY, decision TEXT NOT NULL, device_id TEXT NOT NULL,
        sequence BIGINT NOT NULL, message TEXT NOT NULL);";

/// Ingests one record at a time on each of the given number of threads.
pub fn run(server: &str, threads: usize, records: usize, payload_bytes: usize) -> Result<()> {
    let mut admin = postgres::Client::connect(server, postgres::NoTls)?;
    // Fails if it already exists.
    let _ = admin.batch_execute("CREATE DATABASE peer");
    let url = format!("{}/peer", server.rsplit_once('/').map_or(server, |(server, _)| server));
    postgres::Client::connect(&url, postgres::NoTls)?.batch_execute(SCHEMA)?;
    let chains = load::chains(threads, records / threads, payload_bytes);
    let mut services = Vec::new();
    for number in 0..threads {
        let ledger = PostgresAuditLedger::connect(&url)?;
        let log = PostgresOperationLog::connect(&url)?;
        let mut service =
            IngestService::new(IntegrityPolicyGate::new(), InMemoryRawDataStore::default(), ledger, log);
        let device = load::device(number);
        let key = device.public_key().map_err(|error| anyhow!("{error}"))?;
        service.register_device(device.device_id(), ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes())?);
        services.push(service);
    }
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let works: Vec<_> = services
            .iter_mut()
            .zip(&chains)
            .map(|(service, chain)| {
                scope.spawn(move || {
                    for submission in chain {
                        let record = &submission.record;
                        let record = AuditRecord {
                            device_id: record.device_id.clone(),
                            sequence: record.sequence,
                            timestamp_ms: record.timestamp_ms,
                            payload_hash: record.payload_hash.0,
                            signature: record.signature,
                            prev_record_hash: record.prev_record_hash.0,
                            object_ref: record.object_ref.clone(),
                        };
                        service.ingest(record, &submission.payload, None)?;
                    }
                    Ok::<_, edgesentry_audit::IngestServiceError>(())
                })
            })
            .collect();
        works
            .into_iter()
            .try_for_each(|work| work.join().map_err(|_| anyhow!("a thread panicked"))?.map_err(Into::into))
    })
    .map_err(|error: anyhow::Error| error)?;
    let count: usize = chains.iter().map(Vec::len).sum();
    load::report(
        "edgesentry-audit, PostgreSQL",
        &format!("{threads} threads, one record at a time"),
        count,
        begin.elapsed(),
    );
    Ok(())
}
