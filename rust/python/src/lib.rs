//! The Python module `edgesentry._core`: parses arguments, calls the core, maps errors. One file per Python concept.
//!
//! The documentation for Python users is that of the stubs, `python/edgesentry/_core.pyi`: `tests/docstrings.py` writes it into
//! the comments.

// The macros of pyo3 export the classes; no other code uses their paths.
#![allow(unreachable_pub)]

mod arrow;
mod bundle;
mod client;
mod columns;
mod command;
mod coverage;
mod device;
mod device_ids;
mod difference;
mod errors;
mod finding_table;
mod findings;
mod frames;
mod heads;
mod html;
mod keys;
mod ledger;
mod log;
mod log_inputs;
mod manifest;
mod monitor;
mod outbox;
mod packed_heads;
mod packed_keys;
mod pickle;
mod progress;
mod pyarrow;
mod read;
mod record;
mod report;
mod require;
mod segments;
mod service;
mod signer;
mod source;
mod statistics;
mod tables;
mod telemetry;
mod timestamp;
mod update;
mod verify;
mod witness;
mod work;
mod write;

/// The Rust core of EdgeSentry.
#[pyo3::pymodule]
mod _core {
    use edgesentry_chain::FindingCode;
    use edgesentry_rs::RejectionCode;
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    #[pymodule_export]
    use crate::bundle::verify_bundle;
    #[pymodule_export]
    use crate::client::ClientCore;
    #[pymodule_export]
    use crate::command::run_command;
    #[pymodule_export]
    use crate::coverage::{
        ChainSpan, Coverage, HeadCoverage, Input, LinkCoverage, LogCoverage, PayloadCoverage,
        SignatureCoverage, TimeStamp,
    };
    #[pymodule_export]
    use crate::device::Device;
    #[pymodule_export]
    use crate::device_ids::DeviceIds;
    #[pymodule_export]
    use crate::errors::shown;
    #[pymodule_export]
    use crate::findings::{Cause, Finding, Findings};
    #[pymodule_export]
    use crate::heads::{Head, read_heads, write_heads};
    #[pymodule_export]
    use crate::keys::{KeyRing, verify_record};
    #[pymodule_export]
    use crate::ledger::{IngestAnswer, LedgerCore};
    #[pymodule_export]
    use crate::log::{Checkpoint, Policy, proven_fields};
    #[pymodule_export]
    use crate::log_inputs::LogInputs;
    #[pymodule_export]
    use crate::monitor::MonitorCore;
    #[pymodule_export]
    use crate::outbox::Outbox;
    #[pymodule_export]
    use crate::packed_heads::PackedHeads;
    #[pymodule_export]
    use crate::packed_keys::PackedKeys;
    #[pymodule_export]
    use crate::pickle::restore;
    #[pymodule_export]
    use crate::read::{RecordReader, read_records};
    #[pymodule_export]
    use crate::record::{AuditRecord, payload_hash};
    #[pymodule_export]
    use crate::report::Report;
    #[pymodule_export]
    use crate::segments::{Segments, Verifier, merge, verify_part};
    #[pymodule_export]
    use crate::signer::{Pkcs11Signer, ProgramSigner};
    #[pymodule_export]
    use crate::source::file_states;
    #[pymodule_export]
    use crate::statistics::{Statistics, device_statistics};
    #[pymodule_export]
    use crate::telemetry::{end_telemetry, init_telemetry, metrics_text};
    #[pymodule_export]
    use crate::timestamp::verify_timestamp;
    #[pymodule_export]
    use crate::update::{
        ImageHasher, PublisherKey, UpdateCheck, complete_update, create_update_state, manifest_fields,
        read_update_state, save_manifest, sign_manifest, trust_fields, write_manifest,
    };
    #[pymodule_export]
    use crate::verify::verify_chain;
    #[pymodule_export]
    use crate::witness::Witness;
    #[pymodule_export]
    use crate::write::write_records;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::telemetry::install();
        let codes = FindingCode::ALL.iter().map(|code| code.name());
        module.add("FINDING_CODES", PyTuple::new(module.py(), codes.collect::<Vec<_>>())?)?;
        let reasons = RejectionCode::ALL.iter().map(|code| code.name());
        module.add("REJECTION_CODES", PyTuple::new(module.py(), reasons.collect::<Vec<_>>())?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
